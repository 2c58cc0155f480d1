"""Sweeps: what would be trained, what is there already, what it costs."""

import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from safetensors.numpy import save_file
from sqlmodel import select

from assetforge.api.job import OutputFile, Result, WeightsOutput
from assetforge.api.specs import MetricSpec
from assetforge.cli.sweep import parse_grid
from assetforge.db.models import Run, Version
from assetforge.errors import JobError, NotFoundError, UsageError
from assetforge.extension import registry as registry_module
from assetforge.extension.discovery import Candidate
from assetforge.extension.manager import LoadedPlugin
from assetforge.extension.registry import get_registry, reset_registry
from assetforge.services import training
from assetforge.services.assets import add_asset
from assetforge.services.datasets import freeze
from assetforge.services.ingest import add_references
from assetforge.services.ranking import checkpoint_versions
from assetforge.services.runs import get_run, list_runs
from assetforge.services.sweeps import plan_sweep, request_sweep, sweep_runs
from assetforge.services.training import request_training
from assetforge.services.versions import list_versions
from assetforge.store.blobs import hash_file
from assetforge.store.weights import tensor_hash

pytest.importorskip("assetforge_example")
GRID = {"rank": [2, 4], "steps": [20, 40]}


@pytest.fixture
def film(project, make_png, tmp_path, monkeypatch):
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")
    reset_registry()
    metric = MetricSpec(name="likeness", title="Likeness", kind="embedding", gates=True, load="nowhere:Nothing")
    get_registry().add(
        LoadedPlugin(
            Candidate(name="measures", distribution="measures", version="1.0", target="measures"),
            specs={"metric": (metric,)},
        )
    )
    add_asset(project, "coat", "costume", trigger="rdcoat", class_word="outfit")
    for seed in range(9):
        make_png(tmp_path / "pictures" / f"{seed}.png", seed=seed)
    add_references(project, "coat", [tmp_path / "pictures"])
    freeze(project, "coat")
    yield project
    reset_registry()


def succeed(project, number, seconds=60):
    """A run ends well, after so many seconds."""
    with project.write() as session:
        run = session.get_one(Run, number)
        run.state, run.started_at = "succeeded", datetime(2026, 1, 1, tzinfo=UTC)
        run.finished_at = run.started_at + timedelta(seconds=seconds)
        session.add(run)
        session.add(
            Version(
                asset_id=run.asset_id,
                number=number,
                run_id=run.id,
                family="example-linear",
                weights="0" * 64,
                step=run.params["steps"],
            )
        )


def test_every_combination_becomes_a_run_of_one_seed_and_one_cause(film):
    plan = plan_sweep(film, "coat", GRID, overrides={"batch": 2}, seed=7)
    assert [one.label for one in plan.runs] == [
        "rank=2 steps=20",
        "rank=2 steps=40",
        "rank=4 steps=20",
        "rank=4 steps=40",
    ]
    assert (plan.number, plan.missing, plan.hours) == (1, 4, None)
    assert list_runs(film) == []
    made = request_sweep(film, plan)
    runs = [get_run(film, one.run) for one in made]
    assert [(run.params["rank"], run.params["steps"]) for run in runs] == [(2, 20), (2, 40), (4, 20), (4, 40)]
    assert {run.seed for run in runs} == {7}
    assert {run.params["batch"] for run in runs} == {2}
    assert [run.cause for run in runs] == [f"sweep 1: {one.label}" for one in plan.runs]
    # What was planned is what is trained.
    assert [run.recipe_key for run in runs] == [one.recipe_key for one in plan.runs]
    assert all(one.job and not one.version for one in made)


def test_the_same_sweep_again_goes_on_where_it_was(film):
    request_sweep(film, plan_sweep(film, "coat", GRID))
    succeed(film, 1)
    again = plan_sweep(film, "coat", GRID)
    assert (again.number, again.missing) == (1, 0)
    assert [one.version for one in again.runs] == ["coat/v1", "", "", ""]
    assert [one.run for one in again.runs] == [1, 2, 3, 4]
    made = request_sweep(film, again)
    assert [(one.run, one.version, one.reused) for one in made][:2] == [(1, "coat/v1", True), (2, "", False)]
    assert len(list_runs(film)) == 4
    larger = plan_sweep(film, "coat", {"rank": [2, 4, 8], "steps": [20, 40]})
    assert (larger.number, larger.missing) == (1, 2)
    assert plan_sweep(film, "coat", {"rank": [16], "steps": [20]}).number == 2
    assert len(sweep_runs(film, larger)) == 4


