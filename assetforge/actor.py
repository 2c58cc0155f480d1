"""Who acts: for the record of what happened, of runs and of jobs."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["acting_as", "current_actor"]

_acting: ContextVar[str] = ContextVar("acting", default="")


@contextmanager
def acting_as(actor: str) -> Iterator[None]:
    """For the length of a block, this thread acts for ``actor``: a part of assetforge that nobody told to act just now."""
    token = _acting.set(actor)
    try:
        yield
    finally:
        _acting.reset(token)


def current_actor() -> str:
    """Whoever :func:`acting_as` names, ``ASSETFORGE_ACTOR`` where set (automation, shared accounts), else the user's login name."""
    actor = _acting.get() or os.environ.get("ASSETFORGE_ACTOR", "").strip()
    if actor:
        return actor
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # Containers often run under a number without a name.
        return f"uid-{os.getuid()}"
