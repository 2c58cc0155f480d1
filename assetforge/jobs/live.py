"""A run as it goes: curves, speed, time left and pictures, read from its events as they come. The same for runs that ended long ago, whose events are kept.

Only what was written since the last look is read, and of that only whole lines. An attempt that goes on from a checkpoint, or starts over, takes back the points that came after it.
"""

import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sqlmodel import select

from assetforge import agent
from assetforge.db.models_jobs import Job
from assetforge.domain.curves import Curve, Series
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.errors import NotFoundError
from assetforge.services.projects import Project

__all__ = ["LiveRun", "LiveUpdate", "Sample"]

_CHUNK = 1 << 20
_MOST_BYTES = 2 << 20
_TAIL = 64
_MOST_SAMPLES = 200
_MOST_METRICS = 16
_METRIC_POINTS = 500
_SPEED_S = 120.0
"""Speed for the time left is taken from the last so many seconds: what came before may have been another picture size."""
_VALIDATION = "validation_loss"
_NOTHING = Series()


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture that a run made.

    Attributes:
        path: The file.
        prompt: What it is to show; empty when the engine did not say.
        step: Of a training: after how many steps.
    """

    path: Path
    prompt: str = ""
    step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveUpdate:
    """What is known of a run now.

    Attributes:
        state: State of its job.
        error: Why it failed, why the last attempt did, or what a queued one waits for.
        attempt: Number of the attempt that the newest events are of; 0 before the first.
        resumed_from: Step that this attempt went on from; 0 when it began from nothing.
        step: Last step that was reported.
        total: Steps there are; 0 while that is unknown.
        loss: Training loss.
        validation: Validation loss.
        learning_rate: Learning rate.
        speed: Steps (of renders: pictures) per second.
        memory: Memory in MB.
        metrics: Other figures by name, at most 16 of them.
        eta_s: Seconds that are left; ``None`` when nothing is known or the run is not running.
        checkpoint: Step of the last committed checkpoint; ``None`` before the first.
        samples: The newest pictures that it made, oldest first, at most 200; those that are not there any more are left out.
        said: The last thing that it said.
        changed: Something of this differs from the update before.
        more: There was more to read than one look takes; ask again.
    """

    state: str
    error: str = ""
    attempt: int = 0
    resumed_from: int = 0
    step: int = 0
    total: int = 0
    loss: Series = _NOTHING
    validation: Series = _NOTHING
    learning_rate: Series = _NOTHING
    speed: Series = _NOTHING
    memory: Series = _NOTHING
    metrics: Mapping[str, Series] = field(default_factory=dict)
    eta_s: float | None = None
    checkpoint: int | None = None
    samples: tuple[Sample, ...] = ()
    said: str = ""
    changed: bool = True
    more: bool = False

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps of the loss curve."""
        return self.loss.steps

    @property
    def losses(self) -> tuple[float, ...]:
        """Values of the loss curve."""
        return self.loss.values

    @property
    def it_per_s(self) -> float | None:
        """Steps per second, as reported last."""
        return self.speed.last

    @property
    def memory_mb(self) -> float | None:
        """Memory in MB, as reported last."""
        return self.memory.last

    @property
    def is_over(self) -> bool:
        """It has ended; nothing more comes unless somebody resumes it."""
        return self.state not in OPEN_JOB_STATES


