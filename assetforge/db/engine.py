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
from sqlalchemy.exc import DatabaseError
from sqlmodel import Session, create_engine

from assetforge.db.faults import BUSY_TIMEOUT_MS, database_error, is_storage_fault

__all__ = ["BUSY_TIMEOUT_MS", "Database"]


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
        with _translated(self.path, "read"), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A write transaction, committed at the end, rolled back when the block raises.

        Raises:
            BusyError: Another process kept the database locked for longer than the timeout.
            StorageError: The disk is full or the file cannot be written.
        """
        options = self.engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        with _translated(self.path, "written"), Session(options, expire_on_commit=False) as session, session.begin():
            yield session

    def version(self) -> int:
        """A number that differs from the last call's when another connection, of whatever process, wrote something meanwhile.

        Raises:
            StorageError: The file cannot be read.
        """
        with _translated(self.path, "read"):
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
def _translated(path: Path, doing: str) -> Iterator[None]:
    """Faults of the file and its disk in our words; what was asked of it wrongly stays what it is."""
    try:
        yield
    except DatabaseError as error:
        if not isinstance(error.orig, sqlite3.Error) or not is_storage_fault(error.orig):
            raise
        raise database_error(error, path, doing) from error
    except sqlite3.Error as error:
        # From a connection that is just being made: SQLAlchemy has not wrapped it.
        raise database_error(error, path, doing) from error
