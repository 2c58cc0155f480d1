"""Events of the system, as hints about which folders to look at. They may be late, twice, wrong or lost; nothing depends on them."""

import errno
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

__all__ = ["EventSource", "Hints"]

_KINDS: list[type[FileSystemEvent]] = [
    *(DirCreatedEvent, DirDeletedEvent, DirMovedEvent),
    *(FileCreatedEvent, FileClosedEvent, FileDeletedEvent, FileMovedEvent),
]
"""Every write of a file that is being copied is an event of its own; that it was closed is enough, and what stays open is found by the wait for it to settle."""

_MOST_FOLDERS = 2000
_LOGGERS = ("watchdog.observers.inotify", "watchdog.observers.inotify_c")
_EXHAUSTED = {
    errno.ENOSPC: "this user watches as many folders as the system allows; raise fs.inotify.max_user_watches",
    errno.EMFILE: "this user has as many watchers as the system allows; raise fs.inotify.max_user_instances",
}


class Hints(FileSystemEventHandler):
    """Folders below one root in which something happened; bounded, since everything beyond a limit means "look everywhere".

    Args:
        root: The watched folder.
        wake: Called when there is something new.
    """

    def __init__(self, root: Path, wake: Callable[[], None]) -> None:
        self.events = 0
        self._root = os.fsdecode(root)
        self._wake = wake
        self._folders: set[str] = set()
        self._everywhere = False
        self._lock = threading.Lock()

    def dispatch(self, event: FileSystemEvent) -> None:
        """Note where something happened; runs in a thread of the observer."""
        paths = [event.src_path, event.dest_path] if event.dest_path else [event.src_path]
        places = [self._place(os.fsdecode(path), whole=event.is_directory) for path in paths]
        with self._lock:
            self.events += 1
            for folders in places:
                self._folders.update(folders)
            if len(self._folders) > _MOST_FOLDERS:
                self._everywhere = True
                self._folders.clear()
        self._wake()

    def look_everywhere(self) -> None:
        """Events were lost."""
        with self._lock:
            self._everywhere = True
        self._wake()

    def collect(self) -> tuple[set[str], bool]:
        """The folders, by path below the root, and whether everything must be looked at; from then on they are forgotten here."""
        with self._lock:
            folders, everywhere = self._folders, self._everywhere
            self._folders, self._everywhere = set(), False
        return folders, everywhere

    @property
    def waiting(self) -> bool:
        """Whether something happened since the last :meth:`collect`."""
        return self._everywhere or bool(self._folders)

    def _place(self, path: str, *, whole: bool) -> list[str]:
        """Where to look: in the folder that holds what changed, and in a folder that changed itself."""
        if not path.startswith(self._root):
            return []
        below = path[len(self._root) :].strip("/")
        return [below.rpartition("/")[0], below] if whole and below else [below.rpartition("/")[0]]


class EventSource:
    """One observer for all folders that are watched by events."""

    def __init__(self) -> None:
        self._observer: BaseObserver | None = None
        self._watches: dict[Hints, ObservedWatch] = {}
        self._overflow = _Overflow(self._lost)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self._overflow)

    def add(self, root: Path, hints: Hints) -> str:
        """Watch a folder.

        Returns:
            Why that is not possible, in words that go on after "no events, because"; empty when it is.
        """
        if self._observer is None:
            self._observer = Observer()
            self._observer.start()
        try:
            watch = self._observer.schedule(hints, str(root), recursive=True, event_filter=_KINDS)
        except OSError as error:
            return _EXHAUSTED.get(error.errno or 0, error.strerror or str(error))
        self._watches[hints] = watch
        return ""

    def remove(self, hints: Hints) -> None:
        """Stop watching a folder."""
        watch = self._watches.pop(hints, None)
        if watch is None or self._observer is None:
            return
        if watch in self._watches.values():
            self._observer.remove_handler_for_watch(hints, watch)
        else:
            self._observer.unschedule(watch)

    def works(self, hints: Hints) -> bool:
        """Whether the thread that listens for a folder is still there."""
        watch = self._watches.get(hints)
        observer = self._observer
        if watch is None or observer is None or not observer.is_alive():
            return False
        return any(emitter.watch == watch and emitter.is_alive() for emitter in observer.emitters)

    def close(self) -> None:
        """Stop watching anything."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self._overflow)
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(10.0)
            self._observer = None
        self._watches.clear()

    def _lost(self) -> None:
        for hints in list(self._watches):
            hints.look_everywhere()


class _Overflow(logging.Filter):
    """The library tells of lost events in its log alone."""

    def __init__(self, lost: Callable[[], None]) -> None:
        super().__init__()
        self._lost = lost

    def filter(self, record: logging.LogRecord) -> bool:
        if "overflow" in str(record.msg):
            self._lost()
            return False
        return True
