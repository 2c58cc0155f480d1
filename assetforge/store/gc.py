"""Finding what nothing needs any more, and taking it away in two steps: into the trash now, off the disk after a second grace time."""

import os
import re
import shutil
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from assetforge.durable import locked, storage_error
from assetforge.errors import BusyError
from assetforge.store.blobs import BlobStore

__all__ = [
    "GcItem",
    "GcPolicy",
    "JobFate",
    "finished_job_folders",
    "half_written",
    "old_files",
    "old_trash",
    "own_size",
    "stale_thumbnails",
    "status_of",
    "throw_away",
    "trash_folder",
    "unneeded_blobs",
]

_STAMP = "%Y%m%dT%H%M%S"
_STAMPED = re.compile(r"\d{8}T\d{6}\Z")
_JOB_ASIDE = re.compile(r"job-\d+-(\d+)\Z")
"""Work folders that had to make way for another bundle, with the time in nanoseconds."""
_KEPT_OF_JOBS = {"logs"}
_BATCH = 200

GcKind = Literal["blob", "half-written", "job", "thumbnail", "cache", "trash", "backup"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GcPolicy:
    """How long things stay, all in seconds.

    Attributes:
        grace_s: Age that anything must have before it is taken; a row for it may be about to be written.
        trash_s: How long the trash keeps it.
        failed_jobs_s: How long folders of jobs stay that did not succeed: their checkpoints can be resumed.
        cache_s: How long derived tensors stay unused.
        backups: How many copies of the database stay that were made before migrations.
    """

    grace_s: float = 24 * 3600.0
    trash_s: float = 7 * 24 * 3600.0
    failed_jobs_s: float = 14 * 24 * 3600.0
    cache_s: float = 30 * 24 * 3600.0
    backups: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class GcItem:
    """Something that nothing needs any more.

    Attributes:
        kind: What it is.
        path: File or folder.
        size: Bytes that its removal sets free; files with further hard links count nothing.
        sha256: The blob, for blobs.
    """

    kind: GcKind
    path: Path
    size: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class JobFate:
    """What the queue says about a job.

    Attributes:
        state: Its state.
        finished_at: When it ended, in seconds since the epoch; ``None`` while it is open.
    """

    state: str
    finished_at: float | None


def unneeded_blobs(store: BlobStore, needed: Collection[str], *, before: float) -> Iterator[GcItem]:
    """Blobs that no row mentions and that were last put before a time."""
    for sha256 in store:
        if sha256 not in needed:
            path = store.path(sha256)
            status = status_of(path)
            if status is not None and status.st_mtime < before:
                yield GcItem(kind="blob", path=path, size=status.st_size if status.st_nlink == 1 else 0, sha256=sha256)


def half_written(store: BlobStore, *, before: float) -> Iterator[GcItem]:
    """What processes left that died while they put a blob."""
    return old_files(store.incoming, "half-written", before=before)


def old_files(folder: Path, kind: GcKind, *, before: float) -> Iterator[GcItem]:
    """Files that were neither written nor read since a time."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        status = status_of(path)
        if status is not None and stat.S_ISREG(status.st_mode) and max(status.st_mtime, status.st_atime) < before:
            yield GcItem(kind=kind, path=path, size=status.st_size)


def stale_thumbnails(thumbs: Path, needed: Collection[str], *, before: float) -> Iterator[GcItem]:
    """Thumbnails of blobs that no row mentions; their names begin with the hash."""
    for item in old_files(thumbs, "thumbnail", before=before):
        if (item.path.parent.name + item.path.name)[:64] not in needed:
            yield item


def finished_job_folders(jobs: Path, fates: Mapping[int, JobFate], policy: GcPolicy, *, now: float) -> Iterator[GcItem]:
    """The bulk of finished jobs: inputs, checkpoints, outputs. Logs, events and results stay, they are small and tell what happened.

    A folder that no row knows goes as a whole. A folder that an agent still works in is left alone, whatever the queue says.
    """
    for folder in sorted(jobs.iterdir()) if jobs.is_dir() else ():
        if not folder.name.isdigit() or not folder.is_dir() or _is_worked_in(folder):
            continue
        fate = fates.get(int(folder.name))
        if fate is None:
            if folder.stat().st_mtime < now - policy.grace_s:
                yield GcItem(kind="job", path=folder, size=own_size(folder))
        elif fate.finished_at is not None:
            keep_s = policy.grace_s if fate.state == "succeeded" else policy.failed_jobs_s
            if fate.finished_at < now - keep_s:
                yield from (
                    GcItem(kind="job", path=part, size=own_size(part))
                    for part in sorted(folder.iterdir())
                    if part.is_dir() and part.name not in _KEPT_OF_JOBS
                )


def old_trash(trash: Path, *, before: float) -> Iterator[GcItem]:
    """What was put into the trash before a time. Damaged blobs lie in the trash too and stay until a person removes them."""
    for path in sorted(trash.iterdir()) if trash.is_dir() else ():
        thrown = _thrown_at(path.name)
        if thrown is not None and thrown < before:
            yield GcItem(kind="trash", path=path, size=own_size(path))


def _thrown_at(name: str) -> float | None:
    if _STAMPED.match(name):
        return datetime.strptime(name, _STAMP).replace(tzinfo=UTC).timestamp()
    job = _JOB_ASIDE.match(name)
    return int(job[1]) / 1e9 if job else None


def trash_folder(trash: Path) -> Path:
    """The folder of the trash for what is taken away now."""
    return trash / datetime.now(UTC).strftime(_STAMP)


def throw_away(store: BlobStore, items: Collection[GcItem], *, root: Path, into: Path, before: float) -> list[GcItem]:
    """Move things into the trash, each under its path inside the film; what is in the trash already, or half-written, is deleted first.

    On a full disk that makes the room which the moves need.

    Args:
        store: The blobs.
        items: What was found.
        root: Private folder of the film; trash and all items lie on its filesystem.
        into: Folder of the trash.
        before: Blobs that were put again since this time stay.

    Returns:
        What was really taken.

    Raises:
        StorageError: The disk is full, or something cannot be removed; what was taken before stays taken.
    """
    try:
        taken = {*_delete(items), *_move_blobs(store, items, root, into, before), *_move_jobs(items, root, into)}
        return [item for item in items if item in taken]
    except OSError as error:
        raise storage_error(error, Path(error.filename2 or error.filename or into), "cleaned up") from error


def _delete(items: Iterable[GcItem]) -> Iterator[GcItem]:
    for item in items:
        if item.kind in ("trash", "half-written", "thumbnail", "cache", "backup"):
            shutil.rmtree(item.path) if item.path.is_dir() else item.path.unlink(missing_ok=True)
            yield item


def _move_blobs(store: BlobStore, items: Iterable[GcItem], root: Path, into: Path, before: float) -> Iterator[GcItem]:
    blobs = [item for item in items if item.kind == "blob"]
    for start in range(0, len(blobs), _BATCH):
        # The lock is held for a moment only, so that nobody who stores something waits long.
        with store.lock(exclusive=True):
            for item in blobs[start : start + _BATCH]:
                status = status_of(item.path)
                if status is not None and status.st_mtime < before:
                    _move(item.path, into / item.path.relative_to(root))
                    yield item


def _move_jobs(items: Iterable[GcItem], root: Path, into: Path) -> Iterator[GcItem]:
    for item in items:
        if item.kind == "job":
            _move(item.path, into / item.path.relative_to(root))
            yield item


def status_of(path: Path) -> os.stat_result | None:
    """What the system knows of a file itself, not of what a link leads to; nothing when somebody removed or renamed it just now."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    while target.exists():
        target = target.with_name(f"{target.name}.{time.monotonic_ns()}")
    path.rename(target)


def _is_worked_in(folder: Path) -> bool:
    lock = folder / "agent.lock"
    if not lock.is_file():
        return False
    try:
        with locked(lock, wait=False):
            return False
    except BusyError:
        return True


def own_size(path: Path) -> int:
    """Bytes that the removal of a folder sets free."""
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            status = status_of(Path(directory, name))
            if status is not None and status.st_nlink == 1:
                total += status.st_size
    return total
