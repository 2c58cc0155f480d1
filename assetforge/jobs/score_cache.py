"""Scores that are known already: one SQLite file per metric, its version, its parameters and its weights.

A cache, and treated as one: a damaged file is thrown away, a full disk is put up with, and what is asked for without it is scored. Several processes may use a
file at once. What comes out is bit for bit what went in.
"""

import fcntl
import hashlib
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from assetforge.domain.canonical import digest

if TYPE_CHECKING:
    from assetforge.api.job import EngineRef

__all__ = ["Score", "ScoreCache", "content_key", "open_score_cache"]

Score: TypeAlias = float | list[float]

_BUSY_S = 10.0
_PAUSE_S = 0.02
_ASKED_AT_ONCE = 500
_TABLE = "CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL)"
_DAMAGED = frozenset(
    # A missing table or column is an ERROR; a page that is missing at the end of the file is a short read.
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_IOERR_SHORT_READ}
)


def content_key(hashes: Sequence[str], prompt: str = "") -> str:
    """Key of a score by the content it is about; empty, which is never cached, when a hash is not known.

    Args:
        hashes: SHA-256 of the picture, or of the two that are compared.
        prompt: What the picture is measured by, for metrics that read prompts.
    """
    if not all(hashes):
        return ""
    return "|".join([*hashes, *([hashlib.sha256(prompt.encode()).hexdigest()] if prompt else [])])


@contextmanager
def open_score_cache(
    folder: Callable[[], Path],
    ref: "EngineRef",
    params: Mapping[str, Any],
    device: str,
    say: Callable[[str], None],
    fingerprint: str = "",
) -> Iterator["ScoreCache"]:
    """The cache of a metric.

    Args:
        folder: Gives the folder for caches; it may fail for want of room.
        ref: The metric.
        params: Its validated parameters in JSON mode.
        device: Where it runs: devices differ in the last digits, and a comparison must not take those for a change.
        say: Is told when the cache cannot be used; scoring goes on without it then.
        fingerprint: Of its weights, see :meth:`assetforge.api.protocols.Metric.fingerprint`; empty for metrics without any.
    """
    about = {"metric": ref.model_dump(mode="json"), "params": dict(params), "device": device}
    if fingerprint:
        about["weights"] = fingerprint
    cache = ScoreCache(folder, f"{ref.name}-{digest(about)[:16]}.sqlite", say)
    try:
        yield cache
    finally:
        cache.close()


class ScoreCache:
    """Scores of one metric by content; see :func:`open_score_cache`. Nothing it does raises."""

    def __init__(self, folder: Callable[[], Path], name: str, say: Callable[[str], None]) -> None:
        self._say, self._name = say, name
        self._database: sqlite3.Connection | None = None
        self._guard: int | None = None
        self._path = Path(name)
        try:
            self._path = folder() / "scores" / name
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def get(self, keys: Sequence[str]) -> dict[str, Score]:
        """What is known of these."""
        found: dict[str, Score] = {}
        for start in range(0, len(keys) if self._database is not None else 0, _ASKED_AT_ONCE):
            part = [key for key in keys[start : start + _ASKED_AT_ONCE] if key]
            marks = ", ".join("?" * len(part))
            # The marks are question marks; the keys themselves are bound.
            rows = self._execute(f"SELECT key, value, crc FROM scores WHERE key IN ({marks})", part)  # noqa: S608
            found |= {
                key: _unpacked(value)
                for key, value, crc in rows
                if isinstance(value, bytes) and crc == _checksum(key, value)
            }
        return found

    def put(self, scores: Mapping[str, Score]) -> None:
        """Remember these; an empty key is not a key."""
        if self._database is None:
            return
        packed = [(key, _packed(value)) for key, value in scores.items() if key]
        rows = [(key, value, _checksum(key, value)) for key, value in packed]
        self._execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", rows, many=True)

    def close(self) -> None:
        """Let go of the file."""
        database, self._database = self._database, None
        guard, self._guard = self._guard, None
        with suppress(sqlite3.Error):
            if database is not None:
                database.close()
        if guard is not None:
            os.close(guard)

    def _open(self) -> None:
        # Held while the file is open: nobody throws away a file that somebody writes to.
        self._guard = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._guard, fcntl.LOCK_SH)
        try:
            self._connect()
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise
            self._throw_away()
            self._connect()

    def _connect(self) -> None:
        self._database = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", _TABLE):
            self._patiently(statement)
        # Caches are cleared by age; what is read is in use.
        os.utime(self._path)

    def _patiently(self, statement: str) -> None:
        """Two processes that make the file at once meet here, and SQLite does not wait where the journal's form changes."""
        until = time.monotonic() + _BUSY_S
        while self._database is not None:
            try:
                self._database.execute(statement).fetchall()
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(_PAUSE_S)

    def _execute(self, statement: str, values: Sequence[Any], *, many: bool = False) -> list[tuple[Any, ...]]:
        for again in (True, False):
            if self._database is None:
                break
            try:
                if not many:
                    return self._database.execute(statement, values).fetchall()
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany(statement, values)
                self._database.execute("COMMIT")
                break
            except sqlite3.Error as error:
                self._after(error, again=again)
        return []

    def _after(self, error: sqlite3.Error, *, again: bool) -> None:
        """A damaged file is replaced once; anything else ends the use of the cache."""
        with suppress(sqlite3.Error):
            if self._database is not None and self._database.in_transaction:
                self._database.execute("ROLLBACK")
        try:
            if not (again and _is_damage(error)):
                raise error
            self._throw_away()
            self._connect()
        except (sqlite3.Error, OSError) as last:
            self._give_up(last)

    def _throw_away(self) -> None:
        """Delete the file, unless somebody else has it open.

        Raises:
            OSError: Somebody has.
        """
        database, self._database = self._database, None
        with suppress(sqlite3.Error):
            if database is not None:
                database.close()
        if self._guard is not None:
            fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for ending in ("", "-wal", "-shm", "-journal"):
            Path(f"{self._path}{ending}").unlink(missing_ok=True)
        self._tell("was damaged and is begun anew")

    def _give_up(self, error: Exception) -> None:
        self.close()
        self._tell(f"cannot be used ({error}); scoring goes on without it")

    def _tell(self, what: str) -> None:
        # What is said goes to a disk that may be full as well.
        with suppress(OSError):
            self._say(f"The cache of scores {self._name} {what}.")


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code in _DAMAGED or code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))


def _checksum(key: str, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(key.encode()))


def _packed(score: Score) -> bytes:
    """Letter of the form, then the numbers: in single precision where that loses nothing, as for vectors that were computed in it."""
    values = np.atleast_1d(np.asarray(score, dtype="<f8"))
    with np.errstate(over="ignore"):
        short = values.astype("<f4")
    form = "v" if isinstance(score, list) else "s"
    if (short.astype("<f8") == values).all():
        return form.encode() + short.tobytes()
    return form.upper().encode() + values.tobytes()


def _unpacked(data: bytes) -> Score:
    form = data[:1].decode()
    values: list[float] = np.frombuffer(data[1:], dtype="<f4" if form.islower() else "<f8").astype(float).tolist()
    return values if form in "vV" else values[0]
