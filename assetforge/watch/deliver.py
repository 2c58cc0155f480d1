"""Sends what waits to be told."""

import time

from assetforge.builtin.notify.listener import deliver_pending
from assetforge.services.projects import Project

__all__ = ["Deliver"]

_EVERY_S = 5.0


class Deliver:
    """Looks every few seconds whether notifications of a film wait.

    Args:
        project: The film.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._next = 0.0

    def __call__(self, *, arriving: bool) -> None:  # noqa: ARG002 - told to every follow-up
        """Look."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY_S
            deliver_pending(self._project.paths)
