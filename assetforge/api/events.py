"""Things that happen.

Two families: :class:`Event` subclasses are facts about the film that ``on_event`` hooks receive; lines of ``events.jsonl`` are what a running job
says, one JSON object a line with ``kind``, ``t`` (seconds since the epoch) and ``attempt``, see :data:`JOB_EVENT_KINDS`.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

__all__ = [
    "JOB_EVENT_KINDS",
    "AliasMoved",
    "ComparisonReady",
    "DatasetFrozen",
    "Event",
    "FilesQuarantined",
    "ReferencesAdded",
    "RetrainProposed",
    "RetrainStarted",
    "RunFinished",
    "VersionCreated",
    "VersionReviewed",
    "WatchRootBack",
    "WatchRootLost",
]

JOB_EVENT_KINDS = ("started", "progress", "checkpoint", "sample", "metric", "log", "failed", "finished")
"""``progress`` carries step, total, and what the engine knows of loss, lr, it_s, memory_mb; ``sample`` carries file (in the work folder), prompt and, of trainers, step; ``failed`` carries error and traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a film.

    Attributes:
        project: Folder of the film.
        at: When, in UTC.
        actor: Who: a user name, or the part of assetforge that acted.
    """

    project: Path
    at: datetime
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencesAdded(Event):
    """New references of one asset."""

    asset: str
    added: int
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFrozen(Event):
    """A new dataset version."""

    dataset: str
    tree_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """A run came to its end, good or bad; ``state`` is one of the run states."""

    run: int
    asset: str
    state: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionCreated(Event):
    """A new candidate version."""

    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonReady(Event):
    """A version was compared with a baseline.

    Attributes:
        version: Address of the version under test.
        baseline: Address of the baseline; empty without one.
        verdict: ``pass``, ``regressed`` or ``inconclusive``; empty without a baseline.
        headline: The verdict in one sentence, without a full stop.
        report: The report, when one was written.
        summary: Figures.
    """

    version: str
    baseline: str
    verdict: str = ""
    headline: str = ""
    report: Path | None = None
    summary: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionReviewed(Event):
    """A person approved or rejected a version."""

    version: str
    stage: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMoved(Event):
    """An alias names another version now."""

    alias: str
    version: str
    previous: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesQuarantined(Event):
    """New files of one asset were put aside, for one reason."""

    asset: str
    files: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRootLost(Event):
    """A watched folder cannot be reached; that is an outage, and nothing in it counts as deleted."""

    asset: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRootBack(Event):
    """A watched folder can be reached again."""

    asset: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainProposed(Event):
    """An asset would be trained again if a person agrees; ``because`` says what changed."""

    asset: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainStarted(Event):
    """An asset is trained again by itself; ``because`` says what changed."""

    asset: str
    run: int
    because: str
