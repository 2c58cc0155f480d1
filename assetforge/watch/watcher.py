"""Watches the folders of a film: one at a time does it, others stand by to take over."""

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Protocol

from assetforge.api.events import WatchRootBack, WatchRootLost
from assetforge.db.columns import utc_now
from assetforge.durable import locked, says_full_disk
from assetforge.errors import AssetForgeError, BusyError, StorageError
from assetforge.services.activity import publish, record
from assetforge.services.folder_intake import TakeReport
from assetforge.services.intake_pool import warm_up
from assetforge.services.projects import Project
from assetforge.services.succession import WATCH
from assetforge.services.watch_records import save_health, watched_folders
from assetforge.watch.observer import EventSource
from assetforge.watch.root import RootWatch, Step

__all__ = ["FollowUp", "Watcher"]

_LOOK_S = 2.0
_HEALTH_S = 5.0
_LOOKS = ("last_scan_at", "last_scan_s", "scans")
_LOOKS_SAVED_S = 60.0
"""Between two notes that a folder was looked at and nothing was there: a folder that is polled is looked at all the time."""
_STANDBY_S = 1.0
_RETRY_S = 10.0
_SLEPT_S = 5.0
_NO_SPACE = "Free some space; whatever waits is taken in then by itself."

Say = Callable[[str], None]


class FollowUp(Protocol):
    """What is done about changes, again and again; must return soon."""

    def __call__(self, *, arriving: bool) -> None:
        """``arriving``: files are still coming in."""


