"""``assetforge jobs``: the queue of a film."""

from typing import Annotated

from cyclopts import App, Parameter

from assetforge.cli.output import emit, facts, plain, table
from assetforge.cli.session import opened_project
from assetforge.jobs.control import JobInfo, cancel_job, follow_log, get_job, list_jobs, retry_job, set_priority

__all__ = ["app"]

app = App(name="jobs", help="The queue: what runs, what waits, what went wrong.", help_format="plaintext")


@app.command(name="list")
def list_(*, state: str = "", kind: str = "", limit: int = 50) -> None:
    """List jobs, newest first.

    Args:
        state: Only in this state: open (not ended), queued, staging, running, collecting, succeeded, failed, cancelled or lost.
        kind: Only of this kind: train, render or score.
        limit: At most so many.
    """
    with opened_project() as project:
        jobs = list_jobs(project, state=state, kind=kind, limit=limit)
    rows = [
        (
            job.id,
            job.kind,
            _state(job),
            job.subject,
            _where(job),
            _tries(job),
            _steps(job),
            job.created_at,
            job.error.split("\n")[0],
        )
        for job in jobs
    ]
    columns = ("job", "kind", "state", "subject", "where", "attempt", "step", "queued", "error")
    emit("jobs-list", {"jobs": jobs}, lambda: table(columns, rows, empty="No job yet."))


@app.command
def show(number: int) -> None:
    """Show a job with all its attempts.

    Args:
        number: Number of the job.
    """
    with opened_project() as project:
        job = get_job(project, number)

    def text() -> None:
        facts(
            {
                "job": job.id,
                "kind": job.kind,
                "state": _state(job),
                "subject": job.subject,
                "run": job.run,
                "where": _where(job),
                "priority": job.priority,
                "step": _steps(job),
                "folder": job.folder,
                "by": job.requested_by,
                "queued": job.created_at,
                "started": job.started_at,
                "ended": job.finished_at,
                "error": job.error,
            }
        )
        rows = [
            (one.number, f"{one.executor} {one.slot}", one.started_at, one.finished_at, one.outcome, one.error)
            for one in job.attempts
        ]
        table(("attempt", "where", "started", "ended", "outcome", "error"), rows, empty="Not started yet.")

    emit("jobs-show", {"job": job}, text)


@app.command
def cancel(number: int) -> None:
    """Cancel a job; a running one commits a checkpoint and stops.

    Args:
        number: Number of the job.
    """
    with opened_project() as project:
        state = cancel_job(project, number)
    said = f"Job {number} is cancelled." if state == "cancelled" else f"Job {number} was asked to stop."
    emit("jobs-cancel", {"job": number, "state": state}, lambda: plain(said))


@app.command
def retry(number: int) -> None:
    """Put a failed, cancelled or lost job back into the queue; it goes on from its last checkpoint.

    Args:
        number: Number of the job.
    """
    with opened_project() as project:
        retry_job(project, number)
    emit("jobs-retry", {"job": number, "state": "queued"}, lambda: plain(f"Job {number} is queued again."))


@app.command
def priority(number: int, value: Annotated[int, Parameter(allow_leading_hyphen=True)]) -> None:
    """Make a waiting job more or less urgent.

    Args:
        number: Number of the job.
        value: Higher goes first; what people ask for has 0, what a retraining policy asks for -10.
    """
    with opened_project() as project:
        set_priority(project, number, value)
    emit("jobs-priority", {"job": number, "priority": value}, lambda: plain(f"Job {number} has priority {value}."))


@app.command
def logs(number: int, *, follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative=())] = False) -> None:
    """Print what a job said.

    Args:
        number: Number of the job.
        follow: Go on until the job ends.
    """
    with opened_project() as project:
        for line in follow_log(project, number, follow=follow):
            plain(line)


def _state(job: JobInfo) -> str:
    return f"{job.state}, to be cancelled" if job.cancel_requested and job.finished_at is None else job.state


def _where(job: JobInfo) -> str:
    return f"{job.executor} {job.slot}".strip()


def _tries(job: JobInfo) -> str:
    return f"{job.attempt}/{job.max_attempts}"


def _steps(job: JobInfo) -> str:
    return f"{job.step}/{job.total}" if job.total else ""
