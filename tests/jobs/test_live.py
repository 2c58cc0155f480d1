"""Following a run: from a cursor, over torn lines and new attempts, in flat memory; its log likewise."""

import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assetforge.cli.app import run as commands
from assetforge.db.models import Run
from assetforge.db.models_jobs import Job
from assetforge.domain.curves import MOST_POINTS
from assetforge.errors import NotFoundError, UsageError
from assetforge.jobs.control import follow_log, get_job, read_log
from assetforge.jobs.live import LiveRun, Sample
from assetforge.jobs.run_control import cancel_run, hurry_run, resume_run, run_job, set_run_priority, stop_run
from assetforge.services.projects import Project


@pytest.fixture
def job(project: Project, queue_job: Callable[..., int]) -> int:
    return queue_job()


@pytest.fixture
def folder(project: Project, job: int) -> Path:
    path = project.paths.job(job)
    path.mkdir(parents=True)
    return path


def write(folder: Path, *events: dict[str, Any], torn: str = "") -> None:
    with (folder / "events.jsonl").open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(event) + "\n" for event in events)
        stream.write(torn)


def progress(step: int, total: int = 100, **figures: Any) -> dict[str, Any]:
    return {"kind": "progress", "t": 1000.0 + step, "attempt": 1, "step": step, "total": total, **figures}


def set_state(project: Project, job: int, state: str) -> None:
    with project.write() as session:
        session.get_one(Job, job).state = state


def test_a_job_without_a_folder_and_one_that_does_not_exist(project: Project, job: int) -> None:
    update = LiveRun(project, job).read()
    assert (update.state, update.step, update.steps, update.eta_s, update.samples) == ("queued", 0, (), None, ())
    with pytest.raises(NotFoundError, match="no job 77"):
        LiveRun(project, 77).read()
    assert read_log(project, job) == ([], 0)


def test_only_what_is_new_is_read_and_torn_lines_wait(project: Project, job: int, folder: Path) -> None:
    live = LiveRun(project, job)
    write(
        folder,
        {"kind": "started", "attempt": 1, "resumed_from": 0},
        progress(1, loss=0.5, lr=1e-4, it_s=2.0, memory_mb=900.0),
    )
    line = json.dumps(progress(2, loss=0.4))
    write(folder, torn=line[:20])
    first = live.read()
    assert (first.step, first.total, first.steps, first.losses, first.attempt) == (1, 100, (1,), (0.5,), 1)
    assert (first.learning_rate.last, first.it_per_s, first.memory_mb) == (1e-4, 2.0, 900.0)
    assert first.changed
    assert not live.read().changed
    write(folder, torn=line[20:] + "\n")
    write(
        folder,
        {"kind": "metric", "name": "validation_loss", "value": 0.6, "step": 2},
        {"kind": "checkpoint", "step": 2},
    )
    write(folder, {"kind": "metric", "name": "grad_norm", "value": 3, "step": 2}, {"kind": "log", "message": "slow"})
    second = live.read()
    assert (second.step, second.steps, second.losses) == (2, (1, 2), (0.5, 0.4))
    assert (second.validation.values, second.metrics["grad_norm"].last, second.checkpoint) == ((0.6,), 3.0, 2)
    assert (second.said, second.changed, second.more) == ("slow", True, False)


def test_nonsense_is_passed_over(project: Project, job: int, folder: Path) -> None:
    write(folder, progress(1, loss=None), progress(2, loss="low", lr=True), {"kind": "progress"}, {"kind": "dance"}, {})
    write(folder, {"kind": "metric", "name": "x"}, torn='[1]\n{"kind": \nnull\n\xff\n')
    with (folder / "events.jsonl").open("ab") as stream:
        stream.write(b"\xff\xfe{}\n")
    write(folder, progress(3, loss=0.1))
    write(folder, torn="x" * 3_000_000 + "\n")
    write(folder, progress(4, loss=0.2))
    live = LiveRun(project, job)
    update = live.read()
    while update.more:
        update = live.read()
    assert (update.step, update.losses, update.metrics) == (4, (0.1, 0.2), {})


