"""The queue as a list: what runs, what will run in which order, and what ended."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assetforge.db.browse.asset_facts import JOB_ASSET
from assetforge.db.browse.reader import Reader, json_list
from assetforge.domain.names import version_address
from assetforge.domain.states import OPEN_JOB_STATES

__all__ = ["QueueRow", "queue_rows"]

_COLUMNS = f"""
SELECT j.id, j.kind, j.state, j.subject, j.run_id, j.priority, j.executor, j.device, j.slot, j.attempt, j.max_attempts, j.cancel_requested, j.error,
       coalesce(r.cause, ''), j.requested_by, j.created_at, j.started_at, j.finished_at, j.not_before, j.payload, r.params,
       (SELECT sum(json_array_length(e.plan, '$.cells')) FROM evaluation e WHERE e.job_id = j.id AND j.kind = 'render'), a.name
FROM job j LEFT JOIN run r ON r.id = j.run_id LEFT JOIN asset a ON a.id = {JOB_ASSET}
"""  # noqa: S608 - our own words only
# As the queue claims: the most urgent first, equal ones as they came. What holds back comes after what could start.
_OPEN = f"""{_COLUMNS} WHERE j.state IN (SELECT value FROM json_each(?))
ORDER BY j.state = 'queued', CASE WHEN j.state != 'queued' THEN j.started_at END, max(j.not_before, ?), j.priority DESC, j.id LIMIT ?
"""  # noqa: S608 - our own words only
_ENDED = f"""{_COLUMNS} WHERE j.finished_at IS NOT NULL AND j.state NOT IN (SELECT value FROM json_each(?))
ORDER BY j.finished_at DESC, j.id DESC LIMIT ?
"""  # noqa: S608 - our own words only
_VERSIONS = """
SELECT v.run_id, a.name, v.number FROM version v JOIN asset a ON a.id = v.asset_id
WHERE v.run_id IN (SELECT value FROM json_each(?)) ORDER BY v.number
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """A job in the list.

    Attributes:
        id: Row id.
        kind: ``train``, ``render`` or ``score``.
        state: One of the job states.
        subject: What it is about.
        asset: Name of the asset it is about; empty when unknown.
        run: Number of the run, for train jobs.
        priority: Higher goes first.
        executor: Where it runs.
        device: What it asks for: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        slot: The slot it holds or held.
        attempt: Attempts so far.
        max_attempts: Attempts there may be.
        cancel_requested: Somebody asked to stop it.
        error: Why it failed, why the last attempt did, or what a queued one waits for.
        cause: Why its run was started; empty for other jobs.
        requested_by: Who queued it.
        created_at: When it was queued, in seconds since 1970.
        started_at: When it was first claimed.
        finished_at: When it ended.
        not_before: Before which it does not start; 0 when it may at once.
        total: Steps of a training, pictures of a rendering; ``None`` when unknown.
        versions: Addresses of the versions it made.
    """

    id: int
    kind: str
    state: str
    subject: str
    asset: str
    run: int | None
    priority: int
    executor: str
    device: str
    slot: str
    attempt: int
    max_attempts: int
    cancel_requested: bool
    error: str
    cause: str
    requested_by: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    not_before: float
    total: int | None
    versions: tuple[str, ...]


def queue_rows(reader: Reader, *, open_only: bool, limit: int) -> list[QueueRow]:
    """The open jobs in the order in which they will run, those under way first; then those that ended, newest first.

    Args:
        reader: The film.
        open_only: Leave out what ended.
        limit: At most so many.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    states = json_list(OPEN_JOB_STATES)
    with reader.snapshot():
        rows = reader.rows(_OPEN, (states, time.time(), limit))
        if not open_only and len(rows) < limit:
            rows += reader.rows(_ENDED, (states, limit - len(rows)))
        made: dict[int, list[str]] = {}
        for run, asset, number in reader.rows(_VERSIONS, (json_list({row[4] for row in rows if row[4] is not None}),)):
            made.setdefault(run, []).append(version_address(asset, number))
    return [_row(row, tuple(made.get(row[4], ()))) for row in rows]


def _row(row: Sequence[Any], versions: tuple[str, ...]) -> QueueRow:
    *facts, payload, params, cells, asset = row
    return QueueRow(
        **dict(zip(_FACTS, facts, strict=True)) | {"cancel_requested": bool(facts[_FACTS.index("cancel_requested")])},
        asset=asset or "",
        total=cells or _steps(params) or _steps(payload),
        versions=versions,
    )


_FACTS = (
    *("id", "kind", "state", "subject", "run", "priority", "executor", "device", "slot", "attempt", "max_attempts"),
    *("cancel_requested", "error", "cause", "requested_by", "created_at", "started_at", "finished_at", "not_before"),
)


def _steps(document: str | None) -> int | None:
    """Trainers choose their own parameters; most call their steps so."""
    values = json.loads(document) if document else {}
    steps = values.get("steps") if isinstance(values, Mapping) else None
    return int(steps) if isinstance(steps, int | float) and not isinstance(steps, bool) and steps > 0 else None
