"""What people do with runs by their number: stop and save, cancel, resume, hurry. Each is one call, which returns before the run has reacted."""

from sqlmodel import col, func, select

from assetforge.db.models import Run
from assetforge.db.models_jobs import Job
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.errors import NotFoundError
from assetforge.jobs.control import cancel_job, retry_job, set_priority
from assetforge.services.projects import Project

__all__ = ["cancel_run", "hurry_run", "resume_run", "run_job", "set_run_priority", "stop_reason", "stop_run"]


def run_job(project: Project, number: int) -> int:
    """The job of a run.

    Raises:
        NotFoundError: There is no such run, or its job is gone.
    """
    with project.read() as session:
        if session.get(Run, number) is None:
            raise NotFoundError(f"There is no run {number}.", hint="`assetforge run list` shows what there is.")
        job = session.exec(select(Job.id).where(Job.run_id == number).order_by(col(Job.id))).first()
    if job is None:
        raise NotFoundError(
            f"Run {number} has no job any more.",
            hint="Its work folder was removed by gc; train again with `assetforge train`.",
        )
    return job


def stop_reason(number: int) -> str:
    """What people read of a run that was stopped for now."""
    return f"Stopped; `assetforge run resume {number}` goes on from its last checkpoint."


def stop_run(project: Project, number: int) -> str:
    """Stop a run for now: it finishes its step, commits a checkpoint and ends as cancelled, with a word about how to go on.

    Returns:
        The state of its job now.

    Raises:
        NotFoundError: There is no such run, or its job is gone.
        UsageError: It has ended.
    """
    return cancel_job(project, run_job(project, number), reason=stop_reason(number))


def cancel_run(project: Project, number: int) -> str:
    """Cancel a run: it too finishes its step and commits a checkpoint, and could be resumed; nothing says that it should be.

    Returns:
        The state of its job now.

    Raises:
        NotFoundError: There is no such run, or its job is gone.
        UsageError: It has ended.
    """
    return cancel_job(project, run_job(project, number))


def resume_run(project: Project, number: int) -> None:
    """Put a failed, cancelled or lost run back into the queue; it goes on from its last checkpoint when a supervisor takes it.

    Raises:
        NotFoundError: There is no such run, or its job is gone.
        UsageError: It succeeded, or has not ended.
        BusyError: Another open job does the same.
    """
    retry_job(project, run_job(project, number))


def set_run_priority(project: Project, number: int, priority: int) -> None:
    """Make a run more or less urgent, see :func:`assetforge.jobs.control.set_priority`.

    Raises:
        NotFoundError: There is no such run, or its job is gone.
        UsageError: It has ended.
    """
    set_priority(project, run_job(project, number), priority)


def hurry_run(project: Project, number: int) -> int:
    """Put a run before everything else in the queue.

    Returns:
        Its priority now: one more than any other open job's; what it was when it is before all of them already.

    Raises:
        NotFoundError: There is no such run, or its job is gone.
        UsageError: It has ended.
    """
    job = run_job(project, number)
    with project.read() as session:
        own = session.get_one(Job, job).priority
        others = select(func.max(Job.priority)).where(col(Job.state).in_(OPEN_JOB_STATES), Job.id != job)
        highest = session.exec(others).one()
    priority = own if highest is None or own > highest else highest + 1
    set_priority(project, job, priority)
    return priority
