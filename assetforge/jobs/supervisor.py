"""``assetforge work``: claims queued jobs, one per slot, and drives each to its end.

Killing a supervisor ends nothing: runs live under their own agents, and the next supervisor adopts what this one held. Several supervisors may work on one film.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import col, select

from assetforge.api.protocols import Offer
from assetforge.db.models_jobs import Job
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.errors import AssetForgeError, BusyError
from assetforge.jobs import queue
from assetforge.jobs.background import ensure_supervisor, presence, wait_for_job
from assetforge.jobs.driver import Driver, Pace, end_job
from assetforge.jobs.handlers import HANDLERS
from assetforge.jobs.queue import Claim
from assetforge.jobs.slots import Executors, Place, accepted_devices
from assetforge.services.projects import Project, open_project

__all__ = ["Supervisor", "ensure_supervisor", "main", "wait_for_job"]

_LEAVE_LIMIT_S = 30.0
_ALL_DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What the queue looks like: jobs that could start now, and slots that are taken."""

    executors: tuple[str, ...]
    taken: frozenset[tuple[str, str]]


class Supervisor:
    """Runs the queue of one film.

    Args:
        project: The film.
        executors: Where jobs may run.
        handlers: Kind to service module.
        pace: How often to look.
        say: Called with sentences for the log.
    """

    def __init__(
        self,
        project: Project,
        *,
        executors: Executors | None = None,
        handlers: Mapping[str, str] = HANDLERS,
        pace: Pace | None = None,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.project, self.handlers, self.say = project, handlers, say
        self.executors = executors or Executors()
        self.pace = pace or Pace()
        self.owner = queue.new_owner()
        self._stopping = threading.Event()
        self._threads: dict[int, threading.Thread] = {}
        self._next_renewal = 0.0
        self._unservable: set[int] = set()

    def stop(self) -> None:
        """End soon; what runs goes on and is adopted by the next supervisor. Safe in a signal handler."""
        self._stopping.set()

    def run(self, *, until_idle: bool = False, linger_s: float = 0.0) -> None:
        """Work until :meth:`stop`, or until nothing is left to do.

        Args:
            until_idle: Return when no job is queued or running.
            linger_s: Seconds of idleness before that, for the next job of somebody who waits.
        """
        idle_since: float | None = None
        while not self._stopping.is_set() and self.project.paths.database.is_file():
            try:
                self._tick()
                idle = until_idle and self._is_idle()
            except BusyError as error:
                self.say(str(error))
                continue
            now = time.monotonic()
            idle_since = (idle_since or now) if idle else None
            if idle_since is not None and now - idle_since >= linger_s:
                break
            self._stopping.wait(self.pace.poll_s)
        self._stopping.set()
        deadline = time.monotonic() + _LEAVE_LIMIT_S
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _tick(self) -> None:
        self._threads = {job: thread for job, thread in self._threads.items() if thread.is_alive()}
        now = time.monotonic()
        if now >= self._next_renewal:
            self._next_renewal = now + min(2.0, self.pace.lease_s / 4)
            self._renew_and_adopt()
        waiting = self._waiting()
        for name in waiting.executors:
            for offer in self._offers(name):
                if (name, offer.slot) not in waiting.taken and offer.free:
                    self._claim(name, offer.slot, frozenset(accepted_devices(offer)))

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
            names = session.exec(
                select(Job.executor).where(Job.state == "queued", Job.not_before <= time.time()).distinct()
            ).all()
            taken = session.exec(select(Job.executor, Job.slot).where(col(Job.state).in_(queue.CLAIMED_STATES))).all()
        return _Waiting(tuple(sorted(names)), frozenset((executor, slot) for executor, slot in taken))

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

    def _claim(self, executor: str, slot: str, devices: frozenset[str]) -> None:
        with self.project.write() as session:
            held = queue.claim(session, self.owner, executor, slot, devices, self.pace.lease_s)
        if held:
            self._drive(held)

    def _drive(self, held: Claim) -> None:
        try:
            place: Place = self.executors.get(held.executor)
        except AssetForgeError as error:
            end_job(self.project, held, self.handlers, "failed", str(error), self.say)
            return
        driver = Driver(self.project, held, place, self.handlers, self.pace, self._stopping, self.say)
        # A daemon, so that a service that hangs cannot keep a supervisor that was told to stop.
        thread = threading.Thread(target=driver.drive, name=f"job-{held.job}", daemon=True)
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

    with open_project(options.root) as project, presence(project) as alone:
        if not alone:
            return 0
        supervisor = Supervisor(project, say=say)
        signal.signal(signal.SIGTERM, lambda *_: supervisor.stop())
        signal.signal(signal.SIGINT, lambda *_: supervisor.stop())
        supervisor.run(until_idle=True, linger_s=options.linger)
    return 0


if __name__ == "__main__":
    sys.exit(main())