def test_the_cost_is_told_from_earlier_runs(film):
    request_sweep(film, plan_sweep(film, "coat", {"steps": [20]}))
    succeed(film, 1, seconds=72)
    plan = plan_sweep(film, "coat", {"steps": [20, 40, 100]})
    assert [one.hours for one in plan.runs] == [0.0, pytest.approx(0.04), pytest.approx(0.1)]
    assert plan.hours == pytest.approx(0.14)


def test_failed_runs_are_trained_again(film):
    request_sweep(film, plan_sweep(film, "coat", {"steps": [20]}))
    with film.write() as session:
        run = session.exec(select(Run)).one()
        run.state = "failed"
        session.add(run)
    assert plan_sweep(film, "coat", {"steps": [20]}).missing == 1


def test_parameters_without_a_say_make_no_run_of_their_own(film):
    plan = plan_sweep(film, "coat", {"steps": [20], "checkpoint_every": [5, 10]})
    assert len(plan.runs) == 1


def test_what_cannot_be_swept_is_said_before_anything_is_trained(film):
    with pytest.raises(UsageError, match="18 runs"):
        plan_sweep(film, "coat", {"rank": list(range(1, 7)), "steps": [10, 20, 30]})
    assert len(plan_sweep(film, "coat", {"rank": list(range(1, 18))}, many=True).runs) == 17
    with pytest.raises(UsageError, match="needs parameters"):
        plan_sweep(film, "coat", {})
    with pytest.raises(UsageError, match="no parameter 'rnk'"):
        plan_sweep(film, "coat", {"rnk": [1]})
    with pytest.raises(UsageError, match="part of the grid"):
        plan_sweep(film, "coat", {"rank": [1]}, overrides={"rank": 2})
    with pytest.raises(NotFoundError):
        plan_sweep(film, "hat", GRID)
    registry_module.reset_registry()
    with pytest.raises(UsageError, match="nothing to rank versions of coat by"):
        plan_sweep(film, "coat", GRID)
    assert list_runs(film) == []


def test_all_weights_of_a_run_become_candidates(film):
    request = request_training(film, "coat", overrides={"steps": 300})
    workdir = film.paths.job(request.job)
    outputs, weights = [], []
    for step in (100, 300, 200):
        path = workdir / "outputs" / f"coat-{step}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"up": np.full((4, 2), step, np.float32)}, path)
        outputs.append(OutputFile(path=f"outputs/{path.name}", sha256=hash_file(path)[0], size=path.stat().st_size))
        weights.append(
            WeightsOutput(step=step, kohya=outputs[-1].path, tensor_hash=tensor_hash(path), final=step == 300)
        )
    result = Result(job=request.job, attempt=1, outputs=tuple(outputs), weights=tuple(weights))
    (workdir / "result.json").write_text(result.model_dump_json(by_alias=True))
    with pytest.raises(JobError, match="is queued"):
        checkpoint_versions(film, request.run)
    training.register_result(film, request.job, result, workdir)
    assert checkpoint_versions(film, request.run) == ["coat/v2", "coat/v3", "coat/v1"]
    shutil.rmtree(workdir)
    assert checkpoint_versions(film, request.run) == ["coat/v2", "coat/v3", "coat/v1"]
    assert {version.stage for version in list_versions(film)} == {"candidate"}
    # The answer to a sweep is what a run ended with.
    assert [one.version for one in plan_sweep(film, "coat", {"steps": [300]}).runs] == ["coat/v1"]
    with pytest.raises(NotFoundError, match="no run 99"):
        checkpoint_versions(film, 99)


def test_grids_are_read_from_words():
    assert parse_grid(["rank=4,8", "learning_rate=1e-3, 5e-4", "optimizer=adamw,lion"]) == {
        "rank": [4, 8],
        "learning_rate": [1e-3, 5e-4],
        "optimizer": ["adamw", "lion"],
    }
    for wrong in (["rank"], ["rank="], ["rank=4,,8"], ["rank=4", "rank=8"], ["rank=4,4"]):
        with pytest.raises(UsageError):
            parse_grid(wrong)
