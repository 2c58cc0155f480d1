"""One watched folder: what is known of it, what is changing in it, how it goes."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from assetforge.db.columns import utc_now
from assetforge.services.folder_intake import FolderIntake, TakeReport
from assetforge.services.projects import Project
from assetforge.services.watch_records import WatchedFolder, known_files
from assetforge.store.filesystems import filesystem_of, folds_names, identity_of, is_networked
from assetforge.store.masks import MASK_SUFFIXES
from assetforge.store.picture_names import NameKind, kind_of_file
from assetforge.store.sidecar import SIDECAR_SUFFIXES
from assetforge.store.tree import FolderTree, ScanResult, Stamp
from assetforge.watch.observer import EventSource, Hints
from assetforge.watch.settle import Settling

__all__ = ["RootWatch", "Step"]

_REMOVALS_WAIT_S = 300.0
"""Longest time that a file that is gone waits for arrivals elsewhere, which may be where it went."""

_MOST_AT_ONCE = 256
_BURST = 2000
"""Events after which everything is looked at once more."""


@dataclass(slots=True)
class Step:
    """What one look at a folder brought.

    Attributes:
        taken: What became of files that had settled.
        lost: The folder has just gone away.
        back: It is there again.
    """

    taken: list[TakeReport] = field(default_factory=list)
    lost: bool = False
    back: bool = False


class RootWatch:
    """Watches one folder.

    Args:
        project: The film.
        folder: The folder.
        events: Where events come from.
        wake: Called, in any thread, when there is something to look at.
    """

    def __init__(self, project: Project, folder: WatchedFolder, events: EventSource, wake: Callable[[], None]) -> None:
        self.folder = folder
        self.config = project.config.watch
        self._events = events
        filesystem = filesystem_of(folder.path)
        self._network = is_networked(filesystem)
        wait_s = self.config.network_settle_seconds if self._network else self.config.settle_seconds
        self.arrivals: Settling[Stamp] = Settling(wait_s)
        self.removals: Settling[None] = Settling(wait_s)
        self.tree = FolderTree(folder.path, with_ctime=not self._network)
        for path, stamp in known_files(project, folder.root_id):
            self.tree.note(path, stamp if not self._network else stamp._replace(ctime_ns=0))
        self.hints = Hints(folder.path, wake)
        self._intake = FolderIntake(project, folder)
        self._identity = folder.identity
        self._listening = False
        self._lost = False
        self._next_scan = 0.0
        self._next_check = 0.0
        self._scan_soon = False
        self._refused_events = ""
        self._events_at_scan = 0
        self.health: dict[str, Any] = {
            "filesystem": filesystem,
            "mode": "polling" if self._polls else "events",
            "folds_names": folds_names(folder.path),
            "state": "ok",
            "problem": "",
            "missed": 0,
            "scans": 0,
            "events": 0,
            "files": len(self.tree),
            "last_scan_s": 0.0,
        }

    @property
    def _polls(self) -> bool:
        wanted = self.folder.mode
        return wanted == "polling" or bool(self._refused_events) or (wanted == "auto" and self._network)

    @property
    def busy(self) -> bool:
        """Something is changing or has not been dealt with."""
        return bool(len(self.arrivals) or len(self.removals) or self._scan_soon)

    def wants(self, now: float) -> bool:
        """Whether there may be something to do now."""
        return self.hints.waiting or self.next_due(now) <= now

    def rescan(self) -> None:
        """Look at everything at the next step."""
        self._scan_soon = True

    def next_due(self, now: float) -> float:
        """When to look again, by the same clock as ``now``."""
        times = [self._next_scan, self._next_check]
        times += [due for due in (self.arrivals.next_due(), self.removals.next_due()) if due is not None]
        return now if self._scan_soon else max(now, min(times))

    def step(self, now: float) -> Step:
        """Look where something may have happened, and take in what has settled.

        Args:
            now: Monotonic seconds.

        Raises:
            StorageError: The store cannot be written; everything is tried again later.
            BusyError: The database is locked; likewise.
        """
        step = Step()
        self._next_check = now + self.config.poll_seconds
        if not self._is_there(step):
            self._next_scan = self._next_check
            self._scan_soon = False
            return step
        self._listen()
        self._look(now)
        self._take(now, step)
        return step

    def settle_removals(self, now: float, *, arriving: bool) -> TakeReport | None:
        """Deal with files that are gone.

        Args:
            now: Monotonic seconds.
            arriving: Files are arriving somewhere in the film; what is gone here may be one of them.

        Raises:
            StorageError: The database cannot be written.
            BusyError: The database is locked.
        """
        if self._lost or (arriving and self.removals.oldest(now) < _REMOVALS_WAIT_S):
            return None
        gone = [path for path in self.removals.due(now) if self.tree.stamp_of(path) is None]
        self.removals.drop_all(set(self.removals.due(now)) - set(gone))
        if not gone or not self._is_still_the_same():
            return None
        report = self._intake.remove(gone)
        for path in gone:
            self.tree.forget(path)
        self.removals.drop_all(gone)
        self.health["files"] = len(self.tree)
        return report

    def _is_still_the_same(self) -> bool:
        try:
            return identity_of(self.folder.path) == self._identity
        except OSError:
            return False

    def close(self) -> None:
        """Stop listening."""
        self._events.remove(self.hints)
        self._listening = False

    def _is_there(self, step: Step) -> bool:
        """A folder that is away, or another one of the same name in which nothing of what is known can be seen, is an outage."""
        try:
            identity = identity_of(self.folder.path)
            with os.scandir(self.folder.path) as listing:
                empty = next(listing, None) is None
        except OSError as error:
            return self._away(step, f"{self.folder.shown} is away: {error.strerror or error}.")
        if identity != self._identity and self._identity and len(self.tree) and empty:
            return self._away(
                step, f"{self.folder.shown} is empty and not the folder it was; is the share that holds it mounted?"
            )
        if identity != self._identity:
            if self._listening:
                self.close()
            self._identity = identity
            self.health["identity"] = identity
        if self._lost:
            self._lost, step.back = False, True
            self.health |= {"state": "ok", "problem": "", "folds_names": folds_names(self.folder.path)}
            self.removals = Settling(self.removals.wait_s)
            self._scan_soon = True
        return True

    def _away(self, step: Step, problem: str) -> bool:
        step.lost = not self._lost
        self._lost = True
        self.health |= {"state": "lost", "problem": problem}
        if self._listening:
            self.close()
        return False

    def _listen(self) -> None:
        if self._polls or (self._listening and self._events.works(self.hints)):
            return
        if self._listening:
            self.close()
        self._refused_events = self._events.add(self.folder.path, self.hints)
        self._listening = not self._refused_events
        self._scan_soon = True
        if self._refused_events:
            self.health |= {"mode": "polling", "problem": f"No events, because {self._refused_events}; it is polled."}

    def _look(self, now: float) -> None:
        folders, everywhere = self.hints.collect()
        self.health["events"] = self.hints.events
        if self.hints.events - self._events_at_scan > _BURST and not folders and not len(self.arrivals):
            # Where much happens at once, something is missed; this is when the burst is over.
            self._scan_soon = True
        full = everywhere or self._scan_soon or now >= self._next_scan
        expected = {self._nearest_known(folder) for folder in folders}
        started = time.perf_counter()
        try:
            result = self.tree.scan(None if full else expected) if full or expected else ScanResult()
        except OSError:
            return
        if full:
            self._scanned(result, now, time.perf_counter() - started, None if everywhere else expected)
        self._note(result, now)

    def _scanned(self, result: ScanResult, now: float, seconds: float, expected: set[str] | None) -> None:
        scheduled = now >= self._next_scan and not self._scan_soon
        self._scan_soon = False
        self._events_at_scan = self.hints.events
        every = self.config.poll_seconds if self._polls else self.config.scan_minutes * 60.0
        self._next_scan = now + max(every, 10.0 * seconds)
        if scheduled and expected is not None and not self._polls:
            found = [
                path
                for path in (*result.changed, *result.missing)
                if path not in self.arrivals and path not in self.removals
            ]
            self.health["missed"] += sum(path.rpartition("/")[0] not in expected for path in found)
        self.health |= {
            "scans": self.health["scans"] + 1,
            "last_scan_at": utc_now(),
            "last_scan_s": round(seconds, 4),
        }
        if result.failed:
            first, reason = next(iter(result.failed.items()))
            self.health |= {"state": "problem", "problem": f"{first} cannot be looked into: {reason}."}
        elif self.health["state"] == "problem":
            self.health |= {"state": "ok", "problem": ""}

    def _note(self, result: ScanResult, now: float) -> None:
        wall = time.time()
        for path, stamp in result.changed.items():
            # A file that was left alone for a while before anybody looked need not wait again.
            unchanged_s = wall - stamp.ctime_ns / 1e9 if stamp.ctime_ns else 0.0
            self.arrivals.saw(path, stamp, now, unchanged_s=min(unchanged_s, self.arrivals.wait_s))
            self.removals.drop(path)
        for path in result.missing:
            self.removals.saw(path, None, now)

    def _take(self, now: float, step: Step) -> None:
        due = self.arrivals.due(now)
        ready: dict[str, Stamp] = {}
        for path, stamp in due.items():
            here = self.tree.stamp_of(path)
            if here == stamp:
                ready[path] = stamp
            elif here is None:
                self.arrivals.drop(path)
            else:
                self.arrivals.saw(path, here, now)
            if len(ready) >= _MOST_AT_ONCE:
                break
        pictures, beside = self._sort(ready)
        if beside:
            self._intake.note_beside(beside)
            self._settled(beside)
        if pictures:
            report = self._intake.take(pictures)
            self._settled(report.settled)
            for path in report.again:
                self.arrivals.drop(path)
                if (current := self.tree.stamp_of(path)) is not None:
                    self.arrivals.saw(path, current, now)
            step.taken.append(report)
        self.health["files"] = len(self.tree)

    def _sort(self, ready: dict[str, Stamp]) -> tuple[dict[str, Stamp], dict[str, Stamp]]:
        """Pictures, among them those whose caption or mask changed, and what lies beside them; what is neither is passed over from now on."""
        pictures: dict[str, Stamp] = {}
        beside: dict[str, Stamp] = {}
        for path, stamp in ready.items():
            kind = kind_of_file(self.folder.path / path, self._neighbours(path))
            if kind is NameKind.PICTURE:
                pictures[path] = stamp
            elif kind is NameKind.BESIDE:
                beside[path] = stamp
            else:
                self.tree.note(path, stamp)
                self.arrivals.drop(path)
        for path in beside:
            for picture in self._pictures_of(path):
                if picture not in self.arrivals and (known := self.tree.stamp_of(picture)) is not None:
                    pictures[picture] = known
        return pictures, beside

    def _neighbours(self, path: str) -> Iterable[str]:
        if path.lower().endswith(MASK_SUFFIXES):
            try:
                return os.listdir((self.folder.path / path).parent)  # noqa: PTH208 - names alone
            except OSError:
                return ()
        return ()

    def _pictures_of(self, path: str) -> list[str]:
        folder, _, name = path.rpartition("/")
        prefix = f"{folder}/" if folder else ""
        suffix = next(one for one in (*MASK_SUFFIXES, *SIDECAR_SUFFIXES) if name.lower().endswith(one))
        stem = name[: -len(suffix)]
        names = [one for one in self.tree.names_in(folder) if one != name and os.path.splitext(one)[0] == stem]  # noqa: PTH122
        return [
            prefix + one for one in names if kind_of_file(self.folder.path / (prefix + one), ()) is NameKind.PICTURE
        ]

    def _settled(self, files: dict[str, Stamp]) -> None:
        for path, stamp in files.items():
            self.tree.note(path, stamp)
            self.arrivals.drop_if(path, stamp)

    def _nearest_known(self, folder: str) -> str:
        """The folder itself, or the next one above it that is known; events may spell a name in another way than the folder lists it."""
        folds = self.health["folds_names"]
        while folder and not self.tree.knows_folder(folder) and (folds or not (self.folder.path / folder).is_dir()):
            folder = folder.rpartition("/")[0]
        return folder
