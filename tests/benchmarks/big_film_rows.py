"""Rows of the big film's pictures: references, the history of their captions, dataset versions, and what happened."""

import json
import random
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from big_film_words import AWKWARD, PEOPLE, RIGHTS, AssetWords, caption, file_name

from assetforge.domain.dataset_diff import DatasetLine, tree_hash

__all__ = ["Activity", "AssetPlan", "Picture", "References", "insert", "stamp"]

Row = tuple[Any, ...]


def stamp(moment: datetime) -> str:
    """A moment as SQLModel stores it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def insert(connection: sqlite3.Connection, table: str, columns: str, rows: Iterable[Row]) -> int:
    """Insert rows; returns how many."""
    marks = ", ".join("?" * len(columns.split(",")))
    return connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows).rowcount


@dataclass(frozen=True, slots=True)
class Picture:
    """An image row.

    Attributes:
        sha256: Its hash.
        size: Bytes.
        family: Number of the drawing it is.
    """

    sha256: str
    size: int
    family: int


@dataclass(slots=True)
class AssetPlan:
    """An asset and how much of everything it has.

    Attributes:
        id: Row id.
        words: How it is called.
        created: When it was added.
        references: Number of references.
        versions: Number of versions.
        dataset_rows: Row ids of its dataset versions, the oldest first.
        dataset_times: When each was frozen.
        training: Hashes that each trains on, for plans of comparisons.
        held_out: Hashes and captions that each holds out.
    """

    id: int
    words: AssetWords
    created: datetime
    references: int
    versions: int
    datasets: int
    dataset_rows: list[int] = field(default_factory=list)
    dataset_times: list[datetime] = field(default_factory=list)
    training: list[list[str]] = field(default_factory=list)
    held_out: list[list[tuple[str, str]]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its name."""
        return self.words.name


