"""``assetforge work``: claims queued jobs, one per slot, and drives each to its end.

Killing a supervisor ends nothing: runs live under their own agents, and the next supervisor adopts what this one held. Several supervisors may work on one film.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import col, func, select

from assetforge.api.protocols import Offer
from assetforge.db.models_jobs import Job
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.errors import AssetForgeError, BusyError, StorageError
from assetforge.extension.film_plugins import add_film_plugins
from assetforge.extension.registry import get_registry
from assetforge.jobs import queue
from assetforge.jobs.background import ensure_supervisor, presence, wait_for_job
from assetforge.jobs.driver import Driver, Pace, end_job
from assetforge.jobs.guards import QueueGuard, free_bytes
from assetforge.jobs.handlers import HANDLERS
from assetforge.jobs.queue import Claim
from assetforge.jobs.slots import Executors, Place, ReservedSlot, SharedSlots, accepted_devices
from assetforge.services.projects import Project, open_project

__all__ = ["Supervisor", "ensure_supervisor", "main", "wait_for_job"]

_LEAVE_LIMIT_S = 30.0
_CANNOT_WRITE_S = 1.0
_EXPLAIN_AFTER_S = 2.0
_EXPLAIN_AGAIN_S = 10.0
_ALL_DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What the queue looks like: the highest priority of jobs that could start now, by executor and device, and slots that are taken."""

    ready: Mapping[str, Mapping[str, int]]
    taken: frozenset[tuple[str, str]]


