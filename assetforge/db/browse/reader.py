"""One film's database, open for looking only; for the thread that draws and for those that work behind it."""

import json
import sqlite3
import threading
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assetforge.db.faults import database_error
from assetforge.db.migrate import HEAD
from assetforge.errors import StorageError

__all__ = ["Reader", "Row", "iso", "json_list"]

Row = tuple[Any, ...]

_TIMEOUT_S = {True: 0.5, False: 5.0}
"""How long the connection of the main thread, which must not wait, and the other one wait for a lock."""

_CACHE_KB = {True: 4096, False: 16384}
"""Page cache of the connection that the main thread uses, and of the other one."""


class Reader:
    """A film's database that cannot be changed through here.

    There are two connections: one for the main thread, whose short reads never wait for long ones, and one that all other threads take turns with.

    Args:
        database: The SQLite file, at the revision that this program knows.

    Raises:
        StorageError: The file is missing or cannot be read, or is of another revision: opening the film with the services brings an older one up to date.
    """

    def __init__(self, database: Path) -> None:
        self.path = database
        self.remembered: dict[Any, Any] = {}
        """For what cannot change any more once it is written, such as verdicts and what differs between two dataset versions."""
        self._closed = False
        self._locks = {True: threading.RLock(), False: threading.RLock()}
        self._connections: dict[bool, sqlite3.Connection] = {}
        if not database.is_file():
            raise StorageError(f"{database} is not there.", hint="Check the path of the film.")
        self._identity = _identity(database)
        self._check_revision()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query.

        Raises:
            StorageError: The file cannot be read, or the reader is closed.
            BusyError: Another process kept the file locked.
        """
        with self._connection() as connection:
            return connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Row | None:
        """The first row of a query; ``None`` when there is none.

        Raises:
            StorageError: The file cannot be read, or the reader is closed.
            BusyError: Another process kept the file locked.
        """
        with self._connection() as connection:
            found: Row | None = connection.execute(sql, parameters).fetchone()
            return found

    def ids(self, sql: str, parameters: Sequence[Any] = ()) -> "array[int]":
        """The whole numbers that a query gives in its only column, which is named ``id``, in its order.

        Raises:
            StorageError: The file cannot be read, or the reader is closed.
            BusyError: Another process kept the file locked.
        """
        # One long text costs half of what a hundred thousand rows cost. SQLite keeps the order of a subquery for group_concat.
        found = self.row(f"SELECT group_concat(id) FROM ({sql})", parameters)  # noqa: S608 - SQL from our own modules
        return array("q", json.loads(f"[{found[0]}]") if found and found[0] else ())

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything that this thread reads in the block is from one moment. Blocks may lie in each other.

        Raises:
            StorageError: The file cannot be read, or the reader is closed.
            BusyError: Another process kept the file locked.
        """
        with self._connection() as connection:
            outermost = not connection.in_transaction
            if outermost:
                connection.execute("BEGIN")
            try:
                yield
            finally:
                if outermost:
                    connection.execute("ROLLBACK")

    def version(self) -> int:
        """A number that differs from the last call's when somebody wrote something meanwhile.

        Raises:
            StorageError: The file cannot be read, or the reader is closed.
        """
        with self._connection(main=True) as connection:
            return int(connection.execute("PRAGMA data_version").fetchone()[0])

    @property
    def closed(self) -> bool:
        """Whether nothing can be read through here any more."""
        return self._closed

    @property
    def is_there(self) -> bool:
        """Whether the file still lies where it was opened; one that was moved or deleted can be read all the same."""
        return _identity(self.path) == self._identity

    def close(self) -> None:
        """Close the file; reads that are under way come to their end first, later ones are refused. May be called again."""
        self._closed = True
        for main, lock in self._locks.items():
            with lock:
                connection = self._connections.pop(main, None)
                if connection is not None:
                    connection.close()

    @contextmanager
    def _connection(self, main: bool | None = None) -> Iterator[sqlite3.Connection]:
        if main is None:
            main = threading.current_thread() is threading.main_thread()
        with self._locks[main]:
            if self._closed:
                raise StorageError(f"{self.path} is closed already.", hint="Open the film again.")
            try:
                if main not in self._connections:
                    self._connections[main] = self._open(main)
                yield self._connections[main]
            except sqlite3.Error as error:
                raise database_error(error, self.path, "read") from error

    def _open(self, main: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.resolve().as_uri()}?mode=ro",
            uri=True,
            timeout=_TIMEOUT_S[main],
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA query_only=ON")
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KB[main]}")
        return connection

    def _check_revision(self) -> None:
        known = self.row("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")
        found = self.row("SELECT version_num FROM alembic_version") if known else None
        if found is not None and found[0] == HEAD:
            return
        self.close()
        if found is None:
            raise StorageError(f"{self.path} holds no film.", hint="Restore a copy from .assetforge/backups.")
        if found[0] < HEAD:
            raise StorageError(
                f"{self.path} is older than this program and is brought up to date when the film is opened.",
                hint="Open the film, or run `assetforge project show` in it.",
            )
        raise StorageError(f"{self.path} was written by a newer assetforge.", hint="Update assetforge.")


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of that name."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def json_list(values: Iterable[int | str]) -> str:
    """Values for ``json_each(?)``: any number of them in one parameter."""
    return json.dumps(list(values))


def iso(moment: str | None) -> str:
    """A time of the database as ISO 8601 in UTC, to the second; empty when there is none."""
    return f"{moment[:10]}T{moment[11:19]}+00:00" if moment else ""
