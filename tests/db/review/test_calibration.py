"""Training again to learn what that changes: what is trained, compared, retired and shown."""

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from sqlmodel import select

from assetforge.api.job import OutputFile, Result, WeightsOutput
from assetforge.api.params import Params, param
from assetforge.api.specs import BaseModelSpec, RecipeSpec, TrainerSpec
from assetforge.cli.app import run as run_words
from assetforge.cli.exit_codes import ExitCode
from assetforge.db.models import Alias, BaseModelRecord, DatasetVersion, Run, Version
from assetforge.db.models_jobs import Comparison, Job
from assetforge.domain.recipe_key import recipe_key
from assetforge.errors import UsageError
from assetforge.extension.discovery import Candidate
from assetforge.extension.manager import LoadedPlugin
from assetforge.services import calibration, rendering, training
from assetforge.services.assets import set_asset
from assetforge.services.auto_approval import waiting_for_policy
from assetforge.services.base_models import find_base
from assetforge.services.calibration import noise_table, pending_jobs, request_calibration, train_jobs
from assetforge.services.comparison import request_comparison
from assetforge.services.project_config import set_value
from assetforge.services.retrain_facts import asset_changes
from assetforge.services.training import request_training
from assetforge.services.versions import resolve_version
from assetforge.store.weights import tensor_hash


class PaintParams(Params):
    rank: int = param(8, "Rank.", ge=1)
    learning_rate: float = param(0.0005, "Rate.")


@pytest.fixture
def film(world, registry, tmp_path, monkeypatch):
    """mara/v1 and mara/v2 as if a trainer that is installed had made them."""
    folder = tmp_path / "base"
    for part in ("unet", "vae", "text_encoder"):
        (folder / part).mkdir(parents=True)
        save_file({"weight": np.zeros(2, np.float32)}, str(folder / part / "model.safetensors"))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    code = tmp_path / "code"
    code.mkdir()
    (code / "paint_base.py").write_text(f"def locate():\n    return {str(folder)!r}\n")
    monkeypatch.syspath_prepend(str(code))
    trainer = TrainerSpec(
        name="paint-lora", title="Paint", version="1", params=PaintParams, families=("sd15",), load="nowhere:Nothing"
    )
    recipe = RecipeSpec(
        name="character-tiny", title="Tiny", asset_types=("character",), family="sd15", trainer="paint-lora"
    )
    base = BaseModelSpec(name="tiny", title="Tiny", family="sd15", resolution=32, locate="paint_base:locate")
    plugin = Candidate(name="paint", distribution="paint-plugin", version="1.0", target="paint")
    registry.add(LoadedPlugin(plugin, specs={"trainer": (trainer,), "recipe": (recipe,), "base_model": (base,)}))
    digest = find_base("tiny").digest
    with world.project.write() as session:
        row = session.exec(select(BaseModelRecord)).one()
        row.digest = digest
        for run in session.exec(select(Run)).all():
            run.recipe_key = recipe_key(
                dataset_tree=session.get_one(DatasetVersion, run.dataset_id).tree_hash,
                trainer="paint-lora",
                trainer_version="1",
                params=run.params,
                base_digest=digest,
                trigger="mrvale",
                class_word="robot",
                seed=run.seed,
            )
    return world


