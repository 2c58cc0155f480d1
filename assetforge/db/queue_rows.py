"""Putting jobs into the queue: the one thing that services do with it."""

import time
from typing import Any

from sqlmodel import Session, col, select

from assetforge.actor import current_actor
from assetforge.db.models_jobs import Job
from assetforge.domain.states import JOB_KINDS, OPEN_JOB_STATES
from assetforge.errors import StorageError, UsageError

__all__ = ["enqueue"]


def enqueue(
    session: Session,
    *,
    kind: str,
    subject: str,
    payload: dict[str, Any],
    run_id: int | None = None,
    executor: str = "local",
    device: str = "auto",
    priority: int = 0,
    dedupe_key: str = "",
    max_attempts: int = 3,
) -> int:
    """Queue a job, or find the open one that does the same.

    Args:
        session: A write session, so that the job and what it belongs to are kept or lost together.
        kind: ``train``, ``render`` or ``score``.
        subject: What people read in the list of jobs.
        payload: What the service that plans the bundle needs; what JSON can hold.
        run_id: Row id of the run, for train jobs.
        executor: Name of the executor that runs it.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        priority: Higher goes first; equal ones in the order they were queued.
        dedupe_key: An open job with the same key is returned instead of a second one; empty never joins.
        max_attempts: How often a job that was killed or lost is started, at least 1.

    Returns:
        The row id of the job.

    Raises:
        UsageError: There is no such kind of job.
    """
    if kind not in JOB_KINDS:
        raise UsageError(f"There is no job of kind {kind!r}.", hint=f"Known are: {', '.join(JOB_KINDS)}.")
    if dedupe_key:
        twin = select(Job.id).where(Job.dedupe_key == dedupe_key, col(Job.state).in_(OPEN_JOB_STATES))
        found = session.exec(twin).first()
        if found is not None:
            return found
    job = Job(
        kind=kind,
        subject=subject,
        payload=payload,
        run_id=run_id,
        executor=executor,
        device=device,
        priority=priority,
        dedupe_key=dedupe_key,
        max_attempts=max(1, max_attempts),
        requested_by=current_actor(),
        created_at=time.time(),
    )
    session.add(job)
    session.flush()
    if job.id is None:
        raise StorageError("The database gave a job no id.")
    return job.id