def test_a_new_attempt_takes_back_what_came_after_its_checkpoint(project: Project, job: int, folder: Path) -> None:
    live = LiveRun(project, job)
    write(
        folder,
        {"kind": "started", "attempt": 1, "resumed_from": 0},
        *(progress(step, loss=1.0) for step in range(1, 51)),
    )
    live.read()
    write(folder, {"kind": "started", "attempt": 2, "resumed_from": 40}, {**progress(41, loss=2.0), "attempt": 2})
    update = live.read()
    assert (update.attempt, update.resumed_from, update.steps) == (2, 40, tuple(range(1, 42)))
    assert update.losses[-2:] == (1.0, 2.0)
    write(folder, {"kind": "started", "attempt": 3, "resumed_from": 0})
    assert (live.read().steps, live.read().step) == ((), 0)


def test_a_file_that_was_written_anew_is_read_from_the_beginning(project: Project, job: int, folder: Path) -> None:
    live = LiveRun(project, job)
    write(folder, *(progress(step, loss=1.0) for step in range(1, 20)))
    live.read()
    (folder / "events.jsonl").write_bytes(b"")
    write(folder, *(progress(step, loss=3.0) for step in range(5, 60)))
    assert set(live.read().losses) == {3.0}
    (folder / "events.jsonl").unlink()
    assert (live.read().step, live.read().changed) == (59, False)


def test_time_left_comes_from_the_last_minutes(project: Project, job: int, folder: Path) -> None:
    live, now = LiveRun(project, job), time.time()
    write(folder, *({**progress(step, total=200), "t": now - 100 + step} for step in range(101)))
    assert live.read().eta_s is None
    set_state(project, job, "running")
    eta = live.read().eta_s
    assert eta is not None
    assert 90 < eta <= 100.5
    set_state(project, job, "succeeded")
    done = LiveRun(project, job).read()
    assert (done.eta_s, done.step, done.is_over) == (None, 100, True)


def test_pictures_before_the_first_step_say_nothing_of_the_time_left(project: Project, job: int, folder: Path) -> None:
    now = time.time()
    write(folder, {**progress(0, total=100), "t": now - 40}, {"kind": "sample", "file": "samples/0.png", "step": 0})
    write(folder, *({**progress(step, total=100), "t": now - 11 + step} for step in range(1, 12)))
    set_state(project, job, "running")
    eta = LiveRun(project, job).read().eta_s
    assert eta is not None
    assert 85 < eta < 92


def test_pictures_that_are_there_and_inside(project: Project, job: int, folder: Path) -> None:
    (folder / "outputs").mkdir()
    (folder / "outputs" / "0.png").write_bytes(b"x")
    for file in ("outputs/0.png", "outputs/gone.png", "../../forge.db", "/etc/passwd", ""):
        write(folder, {"kind": "sample", "file": file, "prompt": "rdrx at sea", "step": 40})
    write(folder, {"kind": "sample", "file": "outputs/0.png", "step": "soon"})
    path = folder / "outputs" / "0.png"
    assert LiveRun(project, job).read().samples == (Sample(path, "rdrx at sea", 40), Sample(path))


def test_long_runs_are_read_piece_by_piece_in_flat_memory(project: Project, job: int, folder: Path) -> None:
    line = json.dumps(progress(0, total=200_000, loss=0.123456, lr=1e-4, it_s=3.5, memory_mb=1234.5))
    with (folder / "events.jsonl").open("w") as stream:
        stream.writelines(line.replace('"step": 0', f'"step": {step}') + "\n" for step in range(1, 30_001))
    live = LiveRun(project, job)
    first = live.read(most_bytes=1 << 20)
    assert first.more
    tracemalloc.start()
    update = first
    while update.more:
        update = live.read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert update.step == 30_000
    assert 500 < len(update.steps) <= MOST_POINTS
    assert peak < 6 << 20


