"""A film's folder that turns up elsewhere: moved with everything in it, or copied, perhaps while programs were writing to it.

Where the film lies is written down in its database. A folder that was moved is still the same folder. A copy is not: jobs that were under way go on in the
original, whose work folders their handles name, and so do its supervisor, its watcher and its notifications. A copy of a database in use can be torn, which
SQLite does not always notice by itself, so that it is checked before it is believed.
"""

import json
import os
import shutil
import sqlite3
import time
import uuid
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from assetforge.db.blob_rows import open_for_reading
from assetforge.db.faults import database_error
from assetforge.durable import locked
from assetforge.errors import StorageError
from assetforge.paths import ProjectPaths
from assetforge.services.soundness import blob_needs, check_database
from assetforge.store.blobs import BlobStore
from assetforge.store.gc import trash_folder

__all__ = ["Arrival", "begin_anew", "find_arrival", "remember_place", "settle_in"]

_KEY = "place"
_COPIED = "The film's folder was copied while this was under way; the original goes on with it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A film lies where it did not lie before.

    Attributes:
        before: Where it lay; empty when that was never written down.
        copied: It is another folder, not the same one under a new name.
        in_use: Some program had the film open when it was copied, or was killed before that.
    """

    before: str
    copied: bool
    in_use: bool


def find_arrival(paths: ProjectPaths) -> Arrival | None:
    """Compare where a film lies with what its database says; call it before anything else opens the database.

    Returns:
        ``None`` when it lies where it lay.

    Raises:
        StorageError: It is a copy whose database is damaged.
    """
    in_use = _has_log(paths.database)
    place = _recorded(paths.database)
    here = _place(paths)
    if place is None or place == here:
        return None
    elsewhere = bool(place) and place.get("path") != here["path"]
    arrival = Arrival(
        before=place.get("path", ""),
        copied=elsewhere and place.get("identity") != here["identity"],
        in_use=in_use,
    )
    if arrival.copied:
        _check(paths, arrival)
    return arrival


def settle_in(paths: ProjectPaths, arrival: Arrival) -> tuple[str, ...]:
    """Write down where the film lies now; in a copy, let go of what belongs to the original.

    Args:
        paths: The film; its database is up to date.
        arrival: What :func:`find_arrival` found.

    Returns:
        Sentences that people should read.

    Raises:
        StorageError: The database of a copy cannot be written.
    """
    if not arrival.copied:
        remember_place(paths)
        return ()
    with locked(paths.private / "place.lock"):
        if _recorded(paths.database) == _place(paths):
            return ()
        _set_notifications_aside(paths, arrival)
        begin_anew(paths, paths.root, _COPIED, copied=arrival)
    return _remarks(paths, arrival)


def remember_place(paths: ProjectPaths) -> None:
    """Write down where a film lies. Whoever may only read the film, or has no space left, uses it all the same."""
    with suppress(sqlite3.Error), closing(_open(paths.database)) as connection, connection:
        _note(connection, paths, paths.root)


def begin_anew(paths: ProjectPaths, root: Path, reason: str, *, copied: Arrival | None = None) -> None:
    """Make a copied database one that stands for itself: what was under way is lost, what was seen in watched folders is looked at again.

    Args:
        paths: The film.
        root: Where it will lie.
        reason: What people read about jobs that were under way.
        copied: Note that the film is a copy, and of what.

    Raises:
        StorageError: The database cannot be written.
    """
    # Not above: services that record what happened work on opened films.
    from assetforge.services.activity import current_actor

    try:
        with closing(_open(paths.database)) as connection, connection:
            _end_jobs(connection, reason)
            # A file that did not come along must not look like one that somebody deleted.
            connection.execute("DELETE FROM watched_file WHERE state IN ('taken', 'beside')")
            connection.execute("UPDATE watch_root SET identity = '', state = 'ok', problem = ''")
            _note(connection, paths, root)
            _write_meta(connection, "jobs_id", str(uuid.uuid4()))
            if copied:
                detail = json.dumps({"from": copied.before, "while_in_use": copied.in_use})
                connection.execute(
                    "INSERT INTO activity (at, actor, verb, subject, detail) SELECT ?, ?, 'copied', value, ? FROM meta WHERE key = 'name'",
                    (_now(), current_actor(), detail),
                )
    except sqlite3.Error as error:
        raise database_error(error, paths.database, "written") from error


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ")


def _end_jobs(connection: sqlite3.Connection, reason: str) -> None:
    seconds, now = time.time(), _now()
    connection.execute(
        "UPDATE job_attempt SET outcome = 'lost', error = ?, finished_at = ? WHERE finished_at IS NULL"
        " AND job_id IN (SELECT id FROM job WHERE state IN ('staging', 'running', 'collecting'))",
        (reason, seconds),
    )
    connection.execute(
        "UPDATE job SET state = 'lost', error = ?, owner = '', lease_until = 0, slot = '', handle = '{}', finished_at = ?"
        " WHERE state IN ('staging', 'running', 'collecting')",
        (reason, seconds),
    )
    connection.execute(
        "UPDATE run SET state = 'lost', error = ?, finished_at = ? WHERE state IN ('staging', 'running', 'collecting')",
        (reason, now),
    )
    connection.execute(
        "UPDATE evaluation SET state = 'lost', finished_at = ? WHERE state IN ('staging', 'running', 'collecting')",
        (now,),
    )


def _remarks(paths: ProjectPaths, arrival: Arrival) -> tuple[str, ...]:
    safe = "To copy a film that is in use, take `assetforge backup` there and `assetforge restore` here."
    remarks = [f"This film is a copy of {arrival.before}; jobs that were under way there are marked as lost here."]
    if arrival.in_use:
        remarks.append(
            "A program had the film open while it was copied. Its database passed every check there is; all the same it may lack what was"
            f" written last, or mix older with newer values. {safe}"
        )
    missing = set(blob_needs(paths.database)) - set(BlobStore(paths.blobs))
    if missing:
        remarks.append(
            f"{len(missing)} files that its database names did not come along; `assetforge fsck --repair` looks for them. {safe}"
        )
    return tuple(remarks)


def _check(paths: ProjectPaths, arrival: Arrival) -> None:
    faults = check_database(paths.database)
    if faults:
        raise StorageError(
            f"The database of this copy of {arrival.before} is damaged ({faults[0].detail}):"
            " it was copied while a program wrote to it.",
            hint="Take `assetforge backup` of the original and `assetforge restore` it here; the copy was left as it is.",
        )


def _set_notifications_aside(paths: ProjectPaths, arrival: Arrival) -> None:
    """What waits to be told is told by the original, as long as that is there."""
    if paths.outbox.is_dir() and (Path(arrival.before) / ".assetforge" / "forge.db").is_file():
        into = trash_folder(paths.trash)
        with suppress(OSError):
            into.mkdir(parents=True, exist_ok=True)
            paths.outbox.rename(into / paths.outbox.name)
        if paths.outbox.is_dir():
            shutil.rmtree(paths.outbox, ignore_errors=True)


def _has_log(database: Path) -> bool:
    try:
        return database.with_name(database.name + "-wal").stat().st_size > 0
    except OSError:
        return False


def _recorded(database: Path) -> dict[str, str] | None:
    """What the database says; ``None`` when it cannot be asked, which is for whoever opens it to say."""
    try:
        with closing(open_for_reading(database)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                return None
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
    except sqlite3.Error:
        return None
    try:
        place = json.loads(row[0]) if row else {}
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in place.items()} if isinstance(place, dict) else {}


def _place(paths: ProjectPaths) -> dict[str, str]:
    status, filesystem = paths.private.stat(), os.statvfs(paths.private)
    return {"path": str(paths.root), "identity": f"{filesystem.f_fsid:x}:{status.st_ino}"}


def _note(connection: sqlite3.Connection, paths: ProjectPaths, root: Path) -> None:
    _write_meta(connection, _KEY, json.dumps({**_place(paths), "path": str(root)}))


def _write_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, timeout=30.0)
