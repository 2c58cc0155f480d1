"""See where code writes: every file that Python opens for writing, makes, renames or removes while a block runs."""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["stray_writes", "watch_writes"]

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.mkdir": 0,
    "os.rename": 1,
    "os.remove": 0,
    "os.rmdir": 0,
    "os.link": 1,
    "os.symlink": 1,
    "os.truncate": 0,
}

_watchers: list[list[Path]] = []
_installed = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watchers:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool((flags or 0) & _WRITING)
    elif event in _CHANGES:
        path, writes = arguments[_CHANGES[event]], True
    else:
        return
    if writes and isinstance(path, str | bytes | os.PathLike):
        place = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - resolving links would name another file
        for seen in _watchers:
            seen.append(place)


@contextmanager
def watch_writes() -> Iterator[list[Path]]:
    """Yield a list that grows by every path Python code writes. Native libraries that open files by themselves are not seen."""
    global _installed
    if not _installed:
        # An audit hook cannot be removed; it does nothing while nobody watches.
        sys.addaudithook(_hook)
        _installed = True
    seen: list[Path] = []
    _watchers.append(seen)
    try:
        yield seen
    finally:
        _watchers[:] = [watcher for watcher in _watchers if watcher is not seen]


def stray_writes(seen: Sequence[Path], *, allowed: Sequence[Path], root: Path) -> list[Path]:
    """The writes that are not below an allowed folder.

    The system's folder for temporary files, devices and compiled Python are always allowed, but nothing else below ``root``, which usually lies in
    the folder for temporary files itself.

    Args:
        seen: What :func:`watch_writes` saw.
        allowed: Folders that may be written.
        root: The folder of the test.
    """
    always = (Path(tempfile.gettempdir()), Path("/dev"), Path("/proc"))

    def fine(path: Path) -> bool:
        if "__pycache__" in path.parts or any(path.is_relative_to(folder) for folder in allowed):
            return True
        return not path.is_relative_to(root) and any(path.is_relative_to(folder) for folder in always)

    return sorted({path for path in seen if not fine(path)})
