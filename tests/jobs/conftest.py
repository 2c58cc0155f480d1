"""Jobs on a test handler: the fake trainer, queued as train jobs without a run."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from assetforge import agent
from assetforge.db.queue_rows import enqueue
from assetforge.services.projects import Project
from assetforge.testing.executor_contract import end_processes

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def handler_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler is a module that supervisors import by name, in this process and in their own."""
    monkeypatch.syspath_prepend(str(HERE / "on_path"))
    monkeypatch.setenv("PYTHONPATH", str(HERE / "on_path"))


@pytest.fixture
def queue_job(project: Project) -> Callable[..., int]:
    """A function that queues a job of the fake trainer; parameters as in its module, and those of ``enqueue``."""

    def put(*, film: Project = project, max_attempts: int = 3, priority: int = 0, **params: Any) -> int:
        with film.write() as session:
            return enqueue(
                session, kind="train", subject="mara", payload=params, max_attempts=max_attempts, priority=priority
            )

    return put


class SupervisorProcess:
    """A supervisor in a process of its own."""

    def __init__(self, project: Project, *words: str) -> None:
        self.log = project.paths.logs / f"supervisor-{os.urandom(4).hex()}.log"
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "on_path" / "supervise.py"), str(project.root), *words],
                stdout=stream,
                stderr=stream,
            )

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(30)

    def finish(self, limit_s: float = 60.0) -> None:
        assert self.process.wait(limit_s) == 0, self.log.read_text()


@pytest.fixture
def supervise(project: Project) -> Iterator[Callable[..., SupervisorProcess]]:
    """A function that starts a supervisor; whatever is left at the end is ended, by process id."""
    started: list[SupervisorProcess] = []

    films = {project.root: project}

    def start(*words: str, film: Project = project) -> SupervisorProcess:
        films[film.root] = film
        started.append(SupervisorProcess(film, *words))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()
    for workdir in (folder for film in films.values() for folder in film.paths.jobs.glob("0*")):
        end_processes(workdir)
        child = agent.read_json(workdir / "status.json").get("child")
        for pid in agent.survivors(child, workdir):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