class Activity:
    """What happened, gathered in any order and written in that of time."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str, str, str]] = []

    def add(self, at: datetime, actor: str, verb: str, subject: str, **detail: Any) -> None:
        """Note one thing."""
        self._rows.append((stamp(at), actor, verb, subject, json.dumps(detail)))

    def write(self, connection: sqlite3.Connection) -> int:
        """Write all rows."""
        self._rows.sort(key=lambda row: row[0])
        return insert(connection, "activity", "at, actor, verb, subject, detail", self._rows)


class References:
    """References, their captions' history, and dataset versions, asset by asset.

    Args:
        connection: The film's database.
        activity: Hears of everything.
        now: The end of all history.
        seed: Of all chance.
    """

    def __init__(self, connection: sqlite3.Connection, activity: Activity, now: datetime, seed: int) -> None:
        self.connection, self.activity, self.now = connection, activity, now
        self._rng = random.Random(f"references {seed}")
        self._next_reference = self._next_dataset = 1

    def write(self, asset: AssetPlan, pictures: Sequence[Picture]) -> None:
        """All rows of one asset's pictures."""
        rng, count = self._rng, len(pictures)
        span = (self.now - asset.created).total_seconds()
        # They come in batches: a shoot, a delivery, a few stills.
        batches = max(1, min(asset.datasets * 2, count // 12 + 1))
        starts = sorted(rng.random() for _ in range(batches - 1))
        times = [asset.created + timedelta(seconds=span * 0.98 * at) for at in (0.002, *starts)]
        rows, edits, lines = [], [], []
        for number, picture in enumerate(pictures):
            batch = number * batches // count
            added = times[batch] + timedelta(milliseconds=7 * (number % 997))
            row, line = self._reference(asset, picture, number, added, edits)
            rows.append(row)
            lines.append(line)
        self.connection.executemany(_REFERENCE, rows)
        self.connection.executemany(_CAPTION_EDIT, edits)
        for batch, moment in enumerate(times):
            size = (batch + 1) * count // batches - batch * count // batches
            self.activity.add(moment, rng.choice(PEOPLE[:5]), "added references", asset.name, added=size, refused=0)
        self._freeze(asset, lines, batches, times)

    def _reference(
        self, asset: AssetPlan, picture: Picture, number: int, added: datetime, edits: list[Row]
    ) -> tuple[Row, tuple[DatasetLine, DatasetLine, bool]]:
        """The row, and its line in older and in the newest dataset version, with whether it is still used."""
        rng = self._rng
        row_id = self._next_reference
        self._next_reference += 1
        words = asset.words
        first = text = caption(words.trigger, words.class_word, rng)
        updated, source = added, "sidecar" if first else ""
        if first:
            edits.append((row_id, first, source, rng.choice(PEOPLE[:5]), stamp(added)))
        if rng.random() < 0.18:
            updated = added + (self.now - added) * rng.random()
            text, source = caption(words.trigger, words.class_word, rng) or "touched up by hand", "hand"
            edits.append((row_id, text, source, rng.choice(PEOPLE[:4]), stamp(updated)))
            self.activity.add(updated, PEOPLE[0], "captioned", f"{asset.name}/ref/{picture.sha256[:6]}", source="hand")
        excluded = rng.random() < 0.03
        reason = rng.choice(("out of focus", "another actress", AWKWARD[number % len(AWKWARD)])) if excluded else ""
        split = "held_out" if number % 10 == 7 else "train"
        crop = "8,8,88,56" if rng.random() < 0.04 else ""
        repeats = 2 if rng.random() < 0.03 else 1
        near = row_id - row_id % 3 if rng.random() < 0.05 else None
        row = (
            row_id,
            asset.id,
            picture.sha256,
            "excluded" if excluded else "active",
            reason,
            "",
            file_name(asset.name, number + 1, rng),
            rng.choice(("", "", "unit stills", "watched folder", "https://stills.example/[" + words.trigger + "]")),
            RIGHTS[rng.randrange(len(RIGHTS))] if rng.random() < 0.4 else RIGHTS[0],
            text,
            source,
            crop,
            "",
            repeats,
            split,
            near,
            stamp(added),
            stamp(updated),
        )
        older = DatasetLine(picture.sha256, first, crop, repeats, split)
        return row, (older, older._replace(caption=text), excluded)

    def _freeze(
        self,
        asset: AssetPlan,
        lines: Sequence[tuple[DatasetLine, DatasetLine, bool]],
        batches: int,
        times: Sequence[datetime],
    ) -> None:
        """Dataset versions that grow with the batches; the newest has today's captions and leaves out what was excluded."""
        count, parent = len(lines), None
        for number in range(1, asset.datasets + 1):
            newest = number == asset.datasets
            upto = max(1, count * number // asset.datasets)
            batch = min(batches - 1, batches * number // asset.datasets)
            frozen = max(times[batch], asset.dataset_times[-1] if asset.dataset_times else asset.created)
            frozen = min(frozen + timedelta(minutes=11), self.now - timedelta(minutes=1))
            chosen = [now if newest else then for then, now, excluded in lines[:upto] if not (newest and excluded)]
            held = [line for line in chosen if line.split == "held_out"]
            dataset = self._next_dataset
            self._next_dataset += 1
            author = self._rng.choice(PEOPLE[:4])
            note = AWKWARD[dataset % len(AWKWARD)] if dataset % 40 == 3 else f"batch {number}"
            digest = tree_hash(chosen)
            facts = (digest, parent, len(chosen) - len(held), len(held), note, author, stamp(frozen))
            self.connection.execute(_DATASET, (dataset, asset.id, number, *facts))
            self.connection.executemany(
                _ITEM,
                sorted((dataset, one.sha256, one.caption, one.crop, "", one.repeats, one.split) for one in chosen),
            )
            address = f"{asset.name}/d{number}"
            self.activity.add(frozen, author, "froze", address, train=len(chosen) - len(held), held_out=len(held))
            asset.dataset_rows.append(dataset)
            asset.dataset_times.append(frozen)
            asset.training.append([line.sha256 for line in chosen if line.split == "train"][:400])
            asset.held_out.append([(line.sha256, line.caption) for line in held[:24]])
            parent = dataset


_REFERENCE = (
    "INSERT INTO reference (id, asset_id, sha256, state, excluded_reason, excluded_by, file_name, origin, rights, caption, caption_source, crop, mask, "
    "repeats, split, near_group, added_at, updated_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
_CAPTION_EDIT = "INSERT INTO caption_edit (reference_id, text, source, author, at) VALUES (?,?,?,?,?)"
_DATASET = (
    "INSERT INTO dataset_version (id, asset_id, number, tree_hash, parent_id, train_count, held_out_count, note, created_by, created_at) "
    "VALUES (?,?,?,?,?,?,?,?,?,?)"
)
_ITEM = "INSERT INTO dataset_item (dataset_id, sha256, caption, crop, mask, repeats, split) VALUES (?,?,?,?,?,?,?)"