class LiveRun:
    """Follows one job; ask :meth:`read` again and again, in one thread at a time.

    Args:
        project: The film.
        job_id: Row id of the job, of whatever kind.
    """

    def __init__(self, project: Project, job_id: int) -> None:
        self._project, self.job_id = project, job_id
        self.folder = project.paths.job(job_id)
        self._before: tuple[str, str] | None = None
        self._forget()

    def read(self, *, most_bytes: int = _MOST_BYTES) -> LiveUpdate:
        """Read what was written since the last time; never waits for the job.

        Args:
            most_bytes: How much of the events is read at one look, about 2 MiB by default, which are some 15,000 events.

        Raises:
            NotFoundError: There is no such job.
        """
        # The state first: whatever it says was preceded by the lines that are read next.
        state, error = self._state()
        known, more = self._read_events(most_bytes)
        changed = known or (state, error) != self._before
        self._before = state, error
        return LiveUpdate(
            state=state,
            error=error,
            attempt=self._attempt,
            resumed_from=self._resumed_from,
            step=self._step,
            total=self._total,
            loss=self._curves["loss"].series(),
            validation=self._curves[_VALIDATION].series(),
            learning_rate=self._curves["lr"].series(),
            speed=self._curves["it_s"].series(),
            memory=self._curves["memory_mb"].series(),
            metrics={name: curve.series() for name, curve in self._metrics.items()},
            eta_s=self._eta() if state == "running" else None,
            checkpoint=self._checkpoint,
            samples=tuple(sample for sample in self._samples if sample.path.is_file()),
            said=self._said,
            changed=changed,
            more=more,
        )

    def _forget(self) -> None:
        self._cursor, self._tail = 0, b""
        self._attempt = self._resumed_from = self._step = self._total = 0
        self._curves = {name: Curve() for name in ("loss", _VALIDATION, "lr", "it_s", "memory_mb")}
        self._metrics: dict[str, Curve] = {}
        self._checkpoint: int | None = None
        self._samples: deque[Sample] = deque(maxlen=_MOST_SAMPLES)
        self._said = ""
        self._pace: deque[tuple[float, int]] = deque(maxlen=1_000)

    def _state(self) -> tuple[str, str]:
        with self._project.read() as session:
            row = session.exec(select(Job.state, Job.error).where(Job.id == self.job_id)).first()
        if row is None:
            raise NotFoundError(f"There is no job {self.job_id}.", hint="`assetforge jobs list` shows what there is.")
        return row

    def _read_events(self, most_bytes: int) -> tuple[bool, bool]:
        """Whether anything was new, and whether there is more."""
        try:
            with (self.folder / "events.jsonl").open("rb") as stream:
                if not self._goes_on(stream):
                    self._forget()
                begin = self._cursor
                while self._cursor - begin < most_bytes:
                    stream.seek(self._cursor)
                    chunk = stream.read(_CHUNK)
                    whole = chunk[: chunk.rfind(b"\n") + 1]
                    if not whole and len(chunk) == _CHUNK:
                        # No line of ours is that long; what is left of it will be no JSON either.
                        whole = chunk
                    if not whole:
                        return self._cursor > begin, False
                    for line in whole.splitlines():
                        self._take(agent.parse(line))
                    self._cursor += len(whole)
                    self._tail = whole[-_TAIL:]
                return True, bool(stream.read(1))
        except FileNotFoundError:
            # Not begun yet, or the folder was cleaned up; what was read stays known.
            return False, False

    def _goes_on(self, stream: Any) -> bool:
        """Whether the file begins with what was read of it: those of jobs elsewhere are copied anew when another supervisor takes over."""
        stream.seek(self._cursor - len(self._tail))
        return bool(stream.read(len(self._tail)) == self._tail)

    def _take(self, event: Mapping[str, Any]) -> None:
        match event.get("kind"):
            case "progress":
                self._take_progress(event)
            case "metric":
                self._take_metric(event)
            case "started":
                self._take_start(event)
            case "checkpoint":
                self._checkpoint = _whole(event.get("step"), self._checkpoint)
            case "sample":
                self._take_sample(event)
            case "log":
                self._said = str(event.get("message", ""))
            case "failed" | "interrupted":
                self._said = str(event.get("error", ""))
            case _:
                pass

    def _take_start(self, event: Mapping[str, Any]) -> None:
        self._attempt = _whole(event.get("attempt"), self._attempt) or 0
        self._resumed_from = self._step = _whole(event.get("resumed_from"), 0) or 0
        for curve in (*self._curves.values(), *self._metrics.values()):
            curve.cut(self._resumed_from)
        self._pace.clear()

    def _take_progress(self, event: Mapping[str, Any]) -> None:
        self._step = _whole(event.get("step"), self._step) or 0
        self._total = _whole(event.get("total"), self._total) or 0
        self._attempt = _whole(event.get("attempt"), self._attempt) or 0
        for name in ("loss", "lr", "it_s", "memory_mb"):
            value = _figure(event.get(name))
            if value is not None:
                self._curves[name].add(self._step, value)
        at = _figure(event.get("t"))
        if at is not None:
            self._pace.append((at, self._step))
            while len(self._pace) > 2 and at - self._pace[0][0] > _SPEED_S:
                self._pace.popleft()

    def _take_metric(self, event: Mapping[str, Any]) -> None:
        name, value = str(event.get("name", "")), _figure(event.get("value"))
        step = _whole(event.get("step"), self._step) or 0
        if value is None:
            return
        if name in self._curves:
            self._curves[name].add(step, value)
        elif name in self._metrics or len(self._metrics) < _MOST_METRICS:
            self._metrics.setdefault(name, Curve(_METRIC_POINTS)).add(step, value)

    def _take_sample(self, event: Mapping[str, Any]) -> None:
        if self._step == self._resumed_from:
            # What is drawn before the first step says nothing of how long steps take.
            self._pace.clear()
        file = str(event.get("file", ""))
        path = PurePosixPath(file)
        if file and not path.is_absolute() and ".." not in path.parts:
            self._samples.append(
                Sample(self.folder / path, str(event.get("prompt", "")), _whole(event.get("step"), None))
            )

    def _eta(self) -> float | None:
        if not self._total or len(self._pace) < 2:
            return None
        (began, first), (now, last) = self._pace[0], self._pace[-1]
        if last <= first or now <= began:
            return None
        left = (self._total - last) * (now - began) / (last - first)
        return max(0.0, left - max(0.0, time.time() - now))


def _figure(value: Any) -> float | None:
    # Truth values are not figures.
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None


def _whole(value: Any, otherwise: int | None) -> int | None:
    return value if type(value) is int else otherwise