class Watcher:
    """Watches every folder of one film.

    Args:
        project: The film.
        follow_ups: What is done regularly besides, such as retraining.
        say: Called with sentences for the log.
    """

    def __init__(
        self, project: Project, *, follow_ups: tuple[FollowUp, ...] = (), say: Say = lambda _text: None
    ) -> None:
        self.project, self.say = project, say
        self.roots: dict[int, RootWatch] = {}
        self._follow_ups = follow_ups
        self._events = EventSource()
        self._wake = threading.Event()
        self._next_look = 0.0
        self._next_health = 0.0
        self._next_looks = 0.0
        self._saved: dict[int, dict[str, object]] = {}
        self._resting: dict[int, float] = {}
        self._said: dict[str, float] = {}
        self._drift = time.time() - time.monotonic()
        self._ends_at_failure = False
        self._failure: StorageError | None = None

    def run(self, stopping: threading.Event) -> None:
        """Watch until ``stopping`` is set; while another process watches the film, stand by."""
        standing_by = False
        while not stopping.is_set():
            try:
                with locked(self.project.paths.private / "watch.lock", wait=False):
                    standing_by = False
                    self._watch(stopping)
            except BusyError:
                if not standing_by:
                    self.say("Another process watches this film; standing by.")
                standing_by = True
                stopping.wait(_STANDBY_S)

    def once(self, limit_s: float = 3600.0) -> None:
        """Look at every folder, wait until everything in it has settled and been dealt with, and end.

        Raises:
            BusyError: Another process watches the film.
            StorageError: The film cannot be written, such as on a full disk; what was taken in before stays.
        """
        self._ends_at_failure = True
        with locked(self.project.paths.private / "watch.lock", wait=False):
            try:
                deadline = time.monotonic() + limit_s
                self._tick_or_fail()
                while time.monotonic() < deadline and any(root.busy for root in self.roots.values()):
                    self._pause()
                    self._tick_or_fail()
                self._save_health(time.monotonic(), now=True)
            finally:
                self.close()

    def _tick_or_fail(self) -> None:
        self.tick()
        if self._failure is not None:
            raise self._failure

    def _watch(self, stopping: threading.Event) -> None:
        self._next_look = 0.0
        warm_up()
        try:
            while not stopping.is_set() and self.project.paths.database.is_file():
                self.tick()
                self._pause(stopping)
        finally:
            with contextlib.suppress(AssetForgeError):
                self._save_health(time.monotonic(), now=True)
            self.close()

    def wake(self) -> None:
        """There may be something to do; safe in any thread and in signal handlers."""
        self._wake.set()

    def close(self) -> None:
        """Stop listening."""
        for root in self.roots.values():
            root.close()
        self.roots.clear()
        self._events.close()
        self._events = EventSource()

    def tick(self) -> None:
        """One round: look where something may have happened, deal with what has settled, then do what follows."""
        self._wake.clear()
        now = time.monotonic()
        self._guard("folders", lambda: self._refresh(now))
        self._notice_sleep()
        for root in list(self.roots.values()):
            if root.wants(now) and self._resting.get(root.folder.root_id, 0.0) <= now:
                self._step(root, now)
        arriving = any(len(root.arrivals) for root in self.roots.values())
        for root in self.roots.values():
            if len(root.removals):
                self._guard(root.folder.shown, lambda root=root: self._settle_removals(root, now, arriving=arriving))  # type: ignore[misc]
        self._guard("health", lambda: self._save_health(now))
        arriving = any(root.busy for root in self.roots.values())
        for follow_up in self._follow_ups:
            self._guard(type(follow_up).__name__, lambda one=follow_up: one(arriving=arriving))  # type: ignore[misc]

    def _settle_removals(self, root: RootWatch, now: float, *, arriving: bool) -> None:
        report = root.settle_removals(now, arriving=arriving)
        if report is not None:
            self._say_report(root, report)

    def _step(self, root: RootWatch, now: float) -> None:
        step = Step()

        def look() -> None:
            nonlocal step
            step = root.step(now)

        if not self._guard(root.folder.shown, look):
            self._resting[root.folder.root_id] = now + _RETRY_S
        for report in step.taken:
            self._say_report(root, report)
        if step.lost or step.back:
            self._guard(root.folder.shown, lambda: self._tell_outage(root, lost=step.lost))

    def _say_report(self, root: RootWatch, report: TakeReport) -> None:
        counts = {
            "new": len(report.added),
            "restored": len(report.restored),
            "put aside": len(report.left),
            "in quarantine": len(report.quarantined),
            "captions": report.captions,
            "masks": report.masks,
        }
        told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        if told:
            self.say(f"{root.folder.asset}: {told}")

    def _tell_outage(self, root: RootWatch, *, lost: bool) -> None:
        root_id, folder = root.folder.root_id, root.folder
        with self.project.write() as session:
            save_health(session, root_id, root.health)
            record(session, WATCH, "lost sight of" if lost else "sees again", folder.shown, asset=folder.asset)
        self._saved[root_id] = dict(root.health)
        kind = WatchRootLost if lost else WatchRootBack
        event = kind(project=self.project.root, at=utc_now(), actor=WATCH, asset=folder.asset, folder=folder.path)
        publish(self.project, event)
        self.say(root.health["problem"] if lost else f"{folder.shown} is there again.")

    def _refresh(self, now: float) -> None:
        """Folders come and go with assets and settings."""
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        wanted = {folder.root_id: folder for folder in watched_folders(self.project)}
        config = self.project.config.watch
        for root_id in list(self.roots):
            root = self.roots[root_id]
            same = root_id in wanted and (root.folder.path, root.folder.mode) == (
                wanted[root_id].path,
                wanted[root_id].mode,
            )
            if not same or root.config != config:
                root.close()
                del self.roots[root_id]
        for root_id, folder in wanted.items():
            if root_id not in self.roots:
                self.roots[root_id] = RootWatch(self.project, folder, self._events, self.wake)

    def _notice_sleep(self) -> None:
        """A machine that slept, or whose clock was set, has heard nothing meanwhile."""
        drift = time.time() - time.monotonic()
        if abs(drift - self._drift) > _SLEPT_S:
            for root in self.roots.values():
                root.rescan()
        self._drift = drift

    def _save_health(self, monotonic: float, *, now: bool = False) -> None:
        if monotonic < self._next_health and not now:
            return
        self._next_health = monotonic + _HEALTH_S
        looks = now or monotonic >= self._next_looks
        changed = {
            one: root.health
            for one, root in self.roots.items()
            if _is_news(self._saved.get(one, {}), root.health, looks=looks)
        }
        if looks:
            self._next_looks = monotonic + _LOOKS_SAVED_S
        if not changed:
            return
        with self.project.write() as session:
            for root_id, values in changed.items():
                save_health(session, root_id, values)
        self._saved |= {root_id: dict(values) for root_id, values in changed.items()}

    def _pause(self, stopping: threading.Event | None = None) -> None:
        now = time.monotonic()
        due = min((root.next_due(now) for root in self.roots.values()), default=now + _LOOK_S)
        limit = min(now + _LOOK_S, max(due, self._next_retry(due)))
        while (left := limit - time.monotonic()) > 0:
            # A wake-up within the pause ends it; whoever stops the watcher need not know how to wake it.
            if self._wake.wait(min(left, 0.2)) or (stopping is not None and stopping.is_set()):
                return

    def _next_retry(self, due: float) -> float:
        """Nothing is gained by looking again at once when every folder that is due is resting."""
        now = time.monotonic()
        awake = [one for one in self.roots if self._resting.get(one, 0.0) <= now]
        return due if awake or not self.roots else min(self._resting.values())

    def _guard(self, what: str, work: Callable[[], None]) -> bool:
        """Do something that may fail today and work tomorrow; the watcher goes on either way, and says it once in a while."""
        try:
            work()
        except AssetForgeError as error:
            if self._ends_at_failure and isinstance(error, StorageError):
                self._failure = self._failure or error
                return False
            # Everything fails at once on a full disk, for one reason.
            full = says_full_disk(error)
            problem = _NO_SPACE if full else f"{what}: {error}"
            told = f"{error.message} {_NO_SPACE}" if full else problem
        except Exception:  # noqa: BLE001 - an unattended program must not end because of one folder
            problem = told = f"{what}: {traceback.format_exc()}"
        else:
            return True
        now = time.monotonic()
        if now >= self._said.get(problem, 0.0):
            self._said[problem] = now + 300.0
            self.say(told)
        return False


def _is_news(before: Mapping[str, object], after: Mapping[str, object], *, looks: bool) -> bool:
    return any(before.get(name) != value for name, value in after.items() if looks or name not in _LOOKS)
