"""``--wait``: start a supervisor when there is none, and show how far a job is."""

from typing import Any

from assetforge.cli.output import progress
from assetforge.jobs.supervisor import ensure_supervisor, wait_for_job
from assetforge.services.projects import Project

__all__ = ["wait_with_progress"]


def wait_with_progress(project: Project, job: int, label: str) -> str:
    """Follow a job to its end, showing progress on stderr; interrupting this leaves the job running.

    Returns:
        The job's final state.
    """
    ensure_supervisor(project)
    with progress(label) as update:

        def on_event(event: dict[str, Any]) -> None:
            if event.get("kind") == "progress":
                loss = event.get("loss")
                update(int(event["step"]), int(event["total"]), f"loss {loss:.4f}" if isinstance(loss, float) else "")

        return wait_for_job(project, job, on_event)
