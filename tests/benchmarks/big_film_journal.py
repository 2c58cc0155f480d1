"""What the big film's history is gathered in: rows by table, numbers of rows, jobs that ended."""

import hashlib
import json
import random
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from big_film_pictures import Files
from big_film_rows import Activity, AssetPlan, insert
from big_film_verdicts import Template
from big_film_words import PEOPLE

from assetforge.api.job import Cell
from assetforge.domain.suite import SuiteDefinition

__all__ = ["FAILURES", "Approved", "Journal", "Kind", "Known", "Place"]

FAILURES = (
    "CUDA out of memory at step 3: try gradient checkpointing, or a smaller batch.",
    "The input inputs/pictures/3f/[a].png is not the file that was bundled: its bytes changed.",
    "RuntimeError: [bold]loss is not a number[/bold] at step 212\nin line 2",
)
_TABLES = (
    *("run", "job", "job_attempt", "version", "evaluation", "render", "comparison", "alias", "alias_move", "cell_view"),
    *("vote", "publication"),
)


class Kind(NamedTuple):
    """What all assets of a type share.

    Attributes:
        suite_id: Row id of its suite.
        suite: The suite.
        base_id: Row id of its base model.
        base: Name of the base model.
        engine_id: Row id of what renders.
        recipe: Name of its recipe.
        templates: Comparisons to take from, by outcome.
    """

    suite_id: int
    suite: SuiteDefinition
    base_id: int
    base: str
    engine_id: int
    recipe: str
    templates: Mapping[str, Sequence[Template]]


class Place(NamedTuple):
    """Where the film is.

    Attributes:
        root: Its folder.
        project_id: Its UUID.
        now: The end of all history.
    """

    root: Path
    project_id: str
    now: datetime


class Approved(NamedTuple):
    """A version that later ones are compared with.

    Attributes:
        version: Row id.
        number: Its number.
        evaluation: Row id of its evaluation; 0 when it has none.
    """

    version: int
    number: int
    evaluation: int


@dataclass(slots=True)
class Known:
    """What is known of an asset on the way.

    Attributes:
        asset: The asset.
        kind: Its type.
        cells: The cells of its suite.
        controls: Those of the bare base.
        cells_json: The cells as plans have them.
        number: Number of the newest version.
        parent: Row id of the newest version.
        approved: The approved version.
        previous: The newest version.
        control: Row id of the evaluation of the bare base.
        scores: Hashes of files of scores, by template.
    """

    asset: AssetPlan
    kind: Kind
    cells: Sequence[Cell]
    controls: Sequence[Cell]
    cells_json: str
    number: int = 0
    parent: int | None = None
    approved: Approved | None = None
    previous: Approved | None = None
    control: int | None = None
    scores: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Address of the newest version."""
        return f"{self.asset.name}/v{self.number}"

    def dataset(self, at: datetime) -> int:
        """Place of the newest dataset version of a moment."""
        return max((n for n, frozen in enumerate(self.asset.dataset_times) if frozen <= at), default=0)


class Journal:
    """Rows that wait to be written.

    Args:
        connection: The film's database.
        files: Where LoRA files and scores go.
        activity: Hears of everything.
        place: Where the film is.
        pictures: Hashes of the renders there are.
        seed: Of all chance.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        files: Files,
        activity: Activity,
        place: Place,
        pictures: Sequence[str],
        seed: int,
    ) -> None:
        self.connection, self.files, self.activity, self.place, self.pictures = (
            connection,
            files,
            activity,
            place,
            pictures,
        )
        self.rng = random.Random(f"history {seed}")
        self.waiting: dict[str, list[dict[str, Any]]] = {table: [] for table in _TABLES}
        self._numbers = dict.fromkeys(_TABLES, 0)

    def next(self, table: str) -> int:
        """The number of the next row of a table."""
        self._numbers[table] += 1
        return self._numbers[table]

    def add(self, table: str, **values: Any) -> dict[str, Any]:
        """Keep a row, which may still be changed before :meth:`flush`."""
        self.waiting[table].append(values)
        return values

    def add_all(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        """Keep many rows."""
        self.waiting[table] += rows

    def flush(self) -> None:
        """Write what was gathered."""
        for table, rows in self.waiting.items():
            if rows:
                insert(self.connection, table, ", ".join(rows[0]), (tuple(row.values()) for row in rows))
                rows.clear()

    def handle(self, job: int) -> dict[str, Any]:
        """How the local executor knows a job."""
        workdir = self.place.root / ".assetforge" / "jobs" / f"{job:06d}"
        return {"executor": "local", "key": f"{self.place.project_id}-{job}", "attempt": 1, "workdir": str(workdir)}

    def add_job(
        self,
        kind: str,
        state: str,
        subject: str,
        payload: Mapping[str, Any],
        at: datetime,
        *,
        run: int | None = None,
        seconds: float = 60.0,
    ) -> int:
        """A job that ended, and its attempt; returns its number."""
        job = self.next("job")
        created, handle = at.timestamp() - seconds - 20.0, json.dumps(self.handle(job))
        error = FAILURES[job % len(FAILURES)] if state == "failed" else ""
        digest = hashlib.sha256(f"bundle {job}".encode()).hexdigest()
        times = {"started_at": created + 4.0, "finished_at": at.timestamp()}
        common = {"executor": "local", "slot": "", "handle": handle, "error": error}
        queued = {"kind": kind, "state": state, "subject": subject, "run_id": run, "payload": json.dumps(payload)}
        asked = {"dedupe_key": f"{kind}:{digest[:32]}", "requested_by": PEOPLE[job % 4], "bundle_id": digest}
        closed = {"priority": 0, "device": "auto", "attempt": 1, "max_attempts": 3, "owner": "", "lease_until": 0.0}
        more = {"not_before": 0.0, "cancel_requested": 0, "created_at": created}
        self.add("job", id=job, **queued, **common, **closed, **asked, **more, **times)
        slot = {"slot": f"gpu:{job % 2}", "outcome": state}
        self.add("job_attempt", job_id=job, number=1, **{**common, **slot}, **times)
        return job
