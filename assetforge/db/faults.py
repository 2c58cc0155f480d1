"""What SQLite says when it cannot go on, in our words. On a full disk it often speaks of an I/O error alone."""

import shutil
import sqlite3
from pathlib import Path

from assetforge.durable import FULL_DISK_HINT
from assetforge.errors import AssetForgeError, BusyError, StorageError

__all__ = ["BUSY_TIMEOUT_MS", "database_error", "is_storage_fault"]

BUSY_TIMEOUT_MS = 30_000

_STORAGE_FAULTS = (
    *("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN"),
    *("SQLITE_CORRUPT", "SQLITE_NOTADB"),
)

_NEEDED_TO_OPEN = 128 * 1024
"""An open database has companions (``-shm``, ``-wal``) that take a little space even when it is only read."""


def database_error(error: BaseException, path: Path, doing: str, *, hint: str = "") -> AssetForgeError:
    """Say in one sentence why a database could not be used.

    Args:
        error: What SQLite raised, or what SQLAlchemy made of it.
        path: The database file.
        doing: Such as ``read`` or ``written``.
        hint: What to do when it is neither locked nor out of space nor out of reach.
    """
    cause = getattr(error, "orig", None) or error
    name, reason = getattr(cause, "sqlite_errorname", "") or "", str(cause)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return BusyError(
            f"Another process kept {path} locked for more than {BUSY_TIMEOUT_MS // 1000} s.",
            hint="Try again; `assetforge jobs list` shows what is running.",
        )
    if name in ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE") or (name.startswith("SQLITE_IOERR") and _is_full(path)):
        return StorageError(f"The disk is full; {path} could not be {doing}.", hint=FULL_DISK_HINT)
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
        if _is_full(path):
            return StorageError(f"The disk is full; {path} could not be {doing}.", hint=FULL_DISK_HINT)
        return StorageError(
            f"{path} cannot be opened for writing ({reason}).", hint="Check the permissions of the project folder."
        )
    if name.startswith("SQLITE_IOERR"):
        return StorageError(
            f"{path} could not be {doing}: the disk answers with an error.",
            hint="Check that the disk is there and sound and your quota is not used up, then run `assetforge fsck --deep`.",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        hint = hint or "`assetforge fsck --deep` says more; restore a copy from .assetforge/backups, or a backup."
        return StorageError(f"{path} cannot be {doing}: {reason}.", hint=hint)
    return StorageError(f"{path} cannot be {doing}: {reason}.", hint=hint or "Run `assetforge fsck --deep`.")


def is_storage_fault(error: sqlite3.Error) -> bool:
    """Whether the file or its disk is at fault, and not what was asked of it."""
    name = getattr(error, "sqlite_errorname", "") or ""
    return name.startswith(_STORAGE_FAULTS)


def _is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _NEEDED_TO_OPEN
    except OSError:
        return False
