"""Bringing a film's database to the form that this program knows.

Opening a film must be fast, so the usual case, a database that is up to date, is decided with the standard library alone; Alembic is imported only when
there is something to do. Migrations run in this process, one process at a time, after a copy of the database was made.
"""

import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from assetforge.db.faults import database_error
from assetforge.durable import FULL_DISK_HINT, locked, says_full_disk, storage_error, sync_folder
from assetforge.errors import StorageError

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["HEAD", "alembic_config", "copy_database", "migrate", "revision_of"]

HEAD = "0006"
"""Newest revision in ``migrations/versions``; a test keeps the two in step."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_TIMEOUT_S = 30.0


def migrate(database: Path, *, backups: Path) -> Path | None:
    """Bring a database file to :data:`HEAD`; make it when it is missing.

    Args:
        database: The SQLite file.
        backups: Folder for the copy that is made before an existing file is changed.

    Returns:
        The copy, or ``None`` when nothing had to be changed or the file is new.

    Raises:
        StorageError: The file is damaged, was written by a newer assetforge, or the migration failed; it is as it was before then.
    """
    if revision_of(database) == HEAD:
        return None
    with locked(database.with_name(database.name + ".migrating")):
        found = revision_of(database)
        if found == HEAD:
            return None
        if found and found not in _known_revisions():
            raise StorageError(
                f"{database} was written by a newer assetforge (revision {found}, this program knows {HEAD}).",
                hint="Update assetforge, or restore the copy in .assetforge/backups that the newer program made.",
            )
        copy = _backup(database, backups, found) if found else None
        _upgrade(database, copy)
        return copy


def revision_of(database: Path) -> str:
    """The revision that a database file is at; empty when it is missing or holds no film yet.

    Raises:
        StorageError: The file is not a readable SQLite database.
    """
    if not database.is_file() or database.stat().st_size == 0:
        return ""
    try:
        with closing(
            sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=_TIMEOUT_S)
        ) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
                return ""
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        hint = "Restore a copy from .assetforge/backups with `assetforge restore`."
        raise database_error(error, database, "read", hint=hint) from error
    return str(row[0]) if row else ""


def copy_database(database: Path, destination: Path) -> None:
    """Copy a database with SQLite's backup interface: consistent even while others write to it.

    Raises:
        StorageError: The database is damaged or the copy cannot be written.
    """
    partial = destination.with_name(destination.name + ".partial")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=_TIMEOUT_S)) as source,
            closing(sqlite3.connect(partial)) as target,
        ):
            source.backup(target)
            # The copy must be one file that opens anywhere, a read-only folder included.
            target.execute("PRAGMA journal_mode=DELETE")
        partial.replace(destination)
        sync_folder(destination.parent)
    except OSError as error:
        raise storage_error(error, destination, "written") from error
    except sqlite3.Error as error:
        full = any(says_full_disk(database_error(error, path, "copied")) for path in (database, destination))
        raise StorageError(
            f"The disk is full; {database} could not be copied to {destination}."
            if full
            else f"{database} could not be copied to {destination}: {error}.",
            hint=FULL_DISK_HINT if full else "Check free space and permissions.",
        ) from error
    finally:
        for suffix in ("", "-journal"):
            with suppress(OSError):
                partial.with_name(partial.name + suffix).unlink(missing_ok=True)


def alembic_config(database: Path) -> "Config":
    """The Alembic configuration for one database file; there is no ``alembic.ini``."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "r%%(rev)s_%%(slug)s")
    config.attributes["database"] = database
    return config


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(alembic_config(Path())).walk_revisions()}


def _backup(database: Path, backups: Path, revision: str) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    copy = backups / f"forge-{stamp}-before-{revision}-to-{HEAD}.db"
    copy_database(database, copy)
    return copy


def _upgrade(database: Path, copy: Path | None) -> None:
    from alembic import command

    try:
        command.upgrade(alembic_config(database), "head")
    except Exception as error:
        kept = f" A copy from before lies in {copy}." if copy else ""
        cause = getattr(error, "orig", None)
        fault = database_error(cause, database, "read") if isinstance(cause, sqlite3.Error) else error
        if says_full_disk(fault):
            raise StorageError(
                f"The disk is full; {database} could not be brought to revision {HEAD}.{kept}",
                hint=f"Nothing was changed. {FULL_DISK_HINT}",
            ) from error
        reason = str(error).splitlines()[0].rstrip(".")
        raise StorageError(
            f"{database} could not be brought to revision {HEAD}: {reason}.{kept}",
            hint="Nothing was changed; report this with the message.",
        ) from error