class Supervisor:
    """Runs the queue of one film.

    Args:
        project: The film.
        executors: Where jobs may run.
        handlers: Kind to service module.
        pace: How often to look.
        say: Called with sentences for the log.
        free_bytes: Free bytes on the filesystem of a folder.
    """

    def __init__(
        self,
        project: Project,
        *,
        executors: Executors | None = None,
        handlers: Mapping[str, str] = HANDLERS,
        pace: Pace | None = None,
        say: Callable[[str], None] = lambda _text: None,
        free_bytes: Callable[[Path], int] = free_bytes,
    ) -> None:
        self.project, self.handlers, self.say = project, handlers, say
        self.executors = executors or Executors()
        self.pace = pace or Pace()
        self.owner = queue.new_owner()
        self.film = f"{project.name}-{project.jobs_id[:8]}"
        self._guard = QueueGuard(project, free_bytes, min(2.0, self.pace.guard_s))
        self._asked_to_stop = False
        self._stopping = threading.Event()
        self._threads: dict[int, threading.Thread] = {}
        self._next_renewal = 0.0
        self._unservable: set[int] = set()
        self._sharing: set[str] = set()
        self._explain_at: dict[str, float] = {}
        self._complaint = ""

    def stop(self) -> None:
        """End soon; what runs goes on and is adopted by the next supervisor. Safe in a signal handler."""
        # Not the event itself: a handler that interrupts its wait() would wait for a lock that the interrupted code holds.
        self._asked_to_stop = True

    def run(self, *, until_idle: bool = False, linger_s: float = 0.0) -> None:
        """Work until :meth:`stop`, or until nothing is left to do.

        Args:
            until_idle: Return when no job is queued or running.
            linger_s: Seconds of idleness before that, for the next job of somebody who waits.
        """
        idle_since: float | None = None
        while not self._asked_to_stop and self.project.paths.database.is_file():
            try:
                self._tick()
                idle = until_idle and self._is_idle()
            except (BusyError, StorageError) as error:
                # A full disk, a share that is away: jobs go on under their agents, and so does this as soon as it can.
                self._complain(str(error))
                time.sleep(_CANNOT_WRITE_S)
                continue
            now = time.monotonic()
            idle_since = (idle_since or now) if idle else None
            if idle_since is not None and now - idle_since >= linger_s:
                break
            time.sleep(self.pace.poll_s)
        self._stopping.set()
        self._leave()

    def _leave(self) -> None:
        """Wait for those who drive jobs, then give back turns and leases; the jobs go on."""
        deadline = time.monotonic() + _LEAVE_LIMIT_S
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        try:
            self._wait_for_nothing(())
            if self.project.paths.database.is_file() and not any(one.is_alive() for one in self._threads.values()):
                with self.project.write() as session:
                    queue.leave(session, self.owner)
        except AssetForgeError as error:
            self.say(str(error))

    def _tick(self) -> None:
        self._threads = {job: thread for job, thread in self._threads.items() if thread.is_alive()}
        now = time.monotonic()
        if now >= self._next_renewal:
            self._next_renewal = now + min(2.0, self.pace.lease_s / 4)
            self._renew_and_adopt()
        waiting = self._waiting()
        reason = self._guard.why_not_start() if waiting.ready else ""
        if reason:
            self._hold_back(reason)
            waiting = _Waiting({}, waiting.taken)
        self._wait_for_nothing(waiting.ready)
        for name, devices in waiting.ready.items():
            self._serve(name, devices, waiting.taken)

    def _hold_back(self, reason: str) -> None:
        with self.project.write() as session:
            queue.hold_back(session, reason, self.pace.hold_s)
        self._complain(reason)

    def _complain(self, text: str) -> None:
        """Say what keeps jobs from starting, once."""
        if text != self._complaint:
            self.say(text)
        self._complaint = text

    def _serve(self, name: str, devices: Mapping[str, int], taken: frozenset[tuple[str, str]]) -> None:
        """Start what waits for an executor, as far as it has slots."""
        fitting: dict[str, tuple[int, frozenset[str]]] = {}
        for offer in self._offers(name):
            accepted = frozenset(accepted_devices(offer))
            priorities = [priority for device, priority in devices.items() if device in accepted]
            if offer.free and priorities and (name, offer.slot) not in taken:
                fitting[offer.slot] = (max(priorities), accepted)
        if not fitting and name not in self._sharing:
            return
        place = self.executors.get(name)
        try:
            if place.shared:
                self._sharing.add(name)
                place.shared.want(self.film, {slot: priority for slot, (priority, _) in fitting.items()})
            for slot, (_, accepted) in fitting.items():
                reserved = place.shared.reserve(self.film, slot) if place.shared else None
                if reserved or not place.shared:
                    self._explain_at.pop(name, None)
                    self._claim(name, slot, accepted, reserved)
        except AssetForgeError as error:
            if isinstance(error, BusyError):
                raise
            self._complain(str(error))
        self._explain(name, place.shared, fitting)

    def _explain(
        self, name: str, shared: SharedSlots | None, fitting: Mapping[str, tuple[int, frozenset[str]]]
    ) -> None:
        """Say in the list of jobs that they wait for other films, when they have done so for a moment."""
        now = time.monotonic()
        if shared is None or not fitting:
            self._explain_at.pop(name, None)
            return
        if now < self._explain_at.setdefault(name, now + _EXPLAIN_AFTER_S):
            return
        self._explain_at[name] = now + _EXPLAIN_AGAIN_S
        users = ", ".join(f"{slot} ({shared.user(slot) or 'used by others'})" for slot in fitting)
        devices = {device for _, accepted in fitting.values() for device in accepted}
        reason = f"Waits for a slot that is in use or promised to another film: {users}."
        with self.project.write() as session:
            queue.explain_waiting(session, name, devices, reason)

    def _wait_for_nothing(self, still: Collection[str]) -> None:
        """Leave the turns at executors for which nothing waits any more."""
        for name in self._sharing.difference(still):
            self._sharing.discard(name)
            shared = self.executors.get(name).shared
            if shared:
                shared.want(self.film, {})

    def _renew_and_adopt(self) -> None:
        with self.project.read() as session:
            claimed = session.exec(select(Job.owner).where(col(Job.state).in_(queue.CLAIMED_STATES))).all()
        if not claimed:
            return
        with self.project.write() as session:
            queue.renew(session, self.owner, self.pace.lease_s)
            adopted = queue.adopt(session, self.owner, self.pace.lease_s)
        for held in adopted:
            self.say(f"job {held.job}: adopted at attempt {held.attempt}")
            self._drive(held)

    def _waiting(self) -> _Waiting:
        with self.project.read() as session:
            rows = session.exec(
                select(Job.executor, Job.device, func.max(Job.priority))
                .where(Job.state == "queued", Job.not_before <= time.time())
                .group_by(col(Job.executor), col(Job.device))
                .order_by(col(Job.executor))
            ).all()
            taken = session.exec(select(Job.executor, Job.slot).where(col(Job.state).in_(queue.CLAIMED_STATES))).all()
        ready: dict[str, dict[str, int]] = {}
        for executor, device, priority in rows:
            ready.setdefault(executor, {})[device] = priority
        return _Waiting(ready, frozenset((executor, slot) for executor, slot in taken))

    def _offers(self, name: str) -> list[Offer]:
        """The slots of an executor; one that cannot be used at all fails its jobs, each with the reason."""
        try:
            return list(self.executors.offers(name))
        except AssetForgeError as error:
            with self.project.write() as session:
                held = queue.claim(session, self.owner, name, f"refused:{time.time_ns()}", _ALL_DEVICES)
            if held:
                end_job(self.project, held, self.handlers, "failed", str(error), self.say)
            return []

    def _claim(self, executor: str, slot: str, devices: frozenset[str], reserved: ReservedSlot | None) -> None:
        try:
            with self.project.write() as session:
                held = queue.claim(session, self.owner, executor, slot, devices, self.pace.lease_s)
        except BaseException:
            if reserved:
                reserved.close()
            raise
        if held:
            self._complaint = ""
            self._drive(held, reserved)
        elif reserved:
            reserved.close()

    def _drive(self, held: Claim, reserved: ReservedSlot | None = None) -> None:
        try:
            place: Place = self.executors.get(held.executor)
        except AssetForgeError as error:
            end_job(self.project, held, self.handlers, "failed", str(error), self.say)
            return
        driver = Driver(self.project, held, place, self.handlers, self.pace, self._guard, self._stopping, self.say)

        def drive() -> None:
            try:
                driver.drive()
            finally:
                if reserved:
                    reserved.close()

        # A daemon, so that a service that hangs cannot keep a supervisor that was told to stop.
        thread = threading.Thread(target=drive, name=f"job-{held.job}", daemon=True)
        self._threads[held.job] = thread
        thread.start()

    def _is_idle(self) -> bool:
        if any(thread.is_alive() for thread in self._threads.values()):
            return False
        with self.project.read() as session:
            rows = session.exec(
                select(Job.id, Job.state, Job.executor, Job.device).where(col(Job.state).in_(OPEN_JOB_STATES))
            ).all()
        return all(
            state == "queued" and not self._servable(job or 0, executor, device)
            for job, state, executor, device in rows
        )

    def _servable(self, job: int, executor: str, device: str) -> bool:
        """Whether some slot could ever take a job; said once when none can."""
        try:
            offers = self.executors.offers(executor)
        except AssetForgeError:
            return True
        if any(device in accepted_devices(offer) for offer in offers):
            return True
        if job not in self._unservable:
            self._unservable.add(job)
            self.say(f"job {job}: no slot of {executor} has a {device} device; it stays queued")
        return False


def main(arguments: list[str] | None = None) -> int:
    """What :func:`ensure_supervisor` starts: a supervisor for one film that ends when there is nothing left to do."""
    parser = argparse.ArgumentParser(prog="python -m assetforge.jobs.supervisor", description=main.__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--linger", type=float, default=0.0)
    options = parser.parse_args(arguments)

    def say(text: str) -> None:
        sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        sys.stderr.flush()

    try:
        return _work(options.root, options.linger, say)
    except AssetForgeError as error:
        say(str(error))
        return 1


def _work(root: Path, linger_s: float, say: Callable[[str], None]) -> int:
    with open_project(root) as project, presence(project) as alone:
        if not alone:
            return 0
        if project.paths.plugins.is_dir():
            # As far as the user trusts them; without them, jobs that `assetforge work` runs would fail here.
            add_film_plugins(get_registry(), project.root)
        supervisor = Supervisor(project, say=say)
        signal.signal(signal.SIGTERM, lambda *_: supervisor.stop())
        signal.signal(signal.SIGINT, lambda *_: supervisor.stop())
        supervisor.run(until_idle=True, linger_s=linger_s)
    return 0


if __name__ == "__main__":
    sys.exit(main())
