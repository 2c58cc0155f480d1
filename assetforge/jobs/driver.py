"""One held job, from staging to its end. Every step may be repeated by another supervisor after this one was killed."""

import json
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from assetforge import agent
from assetforge.api.job import JobSpec, Resources, Result
from assetforge.api.protocols import Handle
from assetforge.db.models_jobs import Job
from assetforge.durable import says_full_disk, storage_error
from assetforge.errors import AssetForgeError, BusyError, JobError, StorageError, TryAgainError
from assetforge.jobs import queue
from assetforge.jobs.bundle import write_bundle
from assetforge.jobs.guards import EarlyEnd, LifeSigns, QueueGuard, read_early_end, write_early_end
from assetforge.jobs.handlers import Handler, handler_of
from assetforge.jobs.queue import Claim
from assetforge.jobs.slots import Place
from assetforge.services.projects import Project

__all__ = ["Driver", "Pace", "end_job"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things are looked at, in seconds.

    Attributes:
        poll_s: Between two looks at a running job.
        cancel_s: Between two looks at whether somebody wants it cancelled.
        backoff_s: Before the second attempt; doubled for each further one, at most a minute.
        lease_s: How long a claim holds without a sign of life.
        guard_s: Between two looks at the disk and at whether a running job is stuck.
        hold_s: How long jobs are held back when there is too little space.
    """

    poll_s: float = 0.2
    cancel_s: float = 0.5
    backoff_s: float = 1.0
    lease_s: float = queue.LEASE_S
    guard_s: float = 5.0
    hold_s: float = 30.0


class _NotOurs(Exception):  # noqa: N818 - a signal to unwind, not an error
    """Somebody else holds the job now."""


class _Leave(Exception):  # noqa: N818 - a signal to unwind, not an error
    """The supervisor stops; the job goes on without it."""


class _NotStarted(Exception):  # noqa: N818 - a signal to unwind, not an error
    """The executor could not start the attempt."""


class Driver:
    """Drives one held job.

    Args:
        project: The film.
        held: The claim.
        place: Where it runs.
        handlers: Kind to service module.
        pace: How often to look.
        guard: What the film asks of the machine.
        stopping: Set when the supervisor wants to end.
        say: Called with sentences for the log.
    """

    def __init__(
        self,
        project: Project,
        held: Claim,
        place: Place,
        handlers: Mapping[str, str],
        pace: Pace,
        guard: QueueGuard,
        stopping: threading.Event,
        say: Callable[[str], None],
    ) -> None:
        self.project, self.held, self.place, self.pace = project, held, place, pace
        self.guard, self.stopping, self.say = guard, stopping, say
        self.executor = place.executor
        self.workdir = project.paths.job(held.job)
        self._handlers = handlers
        self._handle: Handle = {}
        self._complaint = ""

    def drive(self) -> None:
        """Take the job as far as it goes; returns when it ended, was requeued, is somebody else's, or the supervisor stops."""
        while True:
            try:
                return self._drive()
            except _NotOurs:
                return self.say(f"job {self.held.job}: somebody else has it now")
            except _Leave:
                return None
            except (BusyError, StorageError) as error:
                # The database cannot be written now. What the job does goes on; how it ended is written down later.
                self._complain(str(error))
                if self.stopping.wait(1.0):
                    return None

    def _complain(self, text: str) -> None:
        """Say what keeps this from going on, once."""
        if text != self._complaint:
            self.say(f"job {self.held.job}: {text}")
        self._complaint = text

    def _drive(self) -> None:
        try:
            self._advance()
        except (BusyError, _NotOurs, _Leave):
            raise
        except TryAgainError as error:
            self._wait_for_devices(error.message)
        except (StorageError, OSError, _NotStarted) as error:
            # A full disk or a lost mount may be over at the next attempt; a finished result is still there then.
            self._again("lost", str(_in_words(error, self.workdir)))
        except AssetForgeError as error:
            self._end("failed", str(error))
        except Exception as error:  # noqa: BLE001 - a fault of one job must not end the supervisor
            self.say(f"job {self.held.job}: {traceback.format_exc()}")
            self._end("failed", f"{type(error).__name__}: {error}")

    def _advance(self) -> None:
        with self.project.read() as session:
            job = session.get_one(Job, self.held.job)
            state, self._handle = job.state, dict(job.handle)
        if self._cancelled() and not self._handle:
            return self._end_cancelled()
        if state == "staging":
            self._stage()
        if self._handle:
            self._follow()
            self._ours(lambda session: queue.enter(session, self.held, "collecting"))
            self.executor.fetch(self._handle, self.workdir)
        return self._judge()

    @property
    def _handler(self) -> Handler:
        return handler_of(self.held.kind, self._handlers)

    def _stage(self) -> None:
        plan = self._handler.plan_job(self.project, self.held.job)
        bundle = write_bundle(plan, self.workdir, self.project.blobs, self.project.paths.trash)
        handle = self.executor.handle(f"{self.project.jobs_id}-{self.held.job}", self.held.attempt, self.workdir)
        self._ours(lambda session: queue.begin_attempt(session, self.held, bundle, handle))
        self._handle = handle
        if self._cancelled():
            # The marker holds even against a submission that is late.
            self.executor.cancel(handle, plan.spec.grace_s)
        else:
            self._submit(plan.spec.resources)
        self._ours(lambda session: queue.enter(session, self.held, "running"))
        self.say(f"job {self.held.job}: attempt {self.held.attempt} runs on {self.held.executor} {self.held.slot}")

    def _submit(self, resources: Resources) -> None:
        while True:
            try:
                return self.executor.submit(self._handle, self.workdir, resources, self.held.slot)
            except BusyError as error:
                # The last writer of an earlier attempt is still ending.
                self.say(f"job {self.held.job}: {error}")
                if self._cancelled():
                    return self.executor.cancel(self._handle, self._grace())
                self._pause(0.5)
            except JobError as error:
                # Nothing of the job ran yet, so it cannot be at fault.
                raise _NotStarted(str(error)) from error

    def _follow(self) -> None:
        cursor, next_look, next_guard, next_cancel = 0, 0.0, 0.0, 0.0
        signs = LifeSigns(self.workdir, heartbeat=self.place.in_place)
        ending = read_early_end(self.workdir, self.held.attempt) is not None
        mirror = None if self.place.in_place else self.workdir / "events.jsonl"
        if mirror:
            mirror.write_bytes(b"")
        while True:
            state = self.executor.poll(self._handle)
            if state == "unreachable":
                # Nothing is known; the attempt may well run, so nothing else is started.
                self._pause(max(5.0, self.pace.poll_s))
                self._cancelled()
                signs.forget()
                continue
            if mirror:
                cursor = self._mirror(mirror, cursor)
            if state in ("exited", "gone"):
                return
            now = time.monotonic()
            if now >= next_guard and not ending:
                next_guard = now + self.pace.guard_s
                ending = self._end_early(signs, waits=state == "queued")
            if now >= next_look:
                next_look = now + self.pace.cancel_s
                if (self._cancelled() or ending) and now >= next_cancel:
                    next_cancel = now + 10.0
                    self.executor.cancel(self._handle, self._grace())
            self._pause(self.pace.poll_s)

    def _end_early(self, signs: LifeSigns, *, waits: bool) -> bool:
        """Whether the attempt has to end, though nobody cancelled it; the reason is noted first."""
        if waits:
            signs.forget()
        stuck = signs.why_stuck(self.guard.limits().stuck_minutes * 60)
        reason = stuck or self.guard.why_stop()
        if not reason:
            return False
        try:
            write_early_end(self.workdir, self.held.attempt, EarlyEnd("lost" if stuck else "interrupted", reason))
        except OSError as error:
            self.say(f"job {self.held.job}: {reason} It cannot be stopped: {error}")
            return False
        self.say(f"job {self.held.job}: {reason}")
        return True

    def _mirror(self, mirror: Path, cursor: int) -> int:
        events, cursor = self.executor.follow(self._handle, cursor)
        with mirror.open("ab") as stream:
            stream.writelines(json.dumps(event).encode() + b"\n" for event in events)
        return cursor

    def _judge(self) -> None:
        """``result.json`` is the fact; without it, what the agent last said decides."""
        if (self.workdir / "result.json").is_file():
            return self._register()
        status = agent.read_status(self.workdir)
        state, error = "lost", "Its processes are gone, and there is no result."
        if status.get("attempt") == self.held.attempt and status["state"]:
            state, error = status["state"], status.get("error") or error
        early = read_early_end(self.workdir, self.held.attempt)
        if self._cancelled():
            return self._end_cancelled()
        if early is not None and early.outcome == "interrupted":
            return self._back_to_queue(early)
        if early is not None:
            return self._again(early.outcome, early.error)
        if state == "cancelled":
            return self._end("cancelled", "")
        if state == "failed":
            return self._end("failed", error)
        return self._again(state if state == "interrupted" else "lost", error)

    def _register(self) -> None:
        try:
            result = self._read_result()
            self._handler.register_result(self.project, self.held.job, result, self.workdir)
        except (JobError, ValidationError) as error:
            # Out of the way, so that the job can be tried again.
            (self.workdir / "result.json").replace(self.workdir / "result.refused.json")
            reason = (
                str(error) if isinstance(error, JobError) else f"{self.workdir / 'result.json'} is damaged: {error}"
            )
            return self._end("failed", reason)
        self._ours(lambda session: queue.finish(session, self.held, "succeeded"))
        self.say(f"job {self.held.job}: succeeded")
        return self.executor.release(self._handle) if self._handle else None

    def _read_result(self) -> Result:
        result = Result.read(self.workdir / "result.json")
        if result.job != self.held.job:
            raise JobError(f"{self.workdir / 'result.json'} belongs to job {result.job}, not to job {self.held.job}.")
        return result

    def _again(self, outcome: str, error: str) -> None:
        """The machine was at fault, not the work: resume, as long as attempts are left. A full disk takes none: people free it when they can."""
        if says_full_disk(error):
            return self._back_to_queue(EarlyEnd("interrupted", error))
        if self.held.attempt >= self.held.max_attempts:
            return self._end("lost", f"{error} It was tried {self.held.attempt} times.")
        delay = min(60.0, self.pace.backoff_s * 2.0 ** min(self.held.attempt - 1, 20))
        self._ours(lambda session: queue.requeue(session, self.held, outcome, error, delay))
        return self.say(
            f"job {self.held.job}: attempt {self.held.attempt} is {outcome} ({error}); again in {delay:g} s"
        )

    def _back_to_queue(self, early: EarlyEnd) -> None:
        """Neither the work nor the machine was at fault: the attempt does not count."""
        self._ours(
            lambda session: queue.requeue(
                session, self.held, early.outcome, early.error, self.pace.hold_s, extra_attempt=True
            )
        )
        self.say(f"job {self.held.job}: attempt {self.held.attempt} waits for space ({early.error})")

    def _wait_for_devices(self, reason: str) -> None:
        """Back to the queue, and out of the slot, since several jobs that wait in their slots for more of them would wait for ever."""
        # Not all at the same moment again, so that they do not keep taking each other's.
        delay = (0.5 + self.held.job % 7 / 6) * self.pace.hold_s / 3
        self._ours(lambda session: queue.requeue(session, self.held, "interrupted", reason, delay, extra_attempt=True))
        self.say(f"job {self.held.job}: {reason}")

    def _end_cancelled(self) -> None:
        with self.project.read() as session:
            reason = session.get_one(Job, self.held.job).error
        self._end("cancelled", reason)

    def _end(self, state: str, error: str) -> None:
        if not end_job(self.project, self.held, self._handlers, state, error, self.say):
            raise _NotOurs
        if self._handle:
            self.executor.release(self._handle)

    def _cancelled(self) -> bool:
        with self.project.read() as session:
            answer = queue.is_cancelled(session, self.held)
        if answer is None:
            raise _NotOurs
        return answer

    def _ours(self, change: Callable[[Any], bool]) -> None:
        """Make a fenced change, or give up the job."""
        with self.project.write() as session:
            if not change(session):
                raise _NotOurs

    def _grace(self) -> float:
        return JobSpec.model_validate_json((self.workdir / "job.json").read_bytes()).grace_s

    def _pause(self, seconds: float) -> None:
        if self.stopping.wait(seconds):
            raise _Leave


def _in_words(error: Exception, workdir: Path) -> Exception:
    if isinstance(error, OSError):
        return storage_error(error, Path(error.filename or workdir), "used")
    return error


def end_job(
    project: Project, held: Claim, handlers: Mapping[str, str], state: str, error: str, say: Callable[[str], None]
) -> bool:
    """End a held job as failed, cancelled or lost: its service first, then its row. May be repeated after a crash in between.

    Returns:
        Whether the job was still held.

    Raises:
        BusyError: The database is locked; nothing is lost by trying again.
    """
    with project.write() as session:
        if not queue.enter(session, held, "collecting"):
            return False
    try:
        handler_of(held.kind, handlers).close_job(project, held.job, state, error)
    except BusyError:
        raise
    except Exception:  # noqa: BLE001 - the job ends whatever its service makes of it
        say(f"job {held.job}: {traceback.format_exc()}")
    with project.write() as session:
        if not queue.finish(session, held, state, error):
            return False
    say(f"job {held.job}: {state} {error}".rstrip())
    return True