def test_the_log_from_a_cursor(project: Project, job: int, folder: Path) -> None:
    log = folder / "log.txt"
    log.write_bytes(b"one\ntwo\r50 %\r100 %\n\nwindows\r\nhal")
    lines, cursor = read_log(project, job)
    assert (lines, cursor) == (["one", "100 %", "windows"], log.stat().st_size - 3)
    assert read_log(project, job, cursor) == ([], cursor)
    assert read_log(project, job, cursor, to_the_end=True) == (["hal"], cursor + 3)
    with log.open("ab") as stream:
        stream.write(b"f\nlast\n")
    assert read_log(project, job, cursor)[0] == ["half", "last"]
    assert read_log(project, job, -8)[0] == ["last"]
    assert read_log(project, job, -5)[0] == ["last"]
    assert read_log(project, job, -10_000)[0][0] == "one"
    # Three looks at a few bytes each see every line once.
    seen, cursor, before = [], 0, -1
    while cursor != before:
        before = cursor
        lines, cursor = read_log(project, job, cursor, most_bytes=20)
        seen += lines
    assert seen == read_log(project, job)[0]
    log.write_bytes(b"anew\n")
    assert read_log(project, job, cursor)[0] == ["anew"]
    log.write_bytes(b"a\nb")
    set_state(project, job, "failed")
    assert list(follow_log(project, job, follow=True)) == ["a", "b"]


@pytest.fixture
def run(project: Project, queue_job: Callable[..., int], make_png: Callable[..., Path], tmp_path: Path) -> int:
    """Number of a queued run."""
    from assetforge.db.models import BaseModelRecord, DatasetVersion
    from assetforge.services.assets import add_asset

    add_asset(project, "mara", "character")
    number = queue_job()
    with project.write() as session:
        base = BaseModelRecord(name="b", family="sd15", digest="d", path="", resolution=64)
        dataset = DatasetVersion(asset_id=1, number=1, tree_hash="t", train_count=1, held_out_count=0)
        session.add_all([base, dataset])
        session.flush()
        row = Run(
            asset_id=1,
            dataset_id=dataset.id or 0,
            base_model_id=base.id or 0,
            recipe="r",
            trainer="t",
            trainer_version="1",
            plugin="p",
            plugin_version="1",
            recipe_key="k",
            seed=0,
        )
        session.add(row)
        session.flush()
        session.get_one(Job, number).run_id = row.id
        return row.id or 0


def test_runs_are_controlled_by_their_number(project: Project, run: int, queue_job: Callable[..., int]) -> None:
    queue_job(priority=7)
    job = run_job(project, run)
    assert (hurry_run(project, run), get_job(project, job).priority) == (8, 8)
    assert hurry_run(project, run) == 8
    set_run_priority(project, run, -3)
    assert get_job(project, job).priority == -3
    assert stop_run(project, run) == "cancelled"
    assert get_job(project, job).error == f"Stopped; `assetforge run resume {run}` goes on from its last checkpoint."
    with pytest.raises(UsageError, match="ended already"):
        cancel_run(project, run)
    resume_run(project, run)
    assert (get_job(project, job).state, get_job(project, job).error) == ("queued", "")
    assert cancel_run(project, run) == "cancelled"
    assert get_job(project, job).error == ""
    with pytest.raises(NotFoundError, match="no run 99"):
        stop_run(project, 99)


def test_progress_and_priority_on_the_command_line(
    project: Project, run: int, queue_job: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    queue_job(priority=7)
    job = run_job(project, run)
    folder = project.paths.job(job)
    folder.mkdir(parents=True)
    write(folder, progress(4, loss=0.25))
    assert commands(["run", "progress", str(run)]) == 0
    assert capsys.readouterr().out.strip() == "queued  4/100  0.25 loss"
    set_state(project, job, "failed")
    assert commands(["run", "progress", str(run), "--follow", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["loss"]["values"], document["eta_s"]) == (
        "assetforge/run-progress/1",
        [0.25],
        None,
    )
    set_state(project, job, "queued")
    assert commands(["run", "priority", str(run), "--first"]) == 0
    assert get_job(project, job).priority == 8
    assert commands(["run", "priority", str(run), "-5"]) == 0
    assert get_job(project, job).priority == -5
    assert commands(["run", "priority", str(run)]) == 2
    assert commands(["run", "priority", str(run), "3", "--first"]) == 2
