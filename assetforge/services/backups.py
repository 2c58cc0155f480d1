"""Copies of a film: a backup while it is in use, a restore that believes nothing, an archive of everything."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from sqlalchemy import func
from sqlmodel import col, select

from assetforge import __version__
from assetforge.db.migrate import copy_database, migrate, revision_of
from assetforge.db.models_jobs import Job
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.durable import locked, storage_error
from assetforge.errors import BusyError, StorageError, UsageError
from assetforge.paths import ProjectPaths, projects_dir
from assetforge.services.activity import current_actor, record
from assetforge.services.assets import list_assets
from assetforge.services.projects import Project, open_project
from assetforge.services.relocation import begin_anew
from assetforge.services.soundness import blob_needs, check_database
from assetforge.store.archive import (
    ABOUT,
    MANIFEST,
    SCHEMA,
    HashingReader,
    Manifest,
    archive_writer,
    members,
    read_about,
)
from assetforge.store.blobs import BlobStore

__all__ = ["BackupInfo", "archive_project", "back_up", "restore", "verify_backup"]

Progress = Callable[[int, int], None]
_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupInfo:
    """A backup.

    Attributes:
        path: The folder or ``.tar``.
        project: Name of the film.
        project_id: Its UUID.
        created_at: When it was made, ISO 8601 in UTC.
        whole: It also holds the inboxes, published files and reports.
        blobs: Number of blobs.
        size: Bytes of the blobs.
    """

    path: Path
    project: str
    project_id: str
    created_at: str
    whole: bool
    blobs: int
    size: int


def back_up(
    project: Project, destination: Path, *, whole: bool = False, progress: Progress = lambda _done, _total: None
) -> BackupInfo:
    """Copy the film's database, blobs and configuration as they are at one moment; others may go on writing.

    Args:
        project: The film.
        destination: A new folder, or a new file ending in ``.tar``.
        whole: Also what lies around them: inboxes, published files, reports, plugins.
        progress: Told (done, total) in blobs.

    Raises:
        UsageError: The destination exists or lies inside the film.
        StorageError: A blob is damaged or the disk is full; nothing is left of the backup then.
    """
    destination = destination.resolve()
    if destination.is_relative_to(project.root):
        raise UsageError(
            f"{destination} lies inside the film.", hint="Put the backup on another disk, or at least beside the film."
        )
    # The collector waits or is told to come later; everybody else may go on. The film's own disk may be full: nothing is written there.
    with locked(project.paths.private / "gc.lock", shared=True), _folder_beside(destination) as folder:
        copy = folder / "forge.db"
        copy_database(project.paths.database, copy)
        # Every blob that the copy names exists by now, since bytes are stored before their row is written.
        wanted = sorted(blob_needs(copy))
        size = sum(project.blobs.size(sha256) for sha256 in wanted)
        info = BackupInfo(
            path=destination,
            project=project.name,
            project_id=project.id,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            whole=whole,
            blobs=len(wanted),
            size=size,
        )
        with archive_writer(destination) as archive:
            archive.add_bytes(ABOUT, _about(info, revision_of(copy)))
            archive.add_file("project.toml", project.paths.config)
            archive.add_file("forge.db", copy)
            for done, sha256 in enumerate(wanted, 1):
                archive.add_file(f"blobs/{sha256[:2]}/{sha256[2:]}", project.blobs.path(sha256), sha256=sha256)
                progress(done, len(wanted))
            for path in _files_around(project.paths) if whole else ():
                archive.add_file(f"files/{path.relative_to(project.root).as_posix()}", path)
    # A backup of a film whose disk is full is a backup all the same.
    with suppress(StorageError), project.write() as session:
        record(session, current_actor(), "backed up", project.name, to=str(destination), blobs=len(wanted))
    return info


@contextmanager
def _folder_beside(destination: Path) -> Iterator[Path]:
    folder = destination.with_name(f"{destination.name}.partial-database")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise storage_error(error, destination, "written") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def verify_backup(source: Path) -> BackupInfo:
    """Read a backup to its end and compare every hash; nothing is written.

    Raises:
        NotFoundError: There is no backup.
        StorageError: It is damaged or incomplete.
    """
    about = read_about(source)
    seen = Manifest()
    for name, stream in members(source):
        reader = HashingReader(stream)
        if name == MANIFEST:
            seen.check(reader.read(), source)
            return _info(source, about, seen)
        while reader.read(1 << 20):
            pass
        seen.note(name, reader.sha256, reader.size)
    raise StorageError(f"{source} is cut off: its manifest is missing.", hint="Use another backup.")


def restore(source: Path, folder: Path | None = None) -> Project:
    """Make a film from a backup. Every byte is checked against its hash, and the database against the blobs, before the film appears.

    Jobs that were under way are marked as lost, since their work folders are not part of a backup.

    Args:
        source: A backup folder or ``.tar``.
        folder: Where the film goes: new or empty. By default a folder of its name among the user's films.

    Raises:
        NotFoundError: There is no backup.
        UsageError: The folder is not empty.
        StorageError: The backup is damaged or incomplete, or the disk is full; nothing is left then.
    """
    about = read_about(source)
    root = (folder or projects_dir() / str(about["project"])).resolve()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(
            f"{root} exists and is not empty.", hint="Choose another folder with --to; nothing was changed."
        )
    partial = root.with_name(f".{root.name}.restoring")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        paths = ProjectPaths(partial)
        for path in (paths.blobs, paths.jobs, paths.logs, paths.loras, paths.reports):
            path.mkdir(parents=True)
        _unpack(source, paths)
        _check_restored(source, paths)
        _settle(source, paths, root, made=str(about["created_at"]))
        partial.rename(root)
    except OSError as error:
        raise storage_error(error, root, "restored") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return open_project(root)


def archive_project(
    project: Project, destination: Path, *, remove: bool = False, progress: Progress = lambda _done, _total: None
) -> BackupInfo:
    """Write the whole film into one backup, read it back, and with ``remove`` delete the film's folder.

    Args:
        project: The film; closed when it is removed.
        destination: A new folder, or a new file ending in ``.tar``.
        remove: Delete the folder once the archive has been read back without a fault.
        progress: Told (done, total) in blobs.

    Raises:
        BusyError: Jobs of the film are queued or running.
        UsageError: The destination exists or lies inside the film.
        StorageError: Something is damaged or the disk is full; the film is untouched then.
    """
    with project.read() as session:
        busy = session.exec(select(func.count()).select_from(Job).where(col(Job.state).in_(OPEN_JOB_STATES))).one()
    if busy:
        raise BusyError(
            f"{project.name} has {busy} jobs that are not finished.",
            hint="Wait for them or cancel them: `assetforge jobs list`.",
        )
    back_up(project, destination, whole=True, progress=progress)
    info = verify_backup(destination.resolve())
    if remove:
        project.close()
        shutil.rmtree(project.root)
    return info


def _about(info: BackupInfo, revision: str) -> bytes:
    about = {
        "schema": SCHEMA,
        "program": __version__,
        "revision": revision,
        "project": info.project,
        "project_id": info.project_id,
        "created_at": info.created_at,
        "whole": info.whole,
        "blobs": info.blobs,
        "size": info.size,
    }
    return json.dumps(about, indent=2).encode()


def _info(source: Path, about: dict[str, object], seen: Manifest) -> BackupInfo:
    sizes = [size for name, (_, size) in seen.entries.items() if name.startswith("blobs/")]
    return BackupInfo(
        path=source,
        project=str(about["project"]),
        project_id=str(about["project_id"]),
        created_at=str(about["created_at"]),
        whole=bool(about["whole"]),
        blobs=len(sizes),
        size=sum(sizes),
    )


def _files_around(paths: ProjectPaths) -> Iterator[Path]:
    for top in sorted(paths.root.iterdir()):
        if top in (paths.private, paths.config):
            continue
        for path in sorted(top.rglob("*")) if top.is_dir() and not top.is_symlink() else [top]:
            if path.is_file():
                yield path


def _unpack(source: Path, paths: ProjectPaths) -> None:
    seen, waiting = Manifest(), 0
    with BlobStore(paths.blobs).batch() as batch:
        for name, stream in members(source):
            if name == MANIFEST:
                seen.check(stream.read(), source)
                return
            if not name.startswith("blobs/"):
                seen.note(name, *_write(stream, _place_of(name, paths)))
                continue
            seen.note(name, *batch.put_stream(stream))
            waiting += 1
            if waiting == _BATCH:
                batch.flush()
                waiting = 0
    raise StorageError(f"{source} is cut off: its manifest is missing.", hint="Use another backup.")


def _write(stream: IO[bytes], target: Path) -> tuple[str, int]:
    reader = HashingReader(stream)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        while data := reader.read(1 << 20):
            file.write(data)
    return reader.sha256, reader.size


def _place_of(name: str, paths: ProjectPaths) -> Path:
    if name == "forge.db":
        return paths.database
    if name == ABOUT:
        return paths.private / "restored-from.json"
    return paths.root / name.removeprefix("files/")


def _check_restored(source: Path, paths: ProjectPaths) -> None:
    faults = check_database(paths.database)
    if not faults:
        migrate(paths.database, backups=paths.backups)
    if faults:
        raise StorageError(f"The database in {source} is damaged: {faults[0].detail}.", hint="Use another backup.")
    missing = sorted(set(blob_needs(paths.database)) - set(BlobStore(paths.blobs)))
    if missing:
        raise StorageError(
            f"{source} lacks {len(missing)} blobs that its database names, such as {missing[0][:12]}.",
            hint="Use another backup.",
        )


def _settle(source: Path, paths: ProjectPaths, root: Path, *, made: str) -> None:
    begin_anew(paths, root, "The film was restored from a backup that was made while this was under way.")
    with open_project(paths.root) as project:
        for asset in list_assets(project, archived=True):
            asset.references.mkdir(parents=True, exist_ok=True)
        with project.write() as session:
            record(session, current_actor(), "restored", project.name, source=str(source), made=made)
