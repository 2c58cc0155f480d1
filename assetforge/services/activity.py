"""What happened to the film: rows for people, events for plugins."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, func, or_, select

from assetforge.actor import acting_as, current_actor
from assetforge.api.events import Event
from assetforge.db.models import Activity
from assetforge.errors import UsageError
from assetforge.extension.registry import get_registry
from assetforge.services.projects import Project

__all__ = ["ActivityInfo", "acting_as", "current_actor", "list_activity", "publish", "record"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityInfo:
    """Something that happened to the film.

    Attributes:
        id: Row id; later ones are larger.
        at: When, in UTC.
        actor: Who: a person, ``watch``, or ``supervisor``.
        verb: What, in the past tense.
        subject: Address of what it happened to.
        detail: Further facts.
    """

    id: int
    at: datetime
    actor: str
    verb: str
    subject: str
    detail: Mapping[str, Any]


def list_activity(
    project: Project, about: str = "", *, actor: str = "", before: int | None = None, limit: int = 50
) -> list[ActivityInfo]:
    """What happened to the film, newest first.

    Args:
        project: The film.
        about: An asset, or an address of something of it; empty lists everything.
        actor: Only what this one did, such as ``watch``.
        before: ``id`` of the last one on the page before.
        limit: At most so many, at least 1.

    Raises:
        UsageError: The limit is below 1.
    """
    if limit < 1:
        raise UsageError(f"A page of {limit} lines cannot be shown.", hint="Ask for at least 1.")
    query = select(Activity).order_by(col(Activity.id).desc()).limit(limit)
    if about:
        below = or_(*(col(Activity.subject).startswith(about + mark, autoescape=True) for mark in ("/", "@")))
        query = query.where(
            or_(Activity.subject == about, below, func.json_extract(Activity.detail, "$.asset") == about)
        )
    if actor:
        query = query.where(Activity.actor == actor)
    if before is not None:
        query = query.where(col(Activity.id) < before)
    with project.read() as session:
        return [
            ActivityInfo(
                id=row.id or 0, at=row.at, actor=row.actor, verb=row.verb, subject=row.subject, detail=row.detail
            )
            for row in session.exec(query)
        ]


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
