"""What happened to the film: rows for people, events for plugins."""

import dataclasses
import getpass
import os
from typing import Any

from sqlmodel import Session

from assetforge.api.events import Event
from assetforge.db.models import Activity
from assetforge.extension.registry import get_registry
from assetforge.services.projects import Project

__all__ = ["current_actor", "publish", "record"]


def current_actor() -> str:
    """Who acts: ``ASSETFORGE_ACTOR`` where set (automation, shared accounts), else the user's login name."""
    actor = os.environ.get("ASSETFORGE_ACTOR", "").strip()
    if actor:
        return actor
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # Containers often run under a number without a name.
        return f"uid-{os.getuid()}"


def record(session: Session, actor: str, verb: str, subject: str, **detail: Any) -> None:
    """Note what happened, in the write session that makes it happen, so that both are kept or neither.

    Args:
        session: A write session.
        actor: Who, see :func:`current_actor`.
        verb: What, in the past tense, such as ``froze``.
        subject: Address of what it happened to.
        detail: Further facts that JSON can hold.
    """
    session.add(Activity(actor=actor, verb=verb, subject=subject, detail=detail))


def publish(project: Project, event: Event) -> None:
    """Tell the plugins, after the facts are committed. What a plugin makes of it changes nothing here: its errors are recorded against the plugin.

    Args:
        project: The film; the event names it, whatever folder it said before.
        event: What happened.
    """
    get_registry().notify(dataclasses.replace(event, project=project.root))
