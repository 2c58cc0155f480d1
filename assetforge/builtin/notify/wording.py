"""Events as what people read and programs parse."""

import dataclasses
import math
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from assetforge.api import events
from assetforge.builtin.notify.settings import event_name

__all__ = ["SCHEMA", "Notification", "sentence"]

SCHEMA = "assetforge/notification/1"

_LONGEST_SENTENCE = 600
_LONGEST_VALUE = 8000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What is told, in whatever way.

    Attributes:
        id: Stays the same when it is sent again.
        event: Name of the event, such as ``run-finished``.
        film: Name of the film's folder.
        folder: That folder.
        at: When it happened, in ISO 8601.
        actor: Who did it.
        sentence: What happened, in one line for people.
        data: Further facts of the event.
    """

    id: str
    event: str
    film: str
    folder: str
    at: str
    actor: str
    sentence: str
    data: dict[str, Any]

    @classmethod
    def of(cls, event: events.Event) -> Self:
        """What is told about an event."""
        common = {field.name for field in dataclasses.fields(events.Event)}
        facts = {
            field.name: getattr(event, field.name) for field in dataclasses.fields(event) if field.name not in common
        }
        return cls(
            id=uuid.uuid4().hex,
            event=event_name(type(event)),
            film=event.project.name,
            folder=str(event.project),
            at=event.at.isoformat(),
            actor=event.actor,
            sentence=sentence(event),
            data=_jsonable(facts),
        )

    @classmethod
    def test(cls, folder: Path | None, actor: str) -> Self:
        """What ``assetforge notify test`` sends, in a film or outside."""
        return cls(
            id=uuid.uuid4().hex,
            event="test",
            film=folder.name if folder else "assetforge",
            folder=str(folder or ""),
            at=datetime.now(UTC).isoformat(),
            actor=actor,
            sentence="This is a test; notifications arrive.",
            data={},
        )

    def document(self) -> dict[str, Any]:
        """What programs get; ``text`` is what chat tools show."""
        facts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        told = facts.pop("sentence")
        return {"schema": SCHEMA, **facts, "text": f"{self.film}: {told}"}


def sentence(event: events.Event) -> str:
    """What happened, in one line."""
    line = " ".join(_said(event).split())
    return line if len(line) <= _LONGEST_SENTENCE else line[: _LONGEST_SENTENCE - 1] + "…"


def _said(event: events.Event) -> str:
    match event:
        case events.RunFinished():
            return _because(f"Run {event.run} of {event.asset} {event.state}", event.error)
        case events.VersionCreated():
            return f"{event.version} is there, a new candidate."
        case events.ComparisonReady():
            return f"{event.headline or f'{event.version} was compared with {event.baseline}'}."
        case events.VersionReviewed():
            return _because(f"{event.version} is {event.stage}", event.why)
        case events.AliasMoved():
            before = f" It was {event.previous}." if event.previous else ""
            return f"{event.alias} is {event.version} now.{before}"
        case events.DatasetFrozen():
            return f"{event.dataset} was frozen."
        case events.ReferencesAdded():
            refused = f", {event.refused} refused" if event.refused else ""
            return f"References of {event.asset}: {event.added} added{refused}."
        case events.FilesQuarantined():
            return _because(f"New files of {event.asset} were put aside ({event.files})", event.reason)
        case events.WatchRootLost():
            return f"The watched folder {event.folder} of {event.asset} cannot be reached."
        case events.WatchRootBack():
            return f"The watched folder {event.folder} of {event.asset} is back."
        case events.RetrainProposed():
            return _because(f"{event.asset} could be trained again", event.because)
        case events.RetrainStarted():
            return _because(f"{event.asset} is trained again, as run {event.run}", event.because)
        case _:
            return event_name(type(event)).replace("-", " ").capitalize() + "."


def _because(what: str, why: str) -> str:
    return f"{what}: {why}" if why else f"{what}."


def _jsonable(value: Any) -> Any:
    """A value that every JSON parser takes: no NaN, nothing endless, unknown objects as their text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _jsonable(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_jsonable(one) for one in value]
    return str(value)[:_LONGEST_VALUE]
