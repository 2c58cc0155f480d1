"""The queue: claim, renew, leave, finish, requeue, adopt. Every change of a claimed row is fenced by owner and attempt.

All functions take a write session (``BEGIN IMMEDIATE``), so that of several supervisors exactly one wins. A fenced change answers ``False`` when the row
belongs to somebody else by now; whoever gets that answer stops touching the job. The run and the evaluations that a job belongs to follow its state.
"""

import os
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from assetforge import agent
from assetforge.api.protocols import Handle
from assetforge.db.models import Run
from assetforge.db.models_jobs import Evaluation, Job, JobAttempt
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.errors import BusyError, NotFoundError, UsageError

__all__ = [
    "CLAIMED_STATES",
    "LEASE_S",
    "Claim",
    "adopt",
    "begin_attempt",
    "claim",
    "enter",
    "explain_waiting",
    "finish",
    "hold_back",
    "is_cancelled",
    "leave",
    "new_owner",
    "owner_is_dead",
    "renew",
    "request_cancel",
    "requeue",
    "retry",
    "set_priority",
]

LEASE_S = 60.0
"""How long a claim holds without a sign of life; renewed every quarter of it."""

CLAIMED_STATES = ("staging", "running", "collecting")
_FINAL_STATES = ("succeeded", "failed", "cancelled", "lost")


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that somebody owns, and the fence around it.

    Attributes:
        job: Row id.
        attempt: Number of the attempt, from 1.
        owner: Who claimed it.
        kind: ``train``, ``render`` or ``score``.
        executor: Where it runs.
        slot: Which slot it takes.
        max_attempts: How many attempts there may be.
    """

    job: int
    attempt: int
    owner: str
    kind: str
    executor: str
    slot: str
    max_attempts: int


def new_owner() -> str:
    """A name for this process that no other process ever has: host, boot, process id, its start time."""
    process = agent.identify(os.getpid())
    return f"{socket.gethostname()}|{process['boot']}|{process['pid']}|{process['start']}"


def owner_is_dead(owner: str) -> bool:
    """Whether the owner was a process of this machine and is gone; ``False`` for owners elsewhere, of whom nothing is known."""
    parts = owner.split("|")
    if len(parts) != 4 or parts[0] != socket.gethostname():
        return False
    return not agent.is_alive({"boot": parts[1], "pid": int(parts[2]), "start": parts[3]})


def claim(
    session: Session, owner: str, executor: str, slot: str, devices: Collection[str], lease_s: float = LEASE_S
) -> Claim | None:
    """Take the most urgent queued job that fits a slot, if the slot is free.

    Args:
        session: A write session.
        owner: Name from :func:`new_owner`.
        executor: Executor of the slot.
        slot: Name of the slot; at most one job of a film holds it.
        devices: What jobs may ask for to run there, such as ``auto`` and ``cpu``.
        lease_s: Seconds until the claim lapses unless it is renewed.
    """
    now = time.time()
    holder = aliased(Job)
    taken = exists().where(
        col(holder.executor) == executor, col(holder.slot) == slot, col(holder.state).in_(CLAIMED_STATES)
    )
    best = (
        select(Job.id)
        .where(
            Job.state == "queued",
            Job.executor == executor,
            col(Job.device).in_(list(devices)),
            Job.not_before <= now,
            ~taken,
        )
        .order_by(col(Job.priority).desc(), col(Job.id))
        .limit(1)
        .scalar_subquery()
    )
    row = session.execute(
        update(Job)
        .where(col(Job.id) == best)
        .values(
            state="staging",
            owner=owner,
            lease_until=now + lease_s,
            attempt=Job.attempt + 1,
            slot=slot,
            error="",
            handle={},
        )
        .returning(*_CLAIM_COLUMNS)
        .execution_options(synchronize_session=False)
    ).first()
    if row is None:
        return None
    taken_job = _claim(row)
    session.execute(
        update(Job).where(col(Job.id) == taken_job.job, col(Job.started_at).is_(None)).values(started_at=now)
    )
    _follow_state(session, taken_job.job, "staging")
    return taken_job


def adopt(session: Session, owner: str, lease_s: float = LEASE_S) -> list[Claim]:
    """Take over every claimed job whose lease ran out or whose owner was a process of this machine that is gone.

    The attempt stays the same: what it started may still run, and is followed instead of started again.
    """
    now = time.time()
    claims = []
    rows = session.exec(select(Job).where(col(Job.state).in_(CLAIMED_STATES), Job.owner != owner)).all()
    for job in rows:
        if job.lease_until < now or owner_is_dead(job.owner):
            job.owner, job.lease_until = owner, now + lease_s
            session.add(job)
            claims.append(Claim(job.id or 0, job.attempt, owner, job.kind, job.executor, job.slot, job.max_attempts))
    return claims


def renew(session: Session, owner: str, lease_s: float = LEASE_S) -> None:
    """Extend the lease of everything that an owner holds."""
    session.execute(
        update(Job)
        .where(col(Job.owner) == owner, col(Job.state).in_(CLAIMED_STATES))
        .values(lease_until=time.time() + lease_s)
    )


def leave(session: Session, owner: str) -> None:
    """Let the leases of an owner lapse now, so that the next supervisor takes its jobs over at once."""
    session.execute(
        update(Job).where(col(Job.owner) == owner, col(Job.state).in_(CLAIMED_STATES)).values(lease_until=0.0)
    )


def hold_back(session: Session, reason: str, delay_s: float) -> None:
    """Keep every job that could start from doing so for ``delay_s`` seconds, and say why; no attempt is used up."""
    now = time.time()
    session.execute(
        update(Job)
        .where(col(Job.state) == "queued", col(Job.not_before) <= now)
        .values(not_before=now + delay_s, error=reason)
    )


def explain_waiting(session: Session, executor: str, devices: Collection[str], reason: str) -> None:
    """Say why jobs that could start have not; one whose last attempt left a reason keeps that."""
    session.execute(
        update(Job)
        .where(
            col(Job.state) == "queued",
            col(Job.executor) == executor,
            col(Job.device).in_(list(devices)),
            col(Job.not_before) <= time.time(),
            col(Job.error) == "",
        )
        .values(error=reason)
    )


def begin_attempt(session: Session, held: Claim, bundle_id: str, handle: Handle) -> bool:
    """Write down how the attempt will be found again, before it is submitted; ``False`` when the job is no longer held."""
    if not _change(session, held, bundle_id=bundle_id, handle=handle):
        return False
    known = session.exec(
        select(JobAttempt).where(JobAttempt.job_id == held.job, JobAttempt.number == held.attempt)
    ).first()
    if known is None:
        session.add(
            JobAttempt(
                job_id=held.job,
                number=held.attempt,
                executor=held.executor,
                slot=held.slot,
                handle=handle,
                started_at=time.time(),
            )
        )
    return True


def enter(session: Session, held: Claim, state: str) -> bool:
    """Move a held job to another open state."""
    if not _change(session, held, state=state):
        return False
    _follow_state(session, held.job, state)
    return True


def finish(session: Session, held: Claim, state: str, error: str = "") -> bool:
    """End a held job for good."""
    now = time.time()
    if not _change(session, held, state=state, error=error, finished_at=now, owner="", lease_until=0.0, slot=""):
        return False
    _close_attempt(session, held, state, error)
    _follow_state(session, held.job, state, error)
    return True


def requeue(
    session: Session, held: Claim, outcome: str, error: str, delay_s: float, *, extra_attempt: bool = False
) -> bool:
    """Put a held job back for its next attempt, not before ``delay_s`` seconds from now.

    Args:
        session: A write session.
        held: The claim.
        outcome: How the attempt ended.
        error: Why.
        delay_s: Seconds until it may be claimed again.
        extra_attempt: This attempt does not count.
    """
    if not _change(
        session,
        held,
        state="queued",
        error=error,
        owner="",
        lease_until=0.0,
        slot="",
        not_before=time.time() + delay_s,
        max_attempts=held.max_attempts + extra_attempt,
    ):
        return False
    _close_attempt(session, held, outcome, error)
    _follow_state(session, held.job, "queued")
    return True


def is_cancelled(session: Session, held: Claim) -> bool | None:
    """Whether somebody asked to cancel; ``None`` when the job is no longer held."""
    return session.exec(
        select(Job.cancel_requested).where(
            Job.id == held.job, Job.owner == held.owner, Job.attempt == held.attempt, col(Job.state).in_(CLAIMED_STATES)
        )
    ).first()


def request_cancel(session: Session, job_id: int, owner: str, reason: str = "") -> Claim | None:
    """Ask to cancel a job. A queued one is claimed by the asker, who has to end it; a running one is left to its owner.

    Args:
        session: A write session.
        job_id: Row id of the job.
        owner: Name of the asker, from :func:`new_owner`.
        reason: What people read as its error when it is cancelled.

    Raises:
        NotFoundError: There is no such job.
        UsageError: It has ended already.
    """
    job = _open_job(session, job_id)
    was_queued = job.state == "queued"
    job.cancel_requested, job.error = True, reason
    if was_queued:
        job.state, job.owner, job.lease_until, job.slot = "collecting", owner, time.time() + LEASE_S, f"cancel:{job_id}"
    session.add(job)
    session.flush()
    if not was_queued:
        return None
    return Claim(job_id, job.attempt, owner, job.kind, job.executor, job.slot, job.max_attempts)


def set_priority(session: Session, job_id: int, priority: int) -> None:
    """Make a job more or less urgent; it counts until the job starts, and for its further attempts.

    Raises:
        NotFoundError: There is no such job.
        UsageError: It has ended already.
    """
    job = _open_job(session, job_id)
    job.priority = priority
    session.add(job)


def _open_job(session: Session, job_id: int) -> Job:
    job = session.get(Job, job_id)
    if job is None:
        raise NotFoundError(f"There is no job {job_id}.", hint="`assetforge jobs list` shows what there is.")
    if job.state not in OPEN_JOB_STATES:
        raise UsageError(f"Job {job_id} has ended already: it is {job.state}.")
    return job


def retry(session: Session, job_id: int, attempts: int = 3) -> None:
    """Put an ended job back into the queue, with ``attempts`` further attempts.

    Raises:
        NotFoundError: There is no such job.
        UsageError: It succeeded, or has not ended.
        BusyError: Another open job does the same.
    """
    job = session.get(Job, job_id)
    if job is None:
        raise NotFoundError(f"There is no job {job_id}.", hint="`assetforge jobs list` shows what there is.")
    if job.state not in _FINAL_STATES or job.state == "succeeded":
        raise UsageError(
            f"Job {job_id} is {job.state}.",
            hint="Only jobs that failed, were cancelled or were lost can be tried again.",
        )
    job.state, job.error, job.cancel_requested = "queued", "", False
    job.not_before, job.finished_at, job.max_attempts = 0.0, None, job.attempt + attempts
    session.add(job)
    try:
        session.flush()
    except IntegrityError as error:
        raise BusyError(
            f"Another open job does the same as job {job_id}.", hint="`assetforge jobs list` shows it."
        ) from error
    _follow_state(session, job_id, "queued")


_CLAIM_COLUMNS = (
    col(Job.id),
    col(Job.attempt),
    col(Job.owner),
    col(Job.kind),
    col(Job.executor),
    col(Job.slot),
    col(Job.max_attempts),
)


def _claim(row: Any) -> Claim:
    return Claim(*row)


def _change(session: Session, held: Claim, **values: Any) -> bool:
    changed = session.execute(
        update(Job)
        .where(_held_by(held))
        .values(**values)
        .returning(col(Job.id))
        .execution_options(synchronize_session=False)
    ).first()
    return changed is not None


def _held_by(held: Claim) -> ColumnElement[bool]:
    return and_(
        col(Job.id) == held.job,
        col(Job.owner) == held.owner,
        col(Job.attempt) == held.attempt,
        col(Job.state).in_(CLAIMED_STATES),
    )


def _close_attempt(session: Session, held: Claim, outcome: str, error: str) -> None:
    session.execute(
        update(JobAttempt)
        .where(col(JobAttempt.job_id) == held.job, col(JobAttempt.number) == held.attempt)
        .values(outcome=outcome, error=error, finished_at=time.time())
    )


def _follow_state(session: Session, job_id: int, state: str, error: str = "") -> None:
    """The run and the evaluations of a job have its state; one that has succeeded keeps that."""
    now = datetime.now(UTC)
    ended = now if state in _FINAL_STATES else None
    runs = select(Job.run_id).where(Job.id == job_id, col(Job.run_id).is_not(None)).scalar_subquery()
    session.execute(
        update(Run)
        .where(col(Run.id) == runs, col(Run.state) != "succeeded")
        .values(state=state, error=error, finished_at=ended)
        .execution_options(synchronize_session=False)
    )
    if state == "running":
        session.execute(
            update(Run)
            .where(col(Run.id) == runs, col(Run.started_at).is_(None))
            .values(started_at=now)
            .execution_options(synchronize_session=False)
        )
    session.execute(
        update(Evaluation)
        .where(col(Evaluation.job_id) == job_id, col(Evaluation.state) != "succeeded")
        .values(state=state)
        .execution_options(synchronize_session=False)
    )
