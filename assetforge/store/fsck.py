"""Checking the bytes of a film, and finding lost ones again. Damaged files are moved aside, never deleted."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from assetforge.durable import storage_error
from assetforge.errors import StorageError, UsageError
from assetforge.store.blobs import BlobStore, hash_file
from assetforge.store.weights import read_tensor_table

__all__ = ["BlobNeed", "BlobProblem", "FsckLevel", "check_blobs", "find_copies", "set_aside"]

FsckLevel = Literal["quick", "full", "deep"]
"""``quick`` looks at existence and size, ``full`` reads and hashes every byte, ``deep`` looks into the files and the database too."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class BlobNeed:
    """What the rows say about a blob.

    Attributes:
        subjects: What needs it, for people.
        size: Number of bytes, or ``None`` when no row knows.
        weights: It is a safetensors file.
    """

    subjects: tuple[str, ...]
    size: int | None = None
    weights: bool = False


@dataclass(frozen=True, slots=True)
class BlobProblem:
    """A blob that is not as it should be.

    Attributes:
        kind: ``missing``, ``damaged`` (its bytes are others) or ``unreadable``; ``not-weights`` is whole but no safetensors file.
        sha256: The blob.
        subjects: What needs it; empty when nothing does.
        detail: What was found.
    """

    kind: Literal["missing", "damaged", "unreadable", "not-weights"]
    sha256: str
    subjects: tuple[str, ...]
    detail: str = ""


def check_blobs(
    store: BlobStore, needs: Mapping[str, BlobNeed], level: FsckLevel, progress: Progress = lambda _done, _total: None
) -> Iterator[BlobProblem]:
    """Check every blob that is there or should be.

    Args:
        store: The blobs.
        needs: What the rows need, by hash.
        level: How thoroughly.
        progress: Told (done, total) as it goes.
    """
    present = set(store)
    for sha256 in sorted(set(needs) - present):
        yield BlobProblem("missing", sha256, needs[sha256].subjects)
    if level == "quick":
        for sha256 in sorted(present & set(needs)):
            need, path = needs[sha256], store.path(sha256)
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                yield BlobProblem("missing", sha256, need.subjects)
                continue
            if need.size is not None and size != need.size:
                yield BlobProblem("damaged", sha256, need.subjects, f"{size} bytes instead of {need.size}")
        return
    nothing = BlobNeed(())
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = pool.map(lambda sha256: _check_one(store, sha256, needs.get(sha256, nothing), level), sorted(present))
        for done, problem in enumerate(results, 1):
            progress(done, len(present))
            if problem is not None:
                yield problem


def _check_one(store: BlobStore, sha256: str, need: BlobNeed, level: FsckLevel) -> BlobProblem | None:
    path = store.path(sha256)
    try:
        found, size = hash_file(path)
    except StorageError as error:
        return (
            None
            if isinstance(error.__cause__, FileNotFoundError) and not need.subjects
            else BlobProblem("unreadable", sha256, need.subjects, error.message)
        )
    if found != sha256:
        return BlobProblem("damaged", sha256, need.subjects, f"its {size} bytes hash to {found[:12]}")
    if level == "deep" and need.weights:
        try:
            read_tensor_table(path)
        except UsageError as error:
            return BlobProblem("not-weights", sha256, need.subjects, error.message)
    return None


def set_aside(store: BlobStore, sha256: str, trash: Path) -> Path:
    """Move a damaged blob out of the store, where a person can look at it.

    Returns:
        Where it lies now.

    Raises:
        StorageError: It cannot be moved.
    """
    target = trash / "damaged" / sha256
    number = 1
    while target.exists():
        number += 1
        target = trash / "damaged" / f"{sha256}.{number}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with store.lock(exclusive=True):
            store.path(sha256).rename(target)
    except OSError as error:
        raise storage_error(error, store.path(sha256), "set aside") from error
    return target


def find_copies(wanted: Mapping[str, int | None], folders: Iterable[Path]) -> dict[str, Path]:
    """Look for files with the wanted bytes.

    Args:
        wanted: Hashes, with the number of bytes where it is known: files of other sizes are not read then.
        folders: Where to look, the likeliest first; links are not followed.

    Returns:
        One file per hash that was found.
    """
    found: dict[str, Path] = {}
    seen: set[tuple[int, int]] = set()
    sizes = None if None in wanted.values() else set(wanted.values())
    for folder in folders:
        for directory, _, names in os.walk(folder):
            for name in names:
                if len(found) == len(wanted):
                    return found
                path = Path(directory) / name
                sha256 = _hash_of_new(path, sizes, seen)
                if sha256 in wanted:
                    found.setdefault(sha256, path)
    return found


def _hash_of_new(path: Path, sizes: set[int | None] | None, seen: set[tuple[int, int]]) -> str:
    """The hash of a file that was not read yet and has one of the sizes; else nothing."""
    try:
        status = path.lstat()
        if (
            not stat.S_ISREG(status.st_mode)
            or (sizes is not None and status.st_size not in sizes)
            or (status.st_dev, status.st_ino) in seen
        ):
            return ""
        seen.add((status.st_dev, status.st_ino))
        return hash_file(path)[0]
    except (OSError, StorageError):
        # A file that cannot be read, or is being deleted, is no copy; the search goes on.
        return ""
