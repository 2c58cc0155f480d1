"""The SQLite recipe: WAL, foreign keys, and writes that take the lock at once.

``busy_timeout`` does not cover the upgrade of a read transaction to a write in WAL mode, so every write transaction begins IMMEDIATE. Write transactions are short:
no hashing, no file work, no waiting for a person inside.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, create_engine

from assetforge.errors import BusyError, StorageError

__all__ = ["BUSY_TIMEOUT_MS", "Database"]

BUSY_TIMEOUT_MS = 30_000


class Database:
    """One film's database file; safe to use from several threads and processes.

    Args:
        path: The SQLite file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = _make_engine(path)
        self._watching: sqlite3.Connection | None = None

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent snapshot; nothing written in it is kept.

        Raises:
            StorageError: The file cannot be read.
        """
        with _translated(self.path), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A write transaction, committed at the end, rolled back when the block raises.

        Raises:
            BusyError: Another process kept the database locked for longer than the timeout.
            StorageError: The disk is full or the file cannot be written.
        """
        options = self.engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        with _translated(self.path), Session(options, expire_on_commit=False) as session, session.begin():
            yield session

    def version(self) -> int:
        """A number that differs from the last call's when another connection, of whatever process, wrote something meanwhile."""
        if self._watching is None:
            self._watching = sqlite3.connect(
                f"{self.path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False
            )
        return int(self._watching.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()
        if self._watching is not None:
            self._watching.close()
            self._watching = None


def _make_engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))

    return engine


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        reason = str(error.orig)
        if "locked" in reason or "busy" in reason:
            raise BusyError(
                f"Another process kept {path} locked for more than {BUSY_TIMEOUT_MS // 1000} s.",
                hint="Try again; `assetforge jobs list` shows what is running.",
            ) from error
        if "full" in reason:
            raise StorageError(
                f"The disk is full; {path} could not be written.",
                hint="Free some space and repeat the command; nothing was changed.",
            ) from error
        if "readonly" in reason or "unable to open" in reason:
            raise StorageError(
                f"{path} cannot be opened for writing ({reason}).", hint="Check the permissions of the project folder."
            ) from error
        raise
