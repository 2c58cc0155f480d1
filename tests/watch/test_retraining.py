"""Changes of references lead to runs as the rules say, once, with their cause on record."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image as Pillow
from sqlmodel import select

from assetforge.db.models import Activity, Run
from assetforge.db.models_jobs import Job
from assetforge.extension.registry import get_registry, reset_registry
from assetforge.services.assets import add_asset, get_asset
from assetforge.services.captions import set_caption
from assetforge.services.ingest import add_references
from assetforge.services.project_config import set_value
from assetforge.services.reference_settings import set_references
from assetforge.services.references import exclude_reference, list_references, restore_reference
from assetforge.services.retraining import explain, explain_all, local_now, propose, retrain
from assetforge.services.training import plan_job, request_training
from assetforge.testing.inputs import write_picture
from assetforge.watch.autotrain import AutoTrain

pytest.importorskip("assetforge_example")


@pytest.fixture
def film(project, monkeypatch):
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")
    reset_registry()
    for key, value in {
        "retrain.mode": "auto",
        "retrain.quiet_minutes": 0.0,
        "retrain.cooldown_minutes": 0.0,
        "retrain.min_new": 3,
    }.items():
        set_value(project.paths.config, key, value)
    add_asset(project, "coat", "costume", trigger="rdcoat", class_word="outfit")
    yield project
    reset_registry()


@pytest.fixture
def add(film, make_png, tmp_path):
    """A function that adds pictures by their seeds."""

    def some(*seeds):
        files = [make_png(tmp_path / "pictures" / f"{seed}.png", seed=seed) for seed in seeds]
        return add_references(film, "coat", files)

    return some


def answer(film, now=None):
    (one,) = explain_all(film, now)
    return one


def end(film, state="succeeded", hours=0.5):
    """The newest run ends so; no trainer is needed for that."""
    with film.write() as session:
        run = session.exec(select(Run).order_by(Run.id.desc())).first()
        job = session.exec(select(Job).where(Job.run_id == run.id)).one()
        run.started_at = datetime.now(UTC) - timedelta(hours=hours)
        run.state = job.state = state
        run.finished_at = datetime.now(UTC)
        return run.id


def look(film):
    said, supervised = [], []
    AutoTrain(film, supervised.append, said.append)(arriving=False)
    return said, supervised


def runs(film):
    with film.read() as session:
        return session.exec(select(Run).order_by(Run.id)).all()


def codes(explained):
    return {reason.code for reason in explained.reasons}


def test_a_first_run_then_nothing_until_something_changes(film, add):
    assert answer(film).outcome == "no"
    add(*range(8))
    explained = answer(film)
    assert (explained.outcome, explained.because) == ("train", "first run: 8 new pictures")
    said, supervised = look(film)
    assert supervised == [film]
    assert "run 1 is queued" in said[0]
    (run,) = runs(film)
    assert run.requested_by == "watch"
    with film.read() as session:
        assert session.exec(select(Job)).one().requested_by == "watch"
    assert run.cause == "references changed: first run: 8 new pictures"
    look(film)
    assert len(runs(film)) == 1
    assert codes(answer(film)) >= {"unchanged", "open-run"}
    end(film)
    look(film)
    assert len(runs(film)) == 1


def test_the_queue_never_lacks_somebody_who_works_on_it(film, add):
    add(*range(8))
    look(film)
    assert look(film)[1] == [film], "whoever worked on it may be gone"
    end(film)
    assert look(film)[1] == []


def test_nothing_is_looked_into_twice_while_nothing_happens(film, add, monkeypatch):
    from assetforge.watch import autotrain

    asked = []
    real = autotrain.explain
    monkeypatch.setattr(autotrain, "explain", lambda *words: asked.append(words[1].name) or real(*words))
    monkeypatch.setattr(autotrain, "_EVERY_S", 0.0)
    add(0, 1)
    add_asset(film, "boots", "costume")
    trains = AutoTrain(film, lambda _film: None, lambda _text: None)
    for _ in range(3):
        trains(arriving=False)
    assert sorted(asked) == ["boots", "coat"]
    add(2)
    trains(arriving=False)
    assert sorted(asked) == ["boots", "coat", "coat"]


@pytest.mark.slow
def test_a_burst_in_the_middle_of_a_run_makes_one_further_run(film, add):
    add(*range(8))
    look(film)
    for seed in range(100, 112):
        add(seed)
        look(film)
    assert len(runs(film)) == 1
    assert answer(film).outcome == "wait"
    end(film)
    for _ in range(3):
        look(film)
    assert len(runs(film)) == 2
    assert "12 new pictures" in runs(film)[1].cause


@pytest.mark.parametrize("state", ["failed", "cancelled", "lost"])
def test_a_run_that_ended_badly_is_not_repeated_on_the_same_references(film, add, state):
    add(*range(8))
    look(film)
    end(film, state)
    look(film)
    assert len(runs(film)) == 1
    assert "ended-badly" in codes(answer(film))
    add(20, 21, 22)
    look(film)
    assert len(runs(film)) == 2


def test_captions_exclusions_and_removals_alone_are_changes(film, add):
    add(*range(8))
    look(film)
    end(film)
    items = list_references(film, "coat").items
    for one in items[:3]:
        set_caption(film, one.address, "on a hook")
    assert answer(film).because == "3 references changed"
    assert answer(film).outcome == "train"
    look(film)
    end(film)
    exclude_reference(film, items[5].address, "wrong coat")
    assert (answer(film).because, answer(film).outcome) == ("1 reference removed", "train")
    look(film)
    end(film)
    assert len(runs(film)) == 3
    restore_reference(film, items[5].address)
    assert answer(film).outcome == "no", "a run was trained on exactly these references before"


def test_twenty_crops_of_one_photograph_do_not_count_as_twenty(film, add, tmp_path):
    add(*range(8))
    look(film)
    end(film)
    photo = write_picture(tmp_path / "photo.png", 77)
    with Pillow.open(photo) as picture:
        big = picture.resize((640, 640), Pillow.Resampling.BICUBIC)
    crops = []
    for number in range(20):
        crop = tmp_path / "crops" / f"{number}.png"
        crop.parent.mkdir(exist_ok=True)
        big.crop((number * 3, number * 2, 560 + number * 3, 560 + number * 2)).save(crop)
        crops.append(crop)
    add_references(film, "coat", crops)
    explained = answer(film)
    assert explained.changes.new == 20
    assert explained.changes.novel < 3
    assert explained.outcome == "no"
    assert "look new" in " ".join(reason.text for reason in explained.reasons)


def test_asking_proposes_once_and_trains_when_somebody_says_yes(film, add):
    set_value(film.paths.config, "retrain.mode", "ask")
    add(*range(8))
    said, supervised = look(film)
    assert (len(runs(film)), supervised) == (0, [])
    assert "waits for your yes" in said[0]
    assert look(film)[0] == []
    assert not propose(film, answer(film))
    request, because = retrain(film, "coat")
    assert because.startswith("first run")
    (run,) = runs(film)
    assert run.id == request.run
    assert run.requested_by != "watch"
    end(film)
    add(50, 51, 52)
    assert look(film)[0], "other changes are asked about anew"


def test_the_budget_counts_what_nobody_asked_for(film, add):
    set_value(film.paths.config, "budget.runs_per_day", 1)
    add(*range(8))
    look(film)
    end(film)
    add(20, 21, 22)
    look(film)
    assert len(runs(film)) == 1
    assert "runs-today" in codes(answer(film))
    assert answer(film).not_before is not None
    request_training(film, "coat", again=True)
    assert answer(film, local_now() + timedelta(days=1)).changes.open_run is not None


def test_the_cost_is_what_runs_took_before(film, add):
    set_value(film.paths.config, "budget.hours_per_day", 1.2)
    add(*range(8))
    look(film)
    end(film, hours=0.7)
    add(20, 21, 22)
    explained = answer(film)
    assert explained.cost_hours == pytest.approx(0.7, abs=0.01)
    assert "hours-today" in codes(explained)
    assert explained.outcome == "wait"


def test_rules_of_single_assets_and_rights(film, add):
    config = film.paths.config
    config.write_text(config.read_text() + "\n[retrain.assets.coat]\nmode = 'auto'\nrequire_rights = true\n")
    set_value(config, "retrain.mode", "off")
    add(*range(8))
    assert codes(answer(film)) == {"rights"}
    set_references(film, [one.address for one in list_references(film, "coat").items], rights="own photographs")
    assert answer(film).outcome == "train"


def test_hours_are_kept_and_the_answer_says_from_when(film, add):
    add(*range(8))
    now = local_now()
    start, last = now + timedelta(hours=2), now + timedelta(hours=3)
    set_value(film.paths.config, "retrain.hours", f"{start:%H:%M}-{last:%H:%M}")
    explained = answer(film, now)
    assert explained.outcome == "wait"
    assert explained.not_before is not None
    assert 1.9 <= (explained.not_before - now.astimezone(UTC)).total_seconds() / 3600 <= 2.1
    look(film)
    assert runs(film) == []


def test_hours_that_cannot_be_read_are_said_and_nothing_trains(film, add):
    add(*range(8))
    set_value(film.paths.config, "retrain.hours", "tonight")
    said, _ = look(film)
    assert "retrain.hours" in said[0]
    assert runs(film) == []


def test_what_cannot_be_trained_says_why(film, add):
    add(*range(8))
    set_value(film.paths.config, "retrain.recipe", "no-such-recipe")
    explained = answer(film)
    assert "problem" in codes(explained)
    assert "no-such-recipe" in explained.headline


def test_a_warm_start_goes_on_from_the_newest_version(film, add, tmp_path):
    from assetforge.services.versions import import_version

    add(*range(8))
    look(film)
    family = get_registry().trainer(runs(film)[0].trainer).spec.families[0]
    end(film)
    import numpy as np
    from safetensors.numpy import save_file

    weights = tmp_path / "other.safetensors"
    save_file({"lora_unet_x.lora_up.weight": np.ones((4, 2), np.float32)}, weights)
    version, _ = import_version(film, "coat", weights, family=family)
    set_value(film.paths.config, "retrain.warm_start", True)
    add(20, 21, 22)
    request, _ = retrain(film, "coat", automatic=True)
    plan = plan_job(film, request.job)
    assert plan.spec.payload["warm_start"] == "inputs/start.safetensors"
    assert {one.path: one.sha256 for one in plan.inputs}["inputs/start.safetensors"] == version.weights
    assert plan.spec.payload["metadata"]["assetforge.started_from"] == version.address


def test_every_automatic_act_is_on_record_with_its_cause(film, add):
    add(*range(8))
    look(film)
    with film.read() as session:
        acts = session.exec(select(Activity).where(Activity.actor == "watch")).all()
    assert [(one.verb, one.detail.get("cause", "")) for one in acts if one.verb == "queued"] == [
        ("queued", "references changed: first run: 8 new pictures")
    ]


def test_an_asset_explains_itself_in_words(film, add):
    add(0, 1)
    explained = explain(film, get_asset(film, "coat"), film.config, local_now())
    assert explained.headline == "2 references of 5 needed"
    assert json.dumps(explained.because)


@pytest.mark.slow
def test_from_the_folder_to_the_report_with_nobody_at_the_keyboard(film, tmp_path):
    """The real program in a process of its own: two deliveries make two versions, each rendered, compared and reported."""
    set_value(film.paths.config, "watch.settle_seconds", 0.5)
    inbox = get_asset(film, "coat").references
    environment = {**os.environ, "ASSETFORGE_PLUGINS": "example"}
    command = [sys.executable, "-P", "-m", "assetforge", "--project", str(film.root), "watch"]
    with (tmp_path / "watch.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    try:
        for number, seeds in enumerate((range(8), range(20, 26)), 1):
            for seed in seeds:
                write_picture(inbox / f"{seed}.png", seed)
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and len(list(film.paths.reports.glob("*.html"))) < number:
                time.sleep(0.2)
            assert len(list(film.paths.reports.glob("*.html"))) == number, (tmp_path / "watch.log").read_text()
        assert [run.state for run in runs(film)] == ["succeeded", "succeeded"]
        assert "6 new pictures" in runs(film)[1].cause
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert "Traceback" not in (tmp_path / "watch.log").read_text()
