"""What keeps jobs from starting, and what ends them early: too little space, and no sign of life."""

import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from assetforge import agent
from assetforge.errors import ConfigError
from assetforge.services.project_config import QueueConfig
from assetforge.services.projects import Project

__all__ = ["EarlyEnd", "LifeSigns", "QueueGuard", "free_bytes", "read_early_end", "write_early_end"]

_GB = 10**9


def free_bytes(folder: Path) -> int:
    """Space that this user may still fill on the filesystem of a folder."""
    return shutil.disk_usage(folder).free


class QueueGuard:
    """``[queue]`` of a film as it is now, and whether the disk has the space that it asks for.

    Args:
        project: The film.
        probe: Free bytes of a folder.
        every_s: Seconds for which a look holds.
    """

    def __init__(self, project: Project, probe: Callable[[Path], int] = free_bytes, every_s: float = 2.0) -> None:
        self._project, self._probe, self._every_s = project, probe, every_s
        self._limits = QueueConfig()
        self._next_look = 0.0
        self._free: int | None = None

    def limits(self) -> QueueConfig:
        """What the film asks for; while ``project.toml`` cannot be read, what was known, else the defaults."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + self._every_s
            with suppress(ConfigError):
                self._limits = self._project.config.queue
            try:
                self._free = self._probe(self._project.paths.private)
            except OSError:
                # A mount that does not answer says nothing about space.
                self._free = None
        return self._limits

    def why_not_start(self) -> str:
        """Why no job may start now, in one sentence; empty when there is space."""
        return self._judge(self.limits().min_free_gb, "jobs start again at")

    def why_stop(self) -> str:
        """Why running jobs have to save and stop, in one sentence; empty while there is space."""
        limits = self.limits()
        return self._judge(limits.min_free_gb / 2, "it was stopped below", limits.min_free_gb)

    def _judge(self, least_gb: float, what: str, back_at: float = 0.0) -> str:
        if self._free is None or self._free >= least_gb * _GB:
            return ""
        then = f" and goes on at {back_at:g} GB" if back_at else ""
        return (
            f"Only {self._free / _GB:.1f} GB are free where {self._project.root} lies; {what} {least_gb:g} GB{then} "
            "(min_free_gb in project.toml). Free some space; `assetforge gc` may help."
        )


class LifeSigns:
    """Notices when an attempt falls silent: its agent (no heartbeat) or its child (no event).

    Times are measured by this process while it looks, so that a machine that slept has not fallen silent.

    Args:
        workdir: The work folder, or the local mirror of it.
        heartbeat: The agent's heartbeat is kept here; a mirror has only events.
    """

    def __init__(self, workdir: Path, *, heartbeat: bool) -> None:
        self._workdir, self._heartbeat = workdir, heartbeat
        self._event: tuple[int, int] | None = None
        self._beat: float | None = None
        self.forget()

    def forget(self) -> None:
        """Begin anew: nothing was known about the attempt until now, or it waits in somebody else's queue."""
        self._event_at = self._beat_at = time.monotonic()

    def why_stuck(self, limit_s: float) -> str:
        """Look, and say in one sentence who has been silent for ``limit_s`` seconds; empty when nobody was, and for a limit of 0."""
        now = time.monotonic()
        event = self._newest_event()
        if event != self._event:
            self._event, self._event_at = event, now
        beat = agent.read_json(self._workdir / "status.json").get("heartbeat") if self._heartbeat else None
        if not self._heartbeat or beat != self._beat:
            self._beat, self._beat_at = beat, now
        if not limit_s:
            return ""
        beat_limit_s = max(limit_s, 2 * agent.HEARTBEAT_S)
        if now - self._beat_at >= beat_limit_s:
            return f"Stuck: its agent gave no sign of life for {_spoken(beat_limit_s)}."
        if now - self._event_at >= limit_s:
            return f"Stuck: it said nothing for {_spoken(limit_s)}."
        return ""

    def _newest_event(self) -> tuple[int, int] | None:
        try:
            found = (self._workdir / "events.jsonl").stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns


def _spoken(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds:g} seconds"


@dataclass(frozen=True, slots=True)
class EarlyEnd:
    """Why a supervisor ends an attempt that nobody cancelled.

    Attributes:
        outcome: ``interrupted`` when the work was in order, ``lost`` when it was stuck.
        error: The reason, for people.
    """

    outcome: str
    error: str


def write_early_end(workdir: Path, attempt: int, end: EarlyEnd) -> None:
    """Note in the work folder why an attempt is ended, so that whoever finds it ended knows that it is to be tried again.

    Raises:
        OSError: It could not be written.
    """
    path = _early_end_file(workdir, attempt)
    path.parent.mkdir(exist_ok=True)
    agent.write_atomic(path, json.dumps(asdict(end)).encode())


def read_early_end(workdir: Path, attempt: int) -> EarlyEnd | None:
    """What :func:`write_early_end` noted about an attempt."""
    noted = agent.read_json(_early_end_file(workdir, attempt))
    return EarlyEnd(str(noted["outcome"]), str(noted["error"])) if noted else None


def _early_end_file(workdir: Path, attempt: int) -> Path:
    return workdir / "control" / f"end-{attempt}.json"
