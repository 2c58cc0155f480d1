"""A supervisor in the background for those who wait, and following a job to its end."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from assetforge import agent
from assetforge.db.models_jobs import Job
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.durable import storage_error
from assetforge.errors import NotFoundError
from assetforge.services.projects import Project

__all__ = ["ensure_supervisor", "presence", "supervisor_is_here", "wait_for_job"]

_POLL_S = 0.2
_LOOK_S = 2.0
_LINGER_S = 20.0


@contextmanager
def presence(project: Project, *, shared: bool = False) -> Iterator[bool]:
    """Say for the length of a block that a supervisor works on the film.

    Args:
        project: The film.
        shared: Others may work beside this one.

    Yields:
        Whether the place was free. Correctness never hangs on it: it only keeps background supervisors from piling up.
    """
    lock = project.paths.private / "supervisor.lock"
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(error, lock, "opened") from error
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def supervisor_is_here(project: Project) -> bool:
    """Whether some supervisor of this machine works on the film."""
    with presence(project) as free:
        return not free


def ensure_supervisor(project: Project) -> None:
    """Start a supervisor in the background unless there is one; it ends by itself when the queue has been empty for a while."""
    if supervisor_is_here(project):
        return
    project.paths.logs.mkdir(parents=True, exist_ok=True)
    # -P: without it Python would import from the current folder first, and a film could bring code that looks like a library.
    command = [sys.executable, "-P", "-m", "assetforge.jobs.supervisor", str(project.root), "--linger", str(_LINGER_S)]
    with (project.paths.logs / "supervisor.log").open("ab") as log:
        # Detached: it outlives the command that needed it. Popen would complain about a child that still runs when it is forgotten,
        # so a short-lived shell process starts it and ends.
        starter = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
        subprocess.run(
            [sys.executable, "-P", "-S", "-c", starter, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=project.root,
            start_new_session=True,
            check=True,
        )


def wait_for_job(
    project: Project,
    job_id: int,
    on_event: Callable[[dict[str, Any]], None],
    *,
    supervise: Callable[[Project], None] = ensure_supervisor,
) -> str:
    """Follow a job to its end.

    Args:
        project: The film.
        job_id: Row id of the job.
        on_event: Called with every line of ``events.jsonl``, from the first on.
        supervise: Called now and then, so that the job is never without a supervisor.

    Returns:
        Its final state: ``succeeded``, ``failed``, ``cancelled`` or ``lost``.

    Raises:
        NotFoundError: There is no such job.
    """
    workdir, cursor, next_look = project.paths.job(job_id), 0, 0.0
    while True:
        # The state first: whatever it says was preceded by the lines that are read next.
        state = _state(project, job_id)
        before = -1
        while cursor != before:
            before = cursor
            events, cursor = agent.read_events(workdir, before)
            for event in events:
                on_event(event)
        if state not in OPEN_JOB_STATES:
            return state
        if time.monotonic() >= next_look:
            next_look = time.monotonic() + _LOOK_S
            supervise(project)
        time.sleep(_POLL_S)


def _state(project: Project, job_id: int) -> str:
    with project.read() as session:
        job = session.get(Job, job_id)
        if job is None:
            raise NotFoundError(f"There is no job {job_id}.", hint="`assetforge jobs list` shows what there is.")
        return job.state
