"""Training as a service: what is queued, what goes into the bundle, what becomes of the result."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from sqlmodel import col, select

from assetforge.api.job import OutputFile, Result, TrainingDataset, TrainPayload, WeightsOutput
from assetforge.db.models import Run, Version
from assetforge.db.models_jobs import Job
from assetforge.errors import JobError, NotFoundError, UsageError
from assetforge.extension.registry import get_registry, reset_registry
from assetforge.jobs.bundle import write_bundle
from assetforge.jobs.control import retry_job
from assetforge.services import training
from assetforge.services.assets import add_asset
from assetforge.services.datasets import freeze
from assetforge.services.ingest import add_references
from assetforge.services.recipes import parse_overrides
from assetforge.services.registration import kept_weights, register_kept
from assetforge.services.runs import get_run, list_runs
from assetforge.services.training import request_training
from assetforge.store.weights import read_metadata, tensor_hash

pytest.importorskip("assetforge_example")


@pytest.fixture
def film(project, make_png, tmp_path, monkeypatch):
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")
    reset_registry()
    add_asset(project, "coat", "costume", trigger="rdcoat", class_word="outfit")
    for seed in range(9):
        make_png(tmp_path / "pictures" / f"{seed}.png", seed=seed)
    (tmp_path / "pictures" / "3.txt").write_text("on a chair")
    add_references(project, "coat", [tmp_path / "pictures"])
    freeze(project, "coat")
    yield project
    reset_registry()


def result_of(job, workdir, value=1.0):
    path = workdir / "outputs" / "coat.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"up": np.full((4, 2), value, np.float32)}, path, metadata={"ss_output_name": "coat"})
    data = path.read_bytes()
    output = OutputFile(path="outputs/coat.safetensors", sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    weights = WeightsOutput(step=300, kohya=output.path, tensor_hash=tensor_hash(path))
    return Result(job=job, attempt=1, outputs=(output,), weights=(weights,), metrics={"loss": 0.5})


def count(project, model):
    with project.read() as session:
        return len(session.exec(select(model)).all())


def test_the_bundle_says_everything_and_the_held_out_stay_marked(film):
    request = request_training(film, "coat", overrides={"steps": 20})
    plan = training.plan_job(film, request.job)
    payload = TrainPayload.model_validate(plan.spec.payload)
    assert (payload.trigger, payload.asset_type, payload.recipe_key) == ("rdcoat", "costume", request.recipe_key)
    assert plan.spec.params["steps"] == 20
    assert plan.spec.engine.name == get_registry().trainer("example-linear").spec.name
    files = {one.path: one for one in plan.inputs}
    dataset = TrainingDataset.model_validate_json(files[payload.dataset].data)
    assert len(dataset.items) == 9
    assert len(dataset.held_out_items()) >= 2
    assert {"rdcoat outfit", "rdcoat outfit, on a chair"} == {item.caption for item in dataset.items}
    for item in dataset.items:
        assert files[item.file].sha256 == item.sha256
    assert plan == training.plan_job(film, request.job)


def test_further_attempts_find_the_bundle_and_its_checkpoints(film):
    """A job that waited for space, or was stopped and resumed, may have more attempts; its bundle is the one that it was."""
    request = request_training(film, "coat")
    workdir = film.paths.job(request.job)
    bundle = write_bundle(training.plan_job(film, request.job), workdir, film.blobs, film.paths.trash)
    (workdir / "checkpoints" / "step-00000001.state.json").write_text("{}")
    with film.write() as session:
        job = session.get_one(Job, request.job)
        job.state, job.attempt, job.max_attempts = "failed", 2, 3
    retry_job(film, request.job)
    with film.read() as session:
        assert session.get_one(Job, request.job).max_attempts == 5
    assert write_bundle(training.plan_job(film, request.job), workdir, film.blobs, film.paths.trash) == bundle
    assert (workdir / "checkpoints" / "step-00000001.state.json").is_file()


def test_masks_travel_with_their_pictures(film, tmp_path):
    with Image.open(tmp_path / "pictures" / "3.png") as picture:
        Image.new("L", picture.size, 255).save(tmp_path / "pictures" / "3.mask.png")
    assert add_references(film, "coat", [tmp_path / "pictures"]).masks == 1
    freeze(film, "coat")
    plan = training.plan_job(film, request_training(film, "coat").job)
    files = {one.path: one for one in plan.inputs}
    payload = TrainPayload.model_validate(plan.spec.payload)
    (masked,) = (one for one in TrainingDataset.model_validate_json(files[payload.dataset].data).items if one.mask)
    assert "on a chair" in masked.caption
    assert files[masked.mask].sha256 == masked.mask_sha256
    assert film.blobs.verify(masked.mask_sha256)


def test_how_often_checkpoints_are_written_is_no_other_training(film):
    first = request_training(film, "coat", overrides={"checkpoint_every": 50})
    joined = request_training(film, "coat", overrides={"checkpoint_every": 7})
    assert (joined.run, joined.joined) == (first.run, True)
    assert request_training(film, "coat", overrides={"rank": 3}).recipe_key != first.recipe_key
    assert training.plan_job(film, first.job).spec.params["checkpoint_every"] == 50


def test_the_same_training_joins_then_reuses_and_again_trains_anew(film, tmp_path):
    first = request_training(film, "coat")
    joined = request_training(film, "coat")
    assert joined.joined
    assert (joined.run, joined.job) == (first.run, first.job)

    training.register_result(film, first.job, result_of(first.job, tmp_path), tmp_path)
    with film.write() as session:
        session.get_one(Job, first.job).state = "succeeded"
    reused = request_training(film, "coat")
    assert (reused.reused, reused.job, reused.run) == ("coat/v1", None, first.run)
    assert count(film, Run) == 1

    assert request_training(film, "coat", seed=2).job is not None
    assert request_training(film, "coat", overrides={"rank": 2}).reused == ""
    assert request_training(film, "coat", again=True).run not in (first.run, joined.run)


def test_a_result_becomes_one_version_however_often_it_is_registered(film, tmp_path):
    request = request_training(film, "coat")
    result = result_of(request.job, tmp_path)
    training.register_result(film, request.job, result, tmp_path)
    training.register_result(film, request.job, result, tmp_path)
    with film.read() as session:
        version = session.exec(select(Version)).one()
    assert (version.number, version.stage, version.step, version.tensor_hash) == (
        1,
        "candidate",
        300,
        result.weights[0].tensor_hash,
    )
    stored = film.blobs.path(version.weights)
    assert read_metadata(stored) == {"ss_output_name": "coat-v001", "assetforge.version": "coat/v1"}
    assert tensor_hash(stored) == version.tensor_hash
    info = get_run(film, request.run)
    assert (info.state, info.versions, info.metrics) == ("succeeded", ("coat/v1",), {"loss": 0.5})


def test_two_runs_that_end_together_get_two_numbers(film, tmp_path):
    requests = [request_training(film, "coat", seed=seed) for seed in (1, 2)]
    for request in requests:
        folder = tmp_path / str(request.job)
        training.register_result(film, request.job, result_of(request.job, folder, request.job), folder)
    with film.read() as session:
        versions = session.exec(select(Version).order_by(col(Version.number))).all()
    assert [(one.number, one.parent_id) for one in versions] == [(1, None), (2, versions[0].id)]


def test_tampered_missing_and_foreign_outputs_are_refused(film, tmp_path):
    request = request_training(film, "coat")
    result = result_of(request.job, tmp_path)
    outside = result.model_copy(update={"outputs": (OutputFile(path="outputs/../../x", sha256="0" * 64, size=1),)})
    with pytest.raises(JobError, match="outside"):
        training.register_result(film, request.job, outside, tmp_path)
    unhashed = result.model_copy(update={"outputs": ()})
    with pytest.raises(JobError, match="without its hash"):
        training.register_result(film, request.job, unhashed, tmp_path)
    (tmp_path / "outputs" / "coat.safetensors").write_bytes(b"something else")
    with pytest.raises(JobError, match="changed"):
        training.register_result(film, request.job, result, tmp_path)
    (tmp_path / "outputs" / "coat.safetensors").unlink()
    with pytest.raises(JobError, match="not there"):
        training.register_result(film, request.job, result, tmp_path)
    assert count(film, Version) == 0


def test_what_cannot_be_trained_is_said_at_once(film, make_png, tmp_path):
    with pytest.raises(UsageError, match=r"no parameter 'rnk'.*Did you mean 'rank'"):
        request_training(film, "coat", overrides={"rnk": 2})
    with pytest.raises(UsageError, match="cannot take rank=0"):
        request_training(film, "coat", overrides={"rank": 0})
    with pytest.raises(NotFoundError):
        request_training(film, "coat", recipe="nothing")
    with pytest.raises(NotFoundError):
        request_training(film, "coat", base="nothing")
    add_asset(film, "hat", "costume")
    with pytest.raises(NotFoundError):
        request_training(film, "hat")
    assert count(film, Run) == 0
    assert list_runs(film) == []


def test_a_pickled_base_model_is_refused(film, tmp_path):
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(UsageError, match="pickles"):
        request_training(film, "coat", base=str(folder))


def test_failures_are_written_down(film):
    request = request_training(film, "coat")
    training.close_job(film, request.job, "failed", "out of memory at step 3")
    info = get_run(film, request.run)
    assert (info.state, info.error) == ("failed", "out of memory at step 3")


def test_overrides_are_json_where_they_can_be():
    assert parse_overrides(["rank=8", "lr=1e-4", "targets=attention", "flip=true", "note=a=b"]) == {
        "rank": 8,
        "lr": 1e-4,
        "targets": "attention",
        "flip": True,
        "note": "a=b",
    }
    with pytest.raises(UsageError, match="NAME=VALUE"):
        parse_overrides(["rank"])


def finished_run(film, steps=(100, 200, 300)):
    """A run that ended and kept weights on the way, as its folder has it."""
    request = request_training(film, "coat", overrides={"steps": 300})
    workdir = film.paths.job(request.job)
    outputs, weights = [], []
    for step in steps:
        path = workdir / "outputs" / f"coat-{step}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"up": np.full((4, 2), step, np.float32)}, path)
        data = path.read_bytes()
        name = f"outputs/{path.name}"
        outputs.append(OutputFile(path=name, sha256=hashlib.sha256(data).hexdigest(), size=len(data)))
        weights.append(WeightsOutput(step=step, kohya=name, tensor_hash=tensor_hash(path), final=step == steps[-1]))
    result = Result(job=request.job, attempt=1, outputs=tuple(outputs), weights=tuple(weights))
    (workdir / "result.json").write_text(result.model_dump_json(by_alias=True))
    return request, result, workdir


def test_weights_that_a_run_kept_become_candidates_when_asked_for(film):
    request, result, workdir = finished_run(film)
    with pytest.raises(JobError, match="is queued"):
        register_kept(film, request.run, 100)
    training.register_result(film, request.job, result, workdir)
    assert [(one.step, one.final, one.version) for one in kept_weights(film, request.run)] == [
        (100, False, ""),
        (200, False, ""),
        (300, True, "coat/v1"),
    ]
    assert register_kept(film, request.run, 100) == "coat/v2"
    assert register_kept(film, request.run, 100) == "coat/v2"
    assert register_kept(film, request.run, 300) == "coat/v1"
    with film.read() as session:
        version = session.exec(select(Version).where(Version.number == 2)).one()
    assert (version.stage, version.step, version.run_id) == ("candidate", 100, request.run)
    assert read_metadata(film.blobs.path(version.weights))["assetforge.version"] == "coat/v2"
    assert get_run(film, request.run).versions == ("coat/v1", "coat/v2")
    again = request_training(film, "coat", overrides={"steps": 300})
    assert again.reused == "coat/v1"
    with pytest.raises(NotFoundError, match="kept no weights at step 150"):
        register_kept(film, request.run, 150)
    with pytest.raises(NotFoundError, match="There is no run 99"):
        kept_weights(film, 99)


def test_kept_weights_that_changed_or_went_are_refused(film):
    request, result, workdir = finished_run(film)
    training.register_result(film, request.job, result, workdir)
    (workdir / "outputs" / "coat-200.safetensors").write_bytes(b"other")
    with pytest.raises(JobError, match="changed after job"):
        register_kept(film, request.run, 200)
    (workdir / "outputs" / "coat-100.safetensors").unlink()
    with pytest.raises(NotFoundError, match="cleaned up"):
        register_kept(film, request.run, 100)
    assert [one.step for one in kept_weights(film, request.run)] == [200, 300]
    (workdir / "result.json").unlink()
    with pytest.raises(NotFoundError, match="cleaned up"):
        kept_weights(film, request.run)
