"""What people do with jobs: list, look, hurry, stop, cancel, try again, read along."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlmodel import col, select

from assetforge import agent
from assetforge.db.models_jobs import Job, JobAttempt
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.errors import NotFoundError
from assetforge.jobs import queue
from assetforge.jobs.background import ensure_supervisor
from assetforge.jobs.driver import end_job
from assetforge.jobs.handlers import HANDLERS
from assetforge.services.projects import Project

__all__ = [
    "AttemptInfo",
    "JobInfo",
    "cancel_job",
    "follow_log",
    "get_job",
    "list_jobs",
    "read_log",
    "retry_job",
    "set_priority",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptInfo:
    """One try of a job.

    Attributes:
        number: From 1.
        executor: Where.
        slot: In which slot.
        outcome: How it ended; empty while it runs.
        error: Why.
        started_at: When it was submitted.
        finished_at: When it ended.
    """

    number: int
    executor: str
    slot: str
    outcome: str
    error: str
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInfo:
    """A row of the queue, for people.

    Attributes:
        id: Row id.
        kind: ``train``, ``render`` or ``score``.
        state: One of the job states.
        subject: What it is about.
        run: Row id of the run, for train jobs.
        executor: Where it runs.
        slot: The slot it holds.
        attempt: Attempts so far.
        max_attempts: Attempts there may be.
        priority: Higher goes first.
        cancel_requested: Somebody asked to stop it.
        error: Why it failed, why the last attempt did, or what a queued one waits for.
        requested_by: Who queued it.
        folder: Its work folder; may be gone.
        step: Last step that was reported.
        total: Steps there are.
        created_at: When it was queued.
        started_at: When it was first claimed.
        finished_at: When it ended.
        attempts: Every try; only filled by :func:`get_job`.
    """

    id: int
    kind: str
    state: str
    subject: str
    run: int | None
    executor: str
    slot: str
    attempt: int
    max_attempts: int
    priority: int
    cancel_requested: bool
    error: str
    requested_by: str
    folder: Path
    step: int
    total: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempts: tuple[AttemptInfo, ...] = ()


def list_jobs(project: Project, *, state: str = "", kind: str = "", limit: int = 50) -> list[JobInfo]:
    """Jobs, newest first.

    Args:
        project: The film.
        state: Only in this state; ``open`` means not ended.
        kind: Only of this kind.
        limit: At most so many.
    """
    query = select(Job).order_by(col(Job.id).desc()).limit(limit)
    if state == "open":
        query = query.where(col(Job.state).in_(OPEN_JOB_STATES))
    elif state:
        query = query.where(Job.state == state)
    if kind:
        query = query.where(Job.kind == kind)
    with project.read() as session:
        return [_info(project, job) for job in session.exec(query).all()]


def get_job(project: Project, job_id: int) -> JobInfo:
    """One job with its attempts.

    Raises:
        NotFoundError: There is no such job.
    """
    with project.read() as session:
        job = session.get(Job, job_id)
        if job is None:
            raise NotFoundError(f"There is no job {job_id}.", hint="`assetforge jobs list` shows what there is.")
        rows = session.exec(
            select(JobAttempt).where(JobAttempt.job_id == job_id).order_by(col(JobAttempt.number))
        ).all()
        return _info(project, job, tuple(_attempt(row) for row in rows))


def cancel_job(
    project: Project,
    job_id: int,
    *,
    reason: str = "",
    handlers: Mapping[str, str] = HANDLERS,
    supervise: Callable[[Project], None] = ensure_supervisor,
) -> str:
    """Cancel a job: a queued one at once; a running one commits a checkpoint and stops, or is killed after its grace time.

    Args:
        project: The film.
        job_id: Row id of the job.
        reason: What people read in the list of jobs when it is cancelled.
        handlers: Kind to service module.
        supervise: Makes sure that a supervisor is there to stop it.

    Returns:
        The state it is in now; ``cancelled`` when it is over already.

    Raises:
        NotFoundError: There is no such job.
        UsageError: It has ended.
    """
    with project.write() as session:
        held = queue.request_cancel(session, job_id, queue.new_owner(), reason)
    if held is None:
        # Its supervisor stops it; when that one is gone, the next one does.
        supervise(project)
        return get_job(project, job_id).state
    end_job(project, held, handlers, "cancelled", reason, lambda _text: None)
    return get_job(project, job_id).state


def retry_job(project: Project, job_id: int) -> None:
    """Put a failed, cancelled or lost job back into the queue; it goes on from its last checkpoint.

    Raises:
        NotFoundError: There is no such job.
        UsageError: It succeeded, or has not ended.
        BusyError: Another open job does the same.
    """
    with project.write() as session:
        queue.retry(session, job_id)


def set_priority(project: Project, job_id: int, priority: int) -> None:
    """Make a job that has not ended more or less urgent: higher goes first; what a person asked for has 0, what a policy asked for -10.

    Raises:
        NotFoundError: There is no such job.
        UsageError: It has ended.
    """
    with project.write() as session:
        queue.set_priority(session, job_id, priority)


def follow_log(project: Project, job_id: int, *, follow: bool = False, poll_s: float = 0.3) -> Iterator[str]:
    """The lines that a job printed, without their line ends.

    Args:
        project: The film.
        job_id: Row id of the job.
        follow: Go on until the job ends.
        poll_s: Seconds between two looks.

    Raises:
        NotFoundError: There is no such job.
    """
    cursor = 0
    while True:
        last = get_job(project, job_id).state not in OPEN_JOB_STATES or not follow
        before = -1
        while cursor != before:
            before = cursor
            lines, cursor = read_log(project, job_id, cursor, to_the_end=last)
            yield from lines
        if last:
            return
        time.sleep(poll_s)


def read_log(
    project: Project, job_id: int, cursor: int = 0, *, most_bytes: int = 1 << 20, to_the_end: bool = False
) -> tuple[list[str], int]:
    """Lines that a job printed since a cursor, without their line ends, and the cursor to go on from. Never waits.

    Args:
        project: The film.
        job_id: Row id of the job; a job without a folder said nothing.
        cursor: Bytes that were read; 0 begins at the beginning, and -n with the first whole line of the last n bytes. Beyond the end, it begins at the beginning.
        most_bytes: How much is read at most; the answer has the same cursor again only when there is no more.
        to_the_end: Take a last line that is not ended, as when the job will not go on with it.
    """
    path = project.paths.job(job_id) / "log.txt"
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            begin = max(0, size + cursor) if cursor < 0 else cursor if cursor <= size else 0
            stream.seek(max(0, begin - 1) if cursor < 0 else begin)
            if cursor < 0 and begin:
                stream.readline()
                begin = stream.tell()
            data = stream.read(most_bytes)
    except FileNotFoundError:
        return [], max(0, cursor)
    at_end = begin + len(data) >= size
    whole = data if to_the_end and at_end else data[: data.rfind(b"\n") + 1]
    if not whole and len(data) == most_bytes:
        whole = data
    # Progress bars overwrite their line; only what was last in it says something.
    lines = [
        line.rstrip("\r").rpartition("\r")[2] for line in whole.decode("utf-8", "replace").split("\n") if line.strip()
    ]
    return lines, begin + len(whole)


def _info(project: Project, job: Job, attempts: tuple[AttemptInfo, ...] = ()) -> JobInfo:
    folder = project.paths.job(job.id or 0)
    step, total = _progress(folder) if job.state in OPEN_JOB_STATES else (0, 0)
    return JobInfo(
        id=job.id or 0,
        kind=job.kind,
        state=job.state,
        subject=job.subject,
        run=job.run_id,
        executor=job.executor,
        slot=job.slot,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        priority=job.priority,
        cancel_requested=job.cancel_requested,
        error=job.error,
        requested_by=job.requested_by,
        folder=folder,
        step=step,
        total=total,
        created_at=_time(job.created_at),
        started_at=_time(job.started_at) if job.started_at else None,
        finished_at=_time(job.finished_at) if job.finished_at else None,
        attempts=attempts,
    )


def _attempt(row: JobAttempt) -> AttemptInfo:
    return AttemptInfo(
        number=row.number,
        executor=row.executor,
        slot=row.slot,
        outcome=row.outcome,
        error=row.error,
        started_at=_time(row.started_at),
        finished_at=_time(row.finished_at) if row.finished_at else None,
    )


def _progress(folder: Path) -> tuple[int, int]:
    """The last progress that was reported, from the end of the event file."""
    path = folder / "events.jsonl"
    if not path.is_file():
        return 0, 0
    events: list[dict[str, Any]] = agent.read_events(folder, max(0, path.stat().st_size - 8192))[0]
    for event in reversed(events):
        if event.get("kind") == "progress":
            return int(event.get("step", 0)), int(event.get("total", 0))
    return 0, 0


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
