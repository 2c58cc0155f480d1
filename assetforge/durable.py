"""Files that are either wholly there or not there at all: write, fsync, rename, fsync the folder."""

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from assetforge.errors import BusyError, StorageError

__all__ = [
    "FULL_DISK_HINT",
    "clone",
    "leave_cache",
    "locked",
    "says_full_disk",
    "storage_error",
    "sync_files",
    "sync_folder",
    "temporary_beside",
    "write_atomic",
]

FULL_DISK_HINT = "Free some space (`assetforge gc` may help) and repeat the command."

_FULL = (errno.ENOSPC, errno.EDQUOT)

_FICLONE = 0x40049409
"""Linux ioctl that lets two files share their blocks until one changes (btrfs, xfs, bcachefs, overlay on those)."""

_FEW = 6

_NO_REFLINK = {
    errno.EOPNOTSUPP,
    errno.ENOTTY,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EPERM,
    errno.EISDIR,
    errno.ETXTBSY,
    errno.EBADF,
}


def storage_error(error: OSError, path: Path, doing: str) -> StorageError:
    """Say in one sentence why ``path`` could not be used; ``doing`` is such as ``written``."""
    if error.errno in _FULL:
        return StorageError(f"The disk is full; {path} could not be {doing}.", hint=FULL_DISK_HINT)
    if error.errno == errno.EFBIG:
        return StorageError(
            f"{path} could not be {doing}: larger than this system allows.",
            hint="Check the file size limit (ulimit -f).",
        )
    reason = error.strerror or str(error)
    return StorageError(f"{path} could not be {doing}: {reason}.", hint="Check that it exists and its permissions.")


def says_full_disk(error: BaseException | str | None) -> bool:
    """Whether an error, or what led to it, was that the disk or a quota is full; libraries that are not written in Python say so in words alone."""
    if isinstance(error, str):
        return any(words in error for words in ("disk is full", *map(os.strerror, _FULL)))
    while error is not None:
        if getattr(error, "errno", None) in _FULL or says_full_disk(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(files: Sequence[Path], folder: Path) -> None:
    """Make the contents of many files on the filesystem of ``folder`` survive a power cut.

    One flush of the whole filesystem costs a third of a flush per file; few files are flushed one by one, since others may be writing a lot.
    """
    if len(files) > _FEW and _syncfs(folder):
        return
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def leave_cache(file: int | Path) -> None:
    """Free the memory in which the system keeps a file's contents, and begin to write out what is not on disk yet; a hint, ignored where it means nothing."""
    if not hasattr(os, "posix_fadvise"):
        return
    if isinstance(file, int):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        return
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        leave_cache(descriptor)
    finally:
        os.close(descriptor)


def _syncfs(folder: Path) -> bool:
    import ctypes

    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if function(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(descriptor)
    return True


def clone(source: int, destination: int) -> bool:
    """Share the blocks of an open file with another one; false where the filesystem cannot."""
    try:
        fcntl.ioctl(destination, _FICLONE, source)
    except OSError as error:
        if error.errno in _NO_REFLINK:
            return False
        raise
    return True


@contextmanager
def temporary_beside(destination: Path) -> Iterator[tuple[int, Path]]:
    """An open file descriptor and a hidden path beside ``destination``; whatever is left of it at the end is removed."""
    descriptor, name = tempfile.mkstemp(prefix=".new-", dir=destination.parent)
    path = Path(name)
    try:
        yield descriptor, path
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace the contents of ``path`` in one step.

    Raises:
        StorageError: The disk is full or the folder cannot be written; the old contents are untouched.
    """
    try:
        with temporary_beside(path) as (descriptor, temporary):
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
            temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(error, path, "written") from error


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold an advisory lock of this process on ``path`` (made when missing); the system frees it when the process dies.

    Args:
        path: The lock file; its folder must exist.
        shared: Several holders may share the lock; an exclusive one waits for all of them.
        wait: Wait for the lock instead of raising.

    Raises:
        BusyError: ``wait`` is false and somebody else holds the lock.
        StorageError: The file is missing and cannot be made.
    """
    try:
        # Reading is enough to lock, so that a colleague who may read the file may lock it too.
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise storage_error(error, path, "opened") from error
    try:
        operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, operation if wait else operation | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"Another process holds {path}.", hint="Wait until it is done, then repeat the command."
            ) from error
        yield
    finally:
        os.close(descriptor)
