"""What a database says about itself, asked without opening the film."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from assetforge.db.blob_rows import named_blobs, open_for_reading
from assetforge.db.faults import database_error
from assetforge.durable import says_full_disk
from assetforge.store.fsck import BlobNeed

__all__ = ["Problem", "blob_needs", "check_database"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is not as it should be.

    Attributes:
        kind: ``missing``, ``damaged``, ``unreadable``, ``not-weights``, ``database``, ``published-missing`` or ``published-changed``.
        subject: What it is about, for people.
        path: The file, where there is one.
        detail: What was found.
        needed: A row needs it; what nothing needs is only untidy.
        repaired: What was done about it; empty when nothing was.
    """

    kind: str
    subject: str
    path: Path | None = None
    detail: str = ""
    needed: bool = True
    repaired: str = ""


def blob_needs(database: Path) -> dict[str, BlobNeed]:
    """What the rows of a database need, by hash.

    Raises:
        StorageError: The database cannot be read.
    """
    # Thousands of renders may be the same picture: their subjects are gathered, not copied for each of them.
    subjects: dict[str, dict[str, None]] = {}
    facts: dict[str, tuple[int | None, bool]] = {}
    try:
        with closing(open_for_reading(database)) as connection:
            for named in named_blobs(connection):
                subjects.setdefault(named.sha256, {})[named.subject] = None
                size, weights = facts.get(named.sha256, (None, False))
                facts[named.sha256] = (size if named.size is None else named.size, weights or named.weights)
    except sqlite3.Error as error:
        raise database_error(error, database, "read", hint="Restore a backup with `assetforge restore`.") from error
    return {sha256: BlobNeed(tuple(subjects[sha256]), *facts[sha256]) for sha256 in subjects}


def check_database(database: Path) -> list[Problem]:
    """SQLite's own checks: pages and indexes, and foreign keys.

    Raises:
        StorageError: The disk is full or away, which says nothing about the database.
    """
    try:
        with closing(open_for_reading(database)) as connection:
            faults = [str(row[0]) for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
            orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.Error as error:
        fault = database_error(error, database, "checked")
        if says_full_disk(fault.message):
            raise fault from error
        return [Problem(kind="database", subject="database", path=database, detail=str(error))]
    found = [Problem(kind="database", subject="database", path=database, detail=fault) for fault in faults]
    return found + [
        Problem(
            kind="database",
            subject=f"row {row} of {table}",
            path=database,
            detail=f"refers to a row of {parent} that is not there",
        )
        for table, row, parent, _ in orphans
    ]
