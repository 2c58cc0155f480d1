"""Which blobs the rows of a film name. Read with the standard library, from any copy of the database."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["NAMED", "BlobColumn", "NamedBlob", "mentioned_hashes", "named_blobs", "open_for_reading"]

_HASH = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


class BlobColumn(NamedTuple):
    """A column whose values are names of blobs; empty values name none.

    Attributes:
        table: Table.
        column: Column.
        subject: SQL expression that tells people what the row is.
        size: SQL expression of the number of bytes, where the row knows it.
        weights: The blob is a safetensors file.
    """

    table: str
    column: str
    subject: str
    size: str = "NULL"
    weights: bool = False


NAMED = (
    BlobColumn("image", "sha256", "'picture ' || substr(t.sha256, 1, 12)", size="t.size"),
    BlobColumn("reference", "mask", "'mask of picture ' || substr(t.sha256, 1, 12)"),
    BlobColumn("dataset_item", "mask", "'mask of picture ' || substr(t.sha256, 1, 12)"),
    BlobColumn(
        "version", "weights", "(SELECT name FROM asset WHERE id = t.asset_id) || '/v' || t.number", weights=True
    ),
    BlobColumn(
        "version", "diffusers", "(SELECT name FROM asset WHERE id = t.asset_id) || '/v' || t.number", weights=True
    ),
    BlobColumn("render", "sha256", "'render ' || t.cell_index || ' of evaluation ' || t.evaluation_id"),
    BlobColumn("comparison", "scores", "'scores of comparison ' || t.id"),
)
"""Every row that needs a blob; a row never exists without it."""

_MENTIONS_NOTHING = {"watched_file": "WHERE state != 'discarded'"}
"""Rows whose hashes are remembered to know the file again, and not for its bytes. While a file waits in quarantine its bytes stay."""


class NamedBlob(NamedTuple):
    """A blob that a row needs.

    Attributes:
        sha256: Its name.
        subject: What needs it, for people.
        size: Number of bytes, or ``None`` when the row does not know.
        weights: It is a safetensors file.
    """

    sha256: str
    subject: str
    size: int | None
    weights: bool


def open_for_reading(database: Path) -> sqlite3.Connection:
    """A plain connection that cannot change anything.

    Raises:
        sqlite3.Error: The file cannot be opened.
    """
    return sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=30.0)


def named_blobs(connection: sqlite3.Connection) -> Iterator[NamedBlob]:
    """Every blob that a row needs; one that several rows need comes several times."""
    for entry in NAMED:
        query = (
            f"SELECT {entry.column}, {entry.subject}, {entry.size} FROM {entry.table} AS t WHERE {entry.column} != ''"  # noqa: S608 - constants of this module
        )
        for sha256, subject, size in connection.execute(query):
            yield NamedBlob(sha256, subject, size, entry.weights)


def mentioned_hashes(connection: sqlite3.Connection) -> set[str]:
    """Every 64-digit hash that stands anywhere in the database, payloads of jobs and plans included.

    The collector spares all of them: a plugin may keep the name of a blob where no column of ours says so.
    """
    found: set[str] = set()
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND sql NOT LIKE 'CREATE VIRTUAL%'"
    ).fetchall()
    for (table,) in tables:
        columns = [
            row[1]
            for row in connection.execute(f'PRAGMA table_info("{table}")')
            if "CHAR" in row[2].upper() or row[2].upper() in ("TEXT", "JSON", "")
        ]
        if not columns:
            continue
        selected = ", ".join(f'"{column}"' for column in columns)
        for row in connection.execute(f'SELECT {selected} FROM "{table}" {_MENTIONS_NOTHING.get(table, "")}'):  # noqa: S608 - names from the schema
            for value in row:
                if isinstance(value, str) and len(value) >= 64:
                    found.update(_HASH.findall(value))
    return found