def train(world, job, value):
    """What a trainer's child would leave behind, registered."""
    workdir = world.folder / f"train{job}"
    path = workdir / "outputs" / "mara.safetensors"
    path.parent.mkdir(parents=True)
    save_file({"x.lora_down.weight": np.full((4, 2), value, np.float32)}, path)
    data = path.read_bytes()
    output = OutputFile(path="outputs/mara.safetensors", sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    weights = WeightsOutput(step=0, kohya=output.path, tensor_hash=tensor_hash(path))
    training.register_result(
        world.project, job, Result(job=job, attempt=1, outputs=(output,), weights=(weights,)), workdir
    )
    world.finish(job)


def work(world, asked):
    """Everything that is queued for the comparisons."""
    while True:
        jobs, asked = pending_jobs(world.project, asked)
        if not jobs:
            return asked
        for job in jobs:
            hand = {"render": world.render, "score": world.score}[world.job(job).kind]
            hand(job, world.folder / f"job{job}")


def calibrated(world, **about):
    asked = request_calibration(world.project, "mara", **about)
    for value, job in enumerate(train_jobs(world.project, asked), start=30):
        train(world, job, float(value))
    return work(world, calibration.compare_repeats(world.project, asked))


def stages(world):
    with world.project.read() as session:
        rows = session.exec(select(Version).order_by(Version.number)).all()
    return {row.number: (row.stage, row.note) for row in rows}


def counts(world):
    with world.project.read() as session:
        return [len(session.exec(select(kind)).all()) for kind in (Run, Comparison, Job)]


def approve(world, number):
    with world.project.write() as session:
        version = session.exec(select(Version).where(Version.number == number)).one()
        version.stage = "approved"
        session.add(Alias(asset_id=version.asset_id, name="approved", version_id=version.id))


def test_the_approved_version_is_trained_again_and_every_pair_compared(film):
    approve(film, 1)
    asked = request_calibration(film.project, "mara")
    assert (asked.version, [one.seed for one in asked.repeats]) == ("mara/v1", [1, 2])
    with film.project.read() as session:
        original, *again = [session.get_one(Run, number) for number in (1, 3, 4)]
    for run in again:
        assert run.cause == "calibration of mara/v1"
        assert (run.params, run.dataset_id, run.base_model_id) == (
            original.params,
            original.dataset_id,
            original.base_model_id,
        )
    done = calibrated(film)
    assert [(one.version, one.baseline, one.state) for one in done.comparisons] == [
        ("mara/v3", "mara/v1", "succeeded"),
        ("mara/v4", "mara/v1", "succeeded"),
        ("mara/v4", "mara/v3", "succeeded"),
    ]
    assert {one.summary["plan"]["looks"] for one in done.comparisons} == {1}
    with film.project.read() as session:
        assert len(session.exec(select(Job).where(Job.kind == "render")).all()) == 1
    assert stages(film) == {
        1: ("approved", ""),
        2: ("candidate", ""),
        3: ("retired", "calibration: mara/v1 trained again with seed 1"),
        4: ("retired", "calibration: mara/v1 trained again with seed 2"),
    }


def test_margins_follow_from_what_was_found(film):
    before = {one.margin.name: one for one in noise_table(film.project, "mara").margins}
    assert next(iter(before)) == "probe"
    assert {one.margin.noise for one in before.values()} == {None}
    assert not before["lab-statistics"].margin.guard
    done = calibrated(film, version="mara/v2")
    table = noise_table(film.project, "mara")
    assert (table.base, table.engine) == ("tiny", None)
    known = {one.margin.name: one for one in table.margins}
    effects = np.array([one.summary["verdict"]["metrics"][0]["effect"] for one in done.comparisons])
    assert (known["probe"].source, known["probe"].margin.pairs) == ("own", 3)
    assert known["probe"].margin.noise == pytest.approx(float(np.sqrt((effects**2).mean())))
    assert known["probe"].margin.counts == pytest.approx(2 * known["probe"].margin.noise)
    # What pixels tell becomes a guard rail once it is known what training again does to it.
    assert known["lab-statistics"].margin.guard
    assert {"diversity", "bleed", "stray"} <= set(known)
    assert not {"validity", "phash-copy"} & set(known)
    judged = film.compare("mara/v2", "mara/v1").summary["verdict"]
    assert judged["metrics"][0]["margin"] == pytest.approx(known["probe"].margin.counts)
    shown = {one["name"]: one["bound"] for one in judged["guards"]}
    assert {name: shown[name] for name in ("diversity", "bleed", "stray", "lab-statistics")} == pytest.approx(
        {name: known[name].margin.counts for name in ("diversity", "bleed", "stray", "lab-statistics")}
    )


def test_asking_again_continues_what_is_missing(film):
    asked = request_calibration(film.project, "mara")
    assert asked.version == "mara/v2", "nothing is approved, and it is the newest"
    again = request_calibration(film.project, "mara")
    assert again == asked
    first, second = train_jobs(film.project, asked)
    train(film, first, 30.0)
    training.close_job(film.project, second, "failed", "out of memory")
    film.finish(second, "failed")
    # What failed is trained once more with its own seed, and what is there stays.
    retried = request_calibration(film.project, "mara")
    assert [(one.seed, one.version) for one in retried.repeats] == [(1, "mara/v3"), (2, "")]
    assert [one.run for one in retried.repeats] == [3, 5]
    # Between training and comparing it is no latest version and no baseline either.
    assert resolve_version(film.project, "mara@latest").address == "mara/v2"
    done = calibrated(film)
    known = counts(film)
    assert calibrated(film) == done
    assert counts(film) == known
    more = request_calibration(film.project, "mara", repeats=3)
    assert [(one.seed, bool(one.version)) for one in more.repeats] == [(1, True), (2, True), (3, False)]


def test_a_failed_comparison_is_asked_for_again(film):
    asked = request_calibration(film.project, "mara", repeats=1)
    train(film, *train_jobs(film.project, asked), 30.0)
    asked = calibration.compare_repeats(film.project, asked)
    ((job,), _) = pending_jobs(film.project, asked)
    rendering.close_job(film.project, job, "failed", "out of memory")
    film.finish(job, "failed")
    jobs, asked = pending_jobs(film.project, asked)
    assert (jobs, [one.state for one in asked.comparisons]) == ((), ["failed"])
    assert [one.state for one in calibrated(film, repeats=1).comparisons] == ["succeeded"]


def test_what_was_made_for_it_stands_in_nobodys_way(film):
    calibrated(film)
    assert resolve_version(film.project, "mara/v2").aliases == ("latest",)
    assert resolve_version(film.project, "mara/v4").aliases == ()
    with film.project.write() as session:
        first = session.get_one(Run, 2)
        film.add_version(session, first.asset_id, 5, first.dataset_id, first.base_model_id, rank=16)
        asset = first.asset_id
    assert request_comparison(film.project, "mara/v5").baseline == "mara/v2"
    # The next version follows the one before it, and the watcher goes on from the newest dataset.
    job = request_training(film.project, "mara", overrides={"rank": 3}, base="tiny").job
    train(film, job, 50.0)
    with film.project.read() as session:
        newest = session.exec(select(Version).where(Version.number == 6)).one()
        assert session.get_one(Version, newest.parent_id).number == 5
    changes = asset_changes(film.project, asset)
    request_calibration(film.project, "mara", "mara/v1")
    assert asset_changes(film.project, asset).last_run == changes.last_run


def test_what_somebody_decided_about_stays_decided(film):
    asked = request_calibration(film.project, "mara")
    for value, job in enumerate(train_jobs(film.project, asked), start=30):
        train(film, job, float(value))
    approve(film, 4)
    calibration.compare_repeats(film.project, asked)
    assert [stage for stage, _ in stages(film).values()] == ["candidate", "candidate", "retired", "approved"]
    assert resolve_version(film.project, "mara@latest").address == "mara/v4"


def test_a_training_of_ones_own_with_another_seed_is_taken_and_left_as_it_is(film):
    own = request_training(
        film.project, "mara", dataset="mara/d2", overrides={"rank": 16}, base="tiny", seed=9, cause="by hand"
    )
    train(film, own.job, 40.0)
    asked = request_calibration(film.project, "mara", "mara/v2")
    assert [(one.seed, one.made) for one in asked.repeats] == [(9, False), (1, True)]
    calibrated(film, version="mara/v2")
    assert [stage for stage, _ in stages(film).values()] == ["candidate", "candidate", "candidate", "retired"]


def test_what_cannot_be_trained_again_as_it_was_is_said(film):
    set_asset(film.project, "mara", trigger="other")
    with pytest.raises(UsageError, match=r"mara/v2 cannot be trained again as it was: the asset's trigger"):
        request_calibration(film.project, "mara")
    set_asset(film.project, "mara", trigger="mrvale")
    with film.project.write() as session:
        session.get_one(Run, 2).trainer_version = "0"
    with pytest.raises(UsageError, match="it was trained by paint-lora 0, and here is paint-lora 1"):
        request_calibration(film.project, "mara")
    with pytest.raises(UsageError, match="at least once"):
        request_calibration(film.project, "mara", repeats=0)
    set_asset(film.project, "mara", settings={"metrics": ["ssim"]})
    with pytest.raises(UsageError, match="would tell nothing"):
        request_calibration(film.project, "mara", "mara/v1")
    with film.project.write() as session:
        for version in session.exec(select(Version)).all():
            version.run_id = None
    with pytest.raises(UsageError, match="No version of mara was trained here"):
        noise_table(film.project, "mara")
    assert counts(film)[2] == 0


def test_the_films_policy_takes_none_for_a_candidate(film):
    set_value(film.project.paths.config, "approval.automatic", "when it passes")
    approve(film, 2)
    calibrated(film)
    assert film.project.config.approval.automatic == "when it passes"
    assert waiting_for_policy(film.project) == []


def test_the_command(film, capsys):
    def say(*words):
        capsys.readouterr()
        code = run_words(["calibrate", "mara", *words, "--project", "film"])
        out, err = capsys.readouterr()
        return code, out, err

    code, out, err = say("--json", "--version", "mara/v2")
    document = json.loads(out)
    assert (code, document["schema"], document["comparisons"]) == (ExitCode.OK, "assetforge/calibrate/1", [])
    assert len(document["jobs"]) == 2
    assert "mara/v2 is trained again with seed 1, 2" in err
    assert "assetforge work" in err
    calibrated(film)
    code, out, _ = say()
    assert code == ExitCode.OK
    assert "What training mara again changes, on tiny:" in out
    document = json.loads(say("--json")[1])
    assert [one["state"] for one in document["comparisons"]] == ["succeeded"] * 3
    assert document["jobs"] == []
    shown = json.loads(say("--show", "--json")[1])
    assert shown["schema"] == "assetforge/calibrate-show/1"
    assert shown["noise"] == document["noise"]
    assert say("--repeats", "0")[0] == ExitCode.USAGE
