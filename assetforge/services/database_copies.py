"""Going back to a copy of the database, such as those that are made before migrations."""

import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from assetforge.db.faults import database_error
from assetforge.db.migrate import copy_database, migrate
from assetforge.durable import locked
from assetforge.errors import NotFoundError, StorageError
from assetforge.paths import ProjectPaths
from assetforge.services.soundness import blob_needs, check_database
from assetforge.store.blobs import BlobStore

__all__ = ["restore_database"]


def restore_database(root: Path, copy: Path) -> tuple[Path | None, int]:
    """Replace a film's database by a copy of it. Other programs that have the film open see the change at once, or are told that it is locked.

    Args:
        root: Folder of the film; it is not opened, so that a damaged one can be helped.
        copy: A database file, such as one of ``.assetforge/backups``; it is not changed.

    Returns:
        Where the database lies that was replaced, or ``None`` when there was none; and the number of blobs that the copy names and the store lacks.

    Raises:
        NotFoundError: There is no such film or copy.
        StorageError: The copy is damaged or newer than this program; nothing was changed then.
    """
    paths = ProjectPaths(root.resolve())
    if not paths.config.is_file():
        raise NotFoundError(f"There is no film in {root}.")
    if not copy.is_file():
        raise NotFoundError(f"There is no file {copy}.")
    faults = check_database(copy)
    if faults:
        raise StorageError(f"{copy} is damaged: {faults[0].detail}.", hint="Use another copy.")
    with (
        locked(paths.private / "gc.lock"),
        tempfile.TemporaryDirectory(dir=paths.private, prefix="restore-") as folder,
    ):
        fresh = Path(folder) / "forge.db"
        copy_database(copy, fresh)
        migrate(fresh, backups=Path(folder))
        kept = _keep_current(paths)
        _put_in_place(fresh, paths.database)
    missing = set(blob_needs(paths.database)) - set(BlobStore(paths.blobs))
    return kept, len(missing)


def _keep_current(paths: ProjectPaths) -> Path | None:
    """A copy of the database as it is; one that cannot be read is moved aside with its companions."""
    if not paths.database.is_file():
        return None
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    if not check_database(paths.database):
        kept = paths.backups / f"replaced-{stamp}.db"
        copy_database(paths.database, kept)
        return kept
    aside = paths.trash / "damaged" / f"forge-{stamp}"
    aside.mkdir(parents=True)
    for name in ("forge.db", "forge.db-wal", "forge.db-shm"):
        if (paths.private / name).exists():
            (paths.private / name).rename(aside / name)
    return aside / "forge.db"


def _put_in_place(fresh: Path, database: Path) -> None:
    # SQLite's backup writes through the usual locks, so that programs which have the film open stay consistent.
    try:
        with (
            closing(sqlite3.connect(fresh, timeout=30)) as source,
            closing(sqlite3.connect(database, timeout=30)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        hint = "Close other programs that use the film and repeat the command."
        raise database_error(error, database, "replaced", hint=hint) from error
