"""Which service stands behind a kind of job."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

from assetforge.api.job import Result
from assetforge.domain.bundle import BundlePlan
from assetforge.errors import JobError
from assetforge.services.projects import Project

__all__ = ["HANDLERS", "Handler", "handler_of"]

HANDLERS: Mapping[str, str] = {
    "train": "assetforge.services.training",
    "render": "assetforge.services.rendering",
    "score": "assetforge.services.comparison",
}
"""Kind to module; each module has the functions of :class:`Handler`."""


class Handler(Protocol):
    """What a service offers for its kind of job. Every function may be called again for the same job."""

    def plan_job(self, project: Project, job_id: int) -> BundlePlan:
        """The bundle of a job."""

    def register_result(self, project: Project, job_id: int, result: Result, workdir: Path) -> None:
        """Take over what a job made, after checking every byte of it."""

    def close_job(self, project: Project, job_id: int, state: str, error: str) -> None:
        """Write down that a job failed, was cancelled or was lost."""


def handler_of(kind: str, handlers: Mapping[str, str] = HANDLERS) -> Handler:
    """The service behind a kind of job.

    Raises:
        JobError: There is none.
    """
    if kind not in handlers:
        raise JobError(f"Nobody knows how to run jobs of kind {kind!r}.", hint=f"Known are: {', '.join(handlers)}.")
    return cast("Handler", importlib.import_module(handlers[kind]))
