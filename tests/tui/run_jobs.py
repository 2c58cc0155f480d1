"""Jobs of every kind and state, with the events and logs that their programs would have written; nothing runs."""

import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from assetforge.db.models import Run
from assetforge.db.models_jobs import Job
from assetforge.db.queue_rows import enqueue
from assetforge.services.datasets import freeze
from assetforge.services.projects import Project
from assetforge.services.training import request_training

NASTY_ERROR = (
    "Out of memory on cuda:0 at step 3 [/b] [red]\x1b[31m: 23.4 of 24.0 GB were used.\nTurn on gradient checkpointing, "
    "or take a smaller batch\u202e size."
)


def train(project: Project, asset: str, *, steps: int, seed: int = 0, priority: int = 0, cause: str = "by hand") -> int:
    """Queue a training by the services; gives the job."""
    freeze(project, asset)
    asked = request_training(
        project, asset, overrides={"steps": steps}, seed=seed, priority=priority, cause=cause, again=True
    )
    assert asked.job is not None
    return asked.job


def put(project: Project, kind: str, subject: str, **fields: Any) -> int:
    """Queue a job that is no training."""
    with project.write() as session:
        job = enqueue(session, kind=kind, subject=subject, payload={})
    return set_job(project, job, **fields) if fields else job


def set_job(project: Project, job: int, **fields: Any) -> int:
    """Write fields of a job, and the state of its run."""
    with project.write() as session:
        row = session.get_one(Job, job)
        for name, value in fields.items():
            setattr(row, name, value)
        if row.run_id is not None and "state" in fields:
            run = session.get_one(Run, row.run_id)
            run.state, run.error = fields["state"], fields.get("error", "")
    return job


def begin(project: Project, job: int, slot: str = "cpu:0", ago_s: float = 60.0) -> int:
    """Let it look as if it ran."""
    return set_job(project, job, state="running", slot=slot, attempt=1, started_at=time.time() - ago_s)


def end(project: Project, job: int, state: str, *, error: str = "", ago_s: float = 600.0, took_s: float = 90.0) -> int:
    """Let it look as if it had run."""
    now = time.time()
    return set_job(
        project,
        job,
        state=state,
        error=error,
        attempt=1,
        slot="cpu:0",
        started_at=now - ago_s - took_s,
        finished_at=now - ago_s,
    )


def write_events(project: Project, job: int, events: Iterable[dict[str, Any]], log: Iterable[str] = ()) -> Path:
    """Add to what its program wrote."""
    folder = project.paths.job(job)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "events.jsonl").open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(event) + "\n" for event in events)
    with (folder / "log.txt").open("a", encoding="utf-8") as stream:
        stream.writelines(line + "\n" for line in log)
    return folder


def progress(step: int, total: int, began: float, **figures: Any) -> dict[str, Any]:
    """An event of a training at 1.9 steps a second."""
    loss = 0.06 + 0.2 * math.exp(-step / (total / 5)) + 0.05 * math.sin(step * 12.9898) * math.cos(step * 4.1)
    rate = 1e-4 * min(1.0, step / 100) * (0.5 + 0.5 * math.cos(step / total * math.pi))
    values = {"loss": loss, "lr": rate, "it_s": 1.9, "memory_mb": 21_400.0}
    return {
        "kind": "progress",
        "t": began + step / 1.9,
        "attempt": 1,
        "step": step,
        "total": total,
        **values,
        **figures,
    }


def write_training(project: Project, job: int, steps: int, total: int) -> Path:
    """What a training wrote that got so far just now: a loss for every step, validation, checkpoints, a log, and two pictures every 150 steps."""
    began = time.time() - steps / 1.9
    events: list[dict[str, Any]] = [{"kind": "started", "t": began, "attempt": 1, "resumed_from": 0}]
    log = [
        "Training on cuda:0 in bf16.",
        "Sizes: 832 x 1216: 21, 1024 x 1024: 17.",
        "[b]not bold[/b] [red]\x1b[31m " + "long " * 30,
    ]
    folder = project.paths.job(job)
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    for step in range(1, steps + 1):
        events.append(progress(step, total, began))
        if step % 100 == 0:
            value = 0.09 + 0.2 * math.exp(-step / (total / 5)) + step / total / 40
            events.append({"kind": "metric", "name": "validation_loss", "value": value, "step": step})
            log.append(f"step {step}: validation loss {value:.4f}")
        if step % 150 == 0:
            events.append({"kind": "checkpoint", "step": step})
            for number, prompt in enumerate(("mrx at sea", "a [b]lamp[/b]"), start=1):
                name = f"samples/step-{step:08d}-{number}.png"
                Pillow.radial_gradient("L").resize((96, 64)).rotate(step * number).convert("RGB").save(folder / name)
                events.append({"kind": "sample", "file": name, "step": step, "prompt": prompt})
    return write_events(project, job, events, log)


def busy(project: Project) -> dict[str, int]:
    """A film that much is done for; jobs by name."""
    jobs = {"training": begin(project, train(project, "mara", steps=1900), "cuda:0", 620)}
    write_training(project, jobs["training"], 1178, 1900)
    jobs["rendering"] = begin(project, put(project, "render", "brass-lamp/v3 against brass-lamp/v2"), "cuda:1")
    write_events(
        project,
        jobs["rendering"],
        [progress(step, 96, time.time() - 31 / 1.9, loss=None, lr=None) for step in range(1, 32)],
        ["31 of 96"],
    )
    jobs["next"] = train(project, "brass-lamp", steps=300)
    jobs["later"] = train(project, "mara", steps=900, seed=7, cause="automatic: 5 new references")
    jobs["held"] = train(project, "mara", steps=950, seed=8, cause="automatic: 5 new references")
    set_job(project, jobs["held"], not_before=time.time() + 480)
    jobs["failed"] = end(project, train(project, "mara", steps=500, seed=3), "failed", error=NASTY_ERROR)
    write_training(project, jobs["failed"], 3, 500)
    jobs["stopped"] = end(
        project,
        train(project, "mara", steps=600, seed=4),
        "cancelled",
        error="Stopped; `assetforge run resume 6` goes on from its last checkpoint.",
    )
    write_training(project, jobs["stopped"], 360, 600)
    jobs["done"] = end(project, train(project, "brass-lamp", steps=400, seed=5), "succeeded", ago_s=7200)
    write_training(project, jobs["done"], 400, 400)
    jobs["scored"] = end(
        project, put(project, "score", "mara/v" + "very-long-name-" * 6), "succeeded", ago_s=8000, took_s=7
    )
    return jobs
