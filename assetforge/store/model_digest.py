"""The identity of a model on disk, read once: hashes are remembered, and many gigabytes are hashed on several cores."""

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from assetforge.durable import write_atomic
from assetforge.errors import NotFoundError, StorageError
from assetforge.paths import user_cache_dir

__all__ = ["HashProgress", "model_digest", "model_files"]

HashProgress = Callable[[int, int], None]
"""Hears how many bytes of how many were hashed."""

_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".model", ".jinja"})
_REMEMBERED_FROM = 1 << 20
_WORTH_A_WORD = 1 << 30
_CHUNK = 4 << 20
_THREADS = 8
_EVERY_S = 0.1

_log = logging.getLogger("assetforge.bases")


def model_digest(path: Path, config: Path | None = None, *, progress: HashProgress | None = None) -> str:
    """Identity of a model: SHA-256 over the sorted names and hashes of its files; for a file alone, of its bytes.

    Hashes of big files are remembered in the user's cache by path, size and time of change, so that many gigabytes are read once.

    Args:
        path: A folder, or a single file.
        config: For a single file, the folder that completes it; its files count too, and the name of the single file does not.
        progress: Hears about what has to be read, from any thread; without it, a line is logged before a gigabyte or more is read.

    Raises:
        NotFoundError: One of them is not there.
    """
    for place in (path, config):
        if place is not None and not place.exists():
            raise NotFoundError(f"There is no model in {place}.", hint="Put the files back, or name another model.")
    files = {"checkpoint": path} if path.is_file() else model_files(path)
    if config is not None:
        files |= {f"config/{name}": file for name, file in model_files(config).items()}
    hashes = _hashes(files.values(), path, progress)
    if path.is_file() and config is None:
        return hashes[path]
    return hashlib.sha256("\n".join(f"{name} {hashes[file]}" for name, file in files.items()).encode()).hexdigest()


def model_files(folder: Path) -> dict[str, Path]:
    """The files of a folder that make a model what it is, by their path in it, in the order in which they are hashed."""
    found = sorted(file for file in folder.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
    return {file.relative_to(folder).as_posix(): file for file in found}


def _hashes(files: Iterable[Path], model: Path, progress: HashProgress | None) -> Mapping[Path, str]:
    """Hash by file; what is remembered is not read."""
    known: dict[Path, str] = {}
    unknown: dict[Path, int] = {}
    for file in files:
        size = file.stat().st_size
        remembered = _recall(file) if size >= _REMEMBERED_FROM else None
        if remembered is None:
            unknown[file] = size
        else:
            known[file] = remembered
    total = sum(unknown.values())
    if progress is None and total >= _WORTH_A_WORD:
        _log.warning("Reading %.1f GB of %s once, to know the model by its hash.", total / 1e9, model)
    counter = _Counter(total, progress)
    # The biggest first: one file is one thread's work, and it should not be the last to begin.
    waiting = sorted(unknown, key=lambda file: -unknown[file])
    with ThreadPoolExecutor(max(1, min(_THREADS, os.cpu_count() or 1, len(waiting)))) as pool:
        try:
            known |= zip(waiting, pool.map(lambda file: _hash_file(file, counter), waiting), strict=True)
        except BaseException:
            counter.stopped = True
            raise
    counter.finish()
    return known


class _Counter:
    """Adds up what several threads have read."""

    def __init__(self, total: int, progress: HashProgress | None) -> None:
        self._total, self._progress = total, progress
        self._done, self._next = 0, 0.0
        self._lock = threading.Lock()
        self.stopped = False

    def add(self, count: int) -> None:
        if self._progress is None:
            return
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now >= self._next:
                self._next = now + _EVERY_S
                self._progress(self._done, self._total)

    def finish(self) -> None:
        if self._progress is not None and self._total:
            self._progress(self._total, self._total)


def _hash_file(file: Path, counter: _Counter) -> str:
    before, memory = file.stat(), _memory(file)
    digest, buffer = hashlib.sha256(), bytearray(_CHUNK)
    view = memoryview(buffer)
    with file.open("rb", buffering=0) as stream:
        while not counter.stopped and (count := stream.readinto(buffer)):
            digest.update(view[:count])
            counter.add(count)
    found, after = digest.hexdigest(), file.stat()
    unchanged = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    if before.st_size >= _REMEMBERED_FROM and unchanged and not counter.stopped:
        # The digest is right whether it can be remembered or not.
        with suppress(OSError, StorageError):
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(memory, json.dumps({"path": str(file), "digest": found}).encode())
    return found


def _recall(file: Path) -> str | None:
    try:
        return str(json.loads(_memory(file).read_bytes())["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _memory(file: Path) -> Path:
    """Where the hash of a file as it is now is remembered; links to one file share it."""
    stat = file.stat()
    signature = repr((str(file.resolve()), stat.st_size, stat.st_mtime_ns))
    return user_cache_dir() / "model-digests" / f"{hashlib.sha256(signature.encode()).hexdigest()}.json"
