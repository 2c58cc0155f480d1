"""Find plugins that end the whole process while they are loaded (``os._exit``, a crash in native code), which no ``except`` can catch.

A small file names the plugin while it is being loaded. A file that outlived its process is evidence. One such end may have been somebody's ``kill``;
after the second one in a row the plugin is no longer loaded, until it is upgraded or enabled again.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from assetforge.extension.discovery import Candidate
from assetforge.paths import user_data_dir

__all__ = ["CRASHES_ALLOWED", "count_crashes", "forget_crashes", "marked_as_loading"]

CRASHES_ALLOWED = 1
"""Ends of the process during a load that are forgiven."""


@contextmanager
def marked_as_loading(candidate: Candidate) -> Iterator[None]:
    """Leave a mark that survives only if the process does not survive the block. Without a writable user folder nothing is marked."""
    mark = _folder() / f"{os.uname().nodename}.{os.getpid()}.{candidate.name}"
    with suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(candidate.version, "utf-8")
    try:
        yield
    finally:
        with suppress(OSError):
            mark.unlink()


def count_crashes(candidate: Candidate) -> int:
    """How many processes of this machine ended while they loaded exactly this version since it last loaded well."""
    return sum(1 for mark in _marks(candidate.name) if _version(mark) == candidate.version)


def forget_crashes(name: str) -> None:
    """Start anew with a plugin: it loaded well, or the user wants to try it again."""
    for mark in _marks(name):
        with suppress(OSError):
            mark.unlink()


def _folder() -> Path:
    return user_data_dir() / "loading"


def _marks(name: str) -> list[Path]:
    with suppress(OSError):
        return [mark for mark in _folder().iterdir() if _is_evidence(mark.name, name)]
    return []


def _is_evidence(mark: str, name: str) -> bool:
    head, _, plugin = mark.rpartition(f".{name}")
    node, _, pid = head.rpartition(".")
    return plugin == "" and node == os.uname().nodename and pid.isdigit() and not _lives(int(pid))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A mark with our own number was left by an earlier process: containers give the same numbers again and again.
    return pid != os.getpid()


def _version(mark: Path) -> str:
    try:
        return mark.read_text("utf-8")
    except OSError:
        return ""
