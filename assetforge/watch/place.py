"""Who watches a film: one process does, and others want to know which."""

import os
from dataclasses import dataclass
from pathlib import Path

from assetforge.durable import locked
from assetforge.errors import BusyError
from assetforge.paths import ProjectPaths

__all__ = ["Watching", "who_watches"]

_LOCKS = Path("/proc/locks")


@dataclass(frozen=True, slots=True)
class Watching:
    """A process that watches a film.

    Attributes:
        pid: Its number; 0 when the system does not say.
        command: What it was started as, such as ``assetforge watch``; empty when the system does not say.
    """

    pid: int = 0
    command: str = ""


def who_watches(paths: ProjectPaths) -> Watching | None:
    """The process that watches a film now, which may be this one; ``None`` when none does.

    Args:
        paths: Where the film is.

    Raises:
        StorageError: The film's own folder cannot be written.
    """
    lock = paths.private / "watch.lock"
    try:
        # Shared: two that ask do not take each other for a watcher.
        with locked(lock, shared=True, wait=False):
            return None
    except BusyError:
        pid = _holder(lock)
        return Watching(pid, _command(pid)) if pid else Watching()


def _holder(lock: Path) -> int:
    """The process that holds a lock, as Linux lists it; 0 when that cannot be told, as in another container."""
    try:
        at = lock.stat()
        lines = _LOCKS.read_text("ascii").splitlines()
    except OSError:
        return 0
    place = f"{os.major(at.st_dev):02x}:{os.minor(at.st_dev):02x}:{at.st_ino}"
    for line in lines:
        # "1: FLOCK  ADVISORY  WRITE 4711 08:02:131090 0 EOF"
        parts = line.split()
        if len(parts) >= 6 and parts[1] == "FLOCK" and parts[3] == "WRITE" and parts[5] == place:
            return max(0, int(parts[4]))
    return 0


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").rstrip("\0").split("\0")
    except OSError:
        return ""
    names = [word.rpartition("/")[2] for word in words]
    if "assetforge" in names:
        return " ".join(["assetforge", *words[names.index("assetforge") + 1 :]])
    return names[0]
