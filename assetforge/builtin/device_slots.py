"""Slots of this machine, shared by all films of a user.

A slot is a lock file. Whoever takes it hands the open file to the processes that use the device, and it stays locked for exactly as long as one of them
lives, whatever happens to the supervisors. Films that wait for a slot take turns; each says so in a small file beside the locks.
"""

import fcntl
import json
import os
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from assetforge.durable import storage_error

__all__ = ["DeviceSlots", "Reservation"]

_STALE_S = 5.0
"""A film that has not said for so long that it waits has no turn."""

_SAY_AGAIN_S = 1.0
_FORGOTTEN_S = 7 * 86400.0


class Reservation:
    """A slot that is taken. Closing it gives the slot back, unless other processes hold it by now.

    Args:
        descriptor: The locked file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self._lock = threading.Lock()

    @property
    def descriptor(self) -> int:
        """The open file, to hand on.

        Raises:
            ValueError: It is closed.
        """
        if self._descriptor is None:
            raise ValueError("this reservation was given back")
        return self._descriptor

    def close(self) -> None:
        """Let go; may be called again."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Turn:
    """What a film says about itself; times are epoch seconds, since it is kept over restarts."""

    film: str
    seen: float = 0.0
    served: float = 0.0
    since: float = 0.0
    wants: dict[str, int] = field(default_factory=dict)

    def order(self, slot: str, now: float) -> tuple[int, float, float, str]:
        """The smaller, the sooner; a clock that was set back must not keep a film waiting."""
        return (-self.wants[slot], self.served if self.served <= now else 0.0, self.since, self.film)


class DeviceSlots:
    """Taking slots, in turn.

    Args:
        folder: Where the locks and the turns lie; made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._said: dict[str, _Turn] = {}

    def want(self, film: str, wants: Mapping[str, int]) -> None:
        """Say what a film waits for now; to be repeated every second or so.

        Args:
            film: A name that no other film has.
            wants: Slots that it could use, each with the priority of the job that would go there; empty when it waits for nothing.

        Raises:
            StorageError: The folder cannot be written.
        """
        now, before = time.time(), self._said.get(film)
        if not wants and (before is None or not before.wants):
            return
        if before is not None and dict(wants) == before.wants and 0 <= now - before.seen < _SAY_AGAIN_S:
            return
        known = self._read(self._path(film)) or _Turn(film)
        waited = known.since if known.wants and _is_fresh(known, now) else now
        self._write(_Turn(film, now, known.served, waited, dict(wants)))

    def take(self, film: str, slot: str) -> Reservation | None:
        """Take a slot, unless it is taken or another film has its turn.

        Raises:
            StorageError: The folder cannot be written.
        """
        now = time.time()
        own = self._said.get(film) or _Turn(film)
        if slot in own.wants and any(
            other.order(slot, now) < own.order(slot, now) for other in self._others(film, now) if slot in other.wants
        ):
            return None
        taken = self.lock(film, slot)
        if taken is not None and slot in own.wants:
            self._write(replace(own, seen=now, served=now))
        return taken

    def lock(self, film: str, slot: str) -> Reservation | None:
        """Take a slot out of turn, unless it is taken.

        Raises:
            StorageError: The folder cannot be written.
        """
        path = self._lock_path(slot)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise storage_error(error, path, "opened") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            raise storage_error(error, path, "locked") from error
        with suppress(OSError):
            # For people only: who uses it.
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, film.encode(), 0)
        return Reservation(descriptor)

    def user(self, slot: str) -> str:
        """Which film took a slot last; empty when that is not known."""
        try:
            return self._lock_path(slot).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def _lock_path(self, slot: str) -> Path:
        return self._folder / f"{_file_name(slot)}.lock"

    def _path(self, film: str) -> Path:
        return self._folder / "waiting" / f"{_file_name(film)}.json"

    def _others(self, film: str, now: float) -> list[_Turn]:
        others = []
        for path in (self._folder / "waiting").glob("*.json"):
            turn = self._read(path)
            if turn is None or turn.film == film:
                continue
            if _is_fresh(turn, now):
                others.append(turn)
            elif now - turn.seen > _FORGOTTEN_S:
                path.unlink(missing_ok=True)
        return others

    def _read(self, path: Path) -> _Turn | None:
        try:
            return _Turn(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def _write(self, turn: _Turn) -> None:
        """Replace the file of a film; not synced, since it means nothing after a crash."""
        path = self._path(turn.film)
        temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(asdict(turn)), "utf-8")
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise storage_error(error, path, "written") from error
        self._said[turn.film] = turn


def _is_fresh(turn: _Turn, now: float) -> bool:
    return abs(now - turn.seen) < _STALE_S


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)
