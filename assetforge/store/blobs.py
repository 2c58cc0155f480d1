"""Content-addressed bytes: a blob is named by the SHA-256 of its contents, read-only, and either whole or absent.

A blob is written to a temporary name inside the store, synced, renamed, and its folder synced. Putting bytes that are already there renews the blob's
modification time, so that the collector's grace time starts anew; the collector takes the same lock before it takes anything away.
"""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from assetforge.durable import clone, leave_cache, locked, storage_error, sync_files, sync_folder, temporary_beside
from assetforge.errors import StorageError

__all__ = ["BlobBatch", "BlobStore", "hash_file"]

_CHUNK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES, errno.ENOSYS}
_BLOB_MODE = 0o444


def hash_file(path: Path) -> tuple[str, int]:
    """SHA-256 of a file's bytes in lowercase hex, and their number.

    Raises:
        StorageError: The file cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _hash(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise storage_error(error, path, "read") from error


def _hash(descriptor: int) -> tuple[str, int]:
    digest, size, buffer = hashlib.sha256(), 0, memoryview(bytearray(_CHUNK))
    while count := os.readv(descriptor, [buffer]):
        digest.update(buffer[:count])
        size += count
    return digest.hexdigest(), size


def _hash_while_copying(source: int, destination: int) -> tuple[str, int]:
    digest, size, buffer = hashlib.sha256(), 0, memoryview(bytearray(_CHUNK))
    while count := os.readv(source, [buffer]):
        chunk = buffer[:count]
        digest.update(chunk)
        size += count
        while chunk:
            chunk = chunk[os.write(destination, chunk) :]
    return digest.hexdigest(), size


class BlobStore:
    """The blobs of one film; safe to use from several processes at once.

    Args:
        root: Folder of the store; made when something is put into it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def incoming(self) -> Path:
        """Where half-written blobs lie; whatever is old in there belongs to a process that died."""
        return self.root / ".incoming"

    def put_file(self, path: Path) -> tuple[str, int]:
        """Store a copy of a file, reading it once.

        Returns:
            SHA-256 of the stored bytes, and their number.

        Raises:
            StorageError: The file cannot be read, or the disk is full; nothing is visible in the store then.
        """
        with self.batch() as batch:
            return batch.put_file(path)

    def put_bytes(self, data: bytes) -> str:
        """Store bytes and return their SHA-256.

        Raises:
            StorageError: The disk is full; nothing is visible in the store then.
        """
        with self.batch() as batch:
            return batch.put_bytes(data)

    def batch(self, *, uncached: bool = False) -> "BlobBatch":
        """Many blobs with few disk flushes: ``with store.batch() as batch: batch.put_file(path)``; all become visible at the end of the block.

        Args:
            uncached: Nobody reads the blobs soon: once on disk they leave the system's file cache to others.
        """
        return BlobBatch(self, uncached=uncached)

    def path(self, sha256: str) -> Path:
        """Where a blob lies, whether it is there or not.

        Raises:
            StorageError: That is not a SHA-256 in lowercase hex.
        """
        if not _SHA256.match(sha256):
            raise StorageError(f"{sha256!r} is not the name of a blob.", hint="Run `assetforge fsck --deep`.")
        return self.root / sha256[:2] / sha256[2:]

    def has(self, sha256: str) -> bool:
        """Whether the blob is there; does not look at its bytes."""
        return self.path(sha256).is_file()

    def size(self, sha256: str) -> int:
        """Number of bytes of a blob.

        Raises:
            StorageError: It is missing.
        """
        try:
            return self.path(sha256).stat().st_size
        except OSError as error:
            raise self._missing(sha256, error) from error

    def read_bytes(self, sha256: str) -> bytes:
        """The bytes of a (small) blob.

        Raises:
            StorageError: It is missing.
        """
        try:
            return self.path(sha256).read_bytes()
        except OSError as error:
            raise self._missing(sha256, error) from error

    def verify(self, sha256: str) -> bool:
        """Read the blob and compare its hash; false when it is missing or differs.

        Raises:
            StorageError: It is there and cannot be read.
        """
        return self.has(sha256) and hash_file(self.path(sha256))[0] == sha256

    def place(self, sha256: str, destination: Path) -> None:
        """Put a blob into a folder without using space: hard link, else shared blocks, else a copy. For reading only.

        Raises:
            StorageError: The blob is missing or the folder cannot be written.
        """
        source = self.path(sha256)
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            _link(source, destination)
        except FileNotFoundError as error:
            raise self._missing(sha256, error) from error
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise storage_error(error, destination, "written") from error
            self._copy(sha256, destination, mode=_BLOB_MODE)

    def copy_out(self, sha256: str, destination: Path) -> None:
        """Write an own, writable copy of a blob, sharing blocks where the filesystem can; replaces what is there in one step.

        Raises:
            StorageError: The blob is missing or damaged, or the folder cannot be written.
        """
        self._copy(sha256, destination, mode=0o644)

    def __iter__(self) -> Iterator[str]:
        """The hashes of all blobs, in ascending order."""
        if not self.root.is_dir():
            return
        for folder in sorted(entry.name for entry in os.scandir(self.root) if len(entry.name) == 2 and entry.is_dir()):
            for name in sorted(
                entry.name for entry in os.scandir(self.root / folder) if _SHA256.match(folder + entry.name)
            ):
                yield folder + name

    @contextmanager
    def lock(self, *, exclusive: bool = False) -> Iterator[None]:
        """Hold the store still: putting shares the lock, taking away needs it alone."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, self.root, "made") from error
        with locked(self.root / ".lock", shared=not exclusive):
            yield

    def _copy(self, sha256: str, destination: Path, *, mode: int) -> None:
        source = self.path(sha256)
        try:
            reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._missing(sha256, error) from error
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            with temporary_beside(destination) as (writer, temporary):
                if not clone(reader, writer) and _hash_while_copying(reader, writer)[0] != sha256:
                    raise StorageError(
                        f"Blob {source} is damaged; {destination} was not written.",
                        hint="Run `assetforge fsck --repair`.",
                    )
                os.fchmod(writer, mode)
                os.fsync(writer)
                temporary.replace(destination)
            sync_folder(destination.parent)
        except OSError as error:
            raise storage_error(error, destination, "written") from error
        finally:
            os.close(reader)

    def _missing(self, sha256: str, error: OSError) -> StorageError:
        path = self.path(sha256)
        if isinstance(error, FileNotFoundError):
            return StorageError(f"Blob {path} is missing.", hint="Run `assetforge fsck --repair`, or restore a backup.")
        return storage_error(error, path, "read")


class BlobBatch:
    """Blobs that become visible together at the end of a ``with`` block; made by :meth:`BlobStore.batch`.

    The hashes are known at once, the blobs exist only after the block: write rows that name them after it. When the block raises, nothing is kept.
    """

    def __init__(self, store: BlobStore, *, uncached: bool = False) -> None:
        self._store = store
        self._uncached = uncached
        self._waiting: dict[str, tuple[Path, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self._forget()

    def put_file(self, path: Path) -> tuple[str, int]:
        """Take in a file, reading it once; see :meth:`BlobStore.put_file`."""
        try:
            reader = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise storage_error(error, path, "read") from error
        try:
            return self._take(lambda writer: _copy_in(reader, writer), path)
        finally:
            os.close(reader)

    def put_bytes(self, data: bytes, *, sha256: str = "") -> str:
        """Take in bytes; see :meth:`BlobStore.put_bytes`. Who has hashed them already gives ``sha256`` along."""
        if sha256:
            return self._take(lambda writer: (sha256, _write(data, writer)), self._store.root)[0]
        return self._take(lambda writer: _hash_while_writing((data,), writer), self._store.root)[0]

    def put_stream(self, stream: IO[bytes]) -> tuple[str, int]:
        """Take in what a stream still has, such as a member of an archive; see :meth:`BlobStore.put_file`."""
        return self._take(
            lambda writer: _hash_while_writing(iter(lambda: stream.read(_CHUNK), b""), writer), self._store.root
        )

    def _forget(self) -> None:
        for temporary, _ in self._waiting.values():
            temporary.unlink(missing_ok=True)
        self._waiting.clear()

    def _take(self, fill: Callable[[int], tuple[str, int]], source: Path) -> tuple[str, int]:
        temporary: Path | None = None
        try:
            writer, name = self._new_file()
            temporary = Path(name)
            try:
                sha256, size = fill(writer)
                os.fchmod(writer, _BLOB_MODE)
                if self._uncached:
                    # Begins to write it out now, so that the flush at the end has little left to wait for.
                    leave_cache(writer)
            finally:
                os.close(writer)
            if self._is_there(sha256, size):
                temporary.unlink()
                return sha256, size
        except BaseException as error:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise storage_error(error, source, "stored") from error
            raise
        self._waiting[sha256] = (temporary, size)
        return sha256, size

    def _new_file(self) -> tuple[int, str]:
        try:
            return tempfile.mkstemp(dir=self._store.incoming)
        except FileNotFoundError:
            self._store.incoming.mkdir(parents=True, exist_ok=True)
            return tempfile.mkstemp(dir=self._store.incoming)

    def _is_there(self, sha256: str, size: int) -> bool:
        if sha256 in self._waiting:
            return True
        if not self._store.has(sha256):
            return False
        with self._store.lock():
            return _renew(self._store.path(sha256), size)

    def flush(self) -> None:
        """Make visible what was taken in so far.

        Raises:
            StorageError: The disk is full.
        """
        folders: set[Path] = set()
        try:
            temporaries = [temporary for temporary, _ in self._waiting.values()]
            sync_files(temporaries, self._store.root)
            if self._uncached:
                for temporary in temporaries:
                    leave_cache(temporary)
            with self._store.lock():
                for sha256, (temporary, size) in self._waiting.items():
                    target = self._store.path(sha256)
                    if _renew(target, size):
                        continue
                    target.parent.mkdir(exist_ok=True)
                    temporary.replace(target)
                    folders.add(target.parent)
            if folders:
                sync_files([*folders, self._store.root], self._store.root)
            self._forget()
        except OSError as error:
            raise storage_error(error, self._store.root, "written") from error


def _copy_in(reader: int, writer: int) -> tuple[str, int]:
    if clone(reader, writer):
        # The clone is a snapshot: hashing it instead of the source is right even while somebody writes to the source.
        return _hash(writer)
    return _hash_while_copying(reader, writer)


def _write(data: bytes, writer: int) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(writer, view) :]
    return len(data)


def _hash_while_writing(chunks: Iterable[bytes], writer: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.write(writer, view) :]
    return digest.hexdigest(), size


def _link(source: Path, destination: Path) -> None:
    try:
        os.link(source, destination)
    except FileExistsError:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=destination.parent) as folder:
            link = Path(folder) / "link"
            os.link(source, link)
            link.replace(destination)


def _renew(target: Path, size: int) -> bool:
    """Whether a blob of the right size is there already; its grace time starts anew then. A blob of another size is damaged and gets replaced."""
    try:
        if target.stat().st_size != size:
            return False
        os.utime(target)
    except (FileNotFoundError, PermissionError):
        # A blob of another user cannot be touched, but its name can be taken over by our own identical copy.
        return False
    return True
