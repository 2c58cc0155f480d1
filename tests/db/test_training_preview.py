"""What a training would be, before anybody starts it."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from assetforge.api.protocols import TrainingLength
from assetforge.cli.app import run as commands
from assetforge.db.columns import utc_now
from assetforge.db.models import Activity, DatasetVersion, Run
from assetforge.db.models_jobs import Job
from assetforge.errors import NotFoundError, UsageError
from assetforge.extension.registry import get_registry, reset_registry
from assetforge.services import training_preview
from assetforge.services.assets import add_asset
from assetforge.services.captions import set_caption
from assetforge.services.datasets import freeze
from assetforge.services.ingest import add_references
from assetforge.services.projects import Project
from assetforge.services.reference_settings import set_references
from assetforge.services.references import list_references
from assetforge.services.training import request_training
from assetforge.services.training_history import training_length
from assetforge.services.training_preview import TrainingPreview, preview_training

pytest.importorskip("assetforge_example")


@pytest.fixture
def film(
    project: Project, make_png: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")
    reset_registry()
    add_asset(project, "coat", "costume", trigger="rdcoat", class_word="outfit")
    add_asset(project, "hat", "costume")
    for seed in range(9):
        make_png(tmp_path / "pictures" / f"{seed}.png", seed=seed)
    (tmp_path / "pictures" / "3.txt").write_text("on a chair")
    add_references(project, "coat", [tmp_path / "pictures"])
    yield project
    reset_registry()


def codes(seen: TrainingPreview) -> list[str]:
    return [one.code for one in seen.warnings]


def finished(film: Project, run: int, job: int, seconds: float, **metrics: float) -> None:
    with film.write() as session:
        row, now = session.get_one(Run, run), utc_now()
        row.state, row.started_at, row.finished_at = "succeeded", now - timedelta(seconds=seconds), now
        row.metrics, row.engine = metrics, {"device": "cpu"}
        session.get_one(Job, job).state = "succeeded"


def test_nothing_is_frozen_queued_or_noted(film: Project) -> None:
    with film.read() as session:
        before = len(session.exec(select(Activity)).all())
    seen = preview_training(film, "coat")
    assert (seen.dataset, seen.frozen, seen.train_count, seen.held_out_count) == ("coat/d1", False, 7, 2)
    assert (seen.trainer, seen.family, seen.steps, seen.pictures_per_step) == (
        "example-linear",
        "example-linear",
        300,
        None,
    )
    assert (seen.seconds, seen.memory_mb, seen.reused, seen.joined, seen.changed) == (None, None, "", None, ())
    assert codes(seen) == ["unfrozen", "few", "no-captions", "no-rights"]
    assert "no dataset version yet" in seen.warnings[0].text
    with film.read() as session:
        assert session.exec(select(DatasetVersion)).all() == session.exec(select(Run)).all() == []
        assert len(session.exec(select(Activity)).all()) == before
    with pytest.raises(UsageError, match="no active reference"):
        preview_training(film, "hat")


def test_the_key_is_that_of_the_run_and_what_exists_is_named(film: Project) -> None:
    seen = preview_training(film, "coat", overrides={"rank": 2}, seed=3)
    freeze(film, "coat")
    request = request_training(film, "coat", overrides={"rank": 2}, seed=3)
    assert request.recipe_key == seen.recipe_key
    again = preview_training(film, "coat", overrides={"rank": 2}, seed=3)
    assert (again.joined, again.reused, again.frozen) == (request.run, "", True)
    assert [(one.name, one.value, one.counts) for one in again.changed] == [("rank", 2, True)]
    assert again.changed[0].recipe == get_registry().recipe(again.recipe).spec.params.get("rank", 4)
    assert preview_training(film, "coat").joined is None


def test_changes_since_the_newest_dataset_are_said_and_can_be_looked_at(film: Project) -> None:
    freeze(film, "coat")
    assert "unfrozen" not in codes(preview_training(film, "coat"))
    chosen = next(one for one in list_references(film, "coat").items if one.split == "train")
    set_caption(film, chosen.address, "in the wind")
    seen = preview_training(film, "coat")
    assert (seen.dataset, codes(seen)[0]) == ("coat/d1", "unfrozen")
    assert "1 changed" in seen.warnings[0].text
    planned = preview_training(film, "coat", freeze_first=True)
    assert (planned.dataset, planned.frozen) == ("coat/d2", False)
    assert "unfrozen" not in codes(planned)
    assert planned.recipe_key != seen.recipe_key


def test_time_and_memory_come_from_earlier_runs(film: Project) -> None:
    freeze(film, "coat")
    for number, seconds in enumerate((10.0, 30.0, 20.0), start=1):
        request = request_training(film, "coat", overrides={"steps": 100}, seed=number)
        finished(film, request.run, request.job or 0, seconds, memory_mb=100.0 * number)
    seen = preview_training(film, "coat", overrides={"steps": 200, "learning_rate": 0.5})
    assert seen.seconds == pytest.approx(40.0, abs=0.5)
    assert (seen.seconds_from, seen.device, seen.memory_mb, seen.memory_run) == (3, "cpu", 300.0, 3)
    assert preview_training(film, "coat", overrides={"rank": 9}).memory_mb is None
    # A trainer that has a further parameter since then did without it before.
    with film.write() as session:
        newest = session.get_one(Run, seen.memory_run)
        newest.params = {name: value for name, value in newest.params.items() if name != "alpha"}
    assert preview_training(film, "coat", overrides={"steps": 200}).memory_run == seen.memory_run
    # What it says of itself goes before the clock, and what is not stepping counts once.
    request = request_training(film, "coat", overrides={"steps": 100}, seed=9)
    finished(film, request.run, request.job or 0, 60.0, seconds_per_step=0.5, steps=100.0)
    with film.write() as session:
        for run in session.exec(select(Run).where(Run.id != request.run)):
            run.engine = {"device": "cuda"}
    seen = preview_training(film, "coat", overrides={"steps": 1000})
    assert (seen.seconds, seen.seconds_from) == (pytest.approx(510.0, abs=0.5), 1)


def test_mistakes_are_said_as_training_says_them(film: Project) -> None:
    with pytest.raises(UsageError, match="Did you mean 'rank'"):
        preview_training(film, "coat", overrides={"rnk": 2})
    with pytest.raises(UsageError, match="cannot take rank=0"):
        preview_training(film, "coat", overrides={"rank": 0})
    for wrong in (
        {"recipe": "no"},
        {"base": "no"},
        {"executor": "no"},
        {"dataset": "coat/d7"},
        {"start_from": "coat/v1"},
    ):
        with pytest.raises(NotFoundError):
            preview_training(film, "coat", **wrong)
    with pytest.raises(NotFoundError):
        preview_training(film, "nobody")


def test_what_is_in_order_is_not_warned_of(film: Project) -> None:
    found = list_references(film, "coat").items
    set_references(film, [one.address for one in found], rights="own photographs")
    for one in found:
        set_caption(film, one.address, "on a chair")
    set_caption(film, found[0].address, "word " * 90)
    freeze(film, "coat", held_out=0)
    seen = preview_training(film, "coat")
    assert codes(seen) == ["few", "nothing-held-out", "captions-too-long"]
    assert "1 of 9 captions are probably longer than the 75 tokens" in seen.warnings[-1].text


def test_a_trainer_may_say_how_long_it_is_or_be_wrong_about_it(film: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    trainer = get_registry().trainer("example-linear").spec
    params = trainer.params.model_validate({"steps": 10})
    assert training_length(trainer, params, 7) == TrainingLength(10, 0, 7)
    for target in ("nowhere:length", "json:dumps", "builtins:len"):
        assert training_length(dataclasses.replace(trainer, length=target), params, 7) is None
    monkeypatch.setattr(training_preview, "training_length", lambda *_: TrainingLength(100, 14, 7))
    seen = preview_training(film, "coat")
    assert (seen.steps, seen.epochs, seen.pictures_per_step) == (100, 200.0, 14)
    assert "large-step" in codes(seen)


def test_the_command_line(film: Project, capsys: pytest.CaptureFixture[str]) -> None:
    def document(*words: str) -> dict[str, Any]:
        assert commands(["train", "coat", "--dry-run", "--json", *words]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert found["schema"] == "assetforge/train-preview/1"
        preview: dict[str, Any] = found["preview"]
        return preview

    assert document("--set", "rank=2")["changed"][0]["name"] == "rank"
    freeze(film, "coat")
    assert document("--freeze")["frozen"]
    assert commands(["train", "coat", "--dry-run", "--set", "steps=7"]) == 0
    shown = capsys.readouterr().out
    assert "coat/d1: 7 to train on, 2 held out" in shown
    assert "time             unknown" in shown
    assert "! 7 pictures are few" in shown
    request = request_training(film, "coat", overrides={"steps": 7})
    finished(film, request.run, request.job or 0, 90.0)
    assert commands(["train", "coat", "--dry-run", "--set", "steps=7"]) == 0
    assert "about 1 min 30 s, from 1 earlier run on cpu" in capsys.readouterr().out
    assert commands(["train", "coat", "--dry-run", "--set", "rnk=7"]) == 2
    with film.read() as session:
        assert len(session.exec(select(Run)).all()) == 1
