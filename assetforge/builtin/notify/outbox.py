"""Notifications that wait to be sent: one small file each, in the film's folder, until every channel has had it.

The file's time stamp is when something is to be done with it, so that looking whether anything is due opens no file. Whoever changes files that are
there holds the lock; new files may come at any time. They lie in a folder per user, whose name nobody else knows: a film that was copied from somebody
else brings nothing that would be sent from here, and colleagues who share a film do not send each other's.
"""

import contextlib
import errno
import json
import os
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from assetforge.builtin.notify.wording import Notification
from assetforge.durable import storage_error, temporary_beside
from assetforge.paths import ProjectPaths, user_data_dir

__all__ = ["Delivery", "Outbox", "Pause", "Pending"]

_OWNER = re.compile(r"[0-9a-f]{32}\Z")
_LEFTOVER_S = 3600.0


@dataclass(slots=True)
class Delivery:
    """How far one notification is on one channel.

    Attributes:
        tries: How often it was tried.
        not_before: When it may be tried again, in seconds since the epoch.
        problem: Why the last try failed.
    """

    tries: int = 0
    not_before: float = 0.0
    problem: str = ""


@dataclass(slots=True, kw_only=True)
class Pending:
    """A notification that waits.

    Attributes:
        path: Its file.
        notification: What is told.
        queued: Since when, in seconds since the epoch.
        deliveries: The channels that have not had it yet.
    """

    path: Path
    notification: Notification
    queued: float
    deliveries: dict[str, Delivery] = field(default_factory=dict)


@dataclass(slots=True)
class Pause:
    """A channel that is left alone for a while, whatever waits for it.

    Attributes:
        until: In seconds since the epoch.
        failures: How often in a row it failed.
    """

    until: float = 0.0
    failures: int = 0


class Outbox:
    """The notifications of this user, on this machine, about one film.

    Attributes:
        folder: Where the files lie; made by the first :meth:`put`.
    """

    def __init__(self, paths: ProjectPaths) -> None:
        self.folder = paths.outbox / _owner()

    @property
    def lock(self) -> Path:
        """What a sender holds; the folder must exist."""
        return self.folder / ".lock"

    def put(self, notification: Notification, channels: Sequence[str]) -> float:
        """Keep a notification until it was sent.

        Returns:
            When it is due.

        Raises:
            StorageError: It cannot be written.
        """
        try:
            self.folder.parent.mkdir(exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise storage_error(error, self.folder, "made") from error
        now, pauses = time.time(), self.pauses()
        pending = Pending(
            path=self.folder / f"{time.time_ns():020d}-{notification.id}.json",
            notification=notification,
            queued=now,
            deliveries={channel: Delivery() for channel in channels},
        )
        due = min(max(now, pauses.get(channel, Pause()).until) for channel in channels)
        self.save(pending, due)
        return due

    def save(self, pending: Pending, due: float) -> None:
        """Write how far a notification is, and when it is due.

        Raises:
            StorageError: It cannot be written.
        """
        document = {
            "notification": asdict(pending.notification),
            "queued": pending.queued,
            "deliveries": {name: asdict(one) for name, one in pending.deliveries.items()},
        }
        _replace(pending.path, document, due)

    def next_due(self) -> float | None:
        """When there is something to do, in seconds since the epoch; ``None`` when nothing waits."""
        times: list[float] = []
        # The folder was never made, or a sender is just removing a file and looks again by itself.
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            times.extend(entry.stat().st_mtime for entry in entries if entry.name.endswith(".json"))
        return min(times, default=None)

    def pending(self) -> tuple[list[Pending], list[Path]]:
        """What waits, oldest first, and files that cannot be read."""
        found, unreadable = [], []
        for path in sorted(self.folder.glob("*.json")):
            try:
                found.append(_parsed(path))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, TypeError, KeyError, AttributeError):
                unreadable.append(path)
        return found, unreadable

    def pauses(self) -> dict[str, Pause]:
        """The channels that are left alone."""
        try:
            document = json.loads((self.folder / ".pauses").read_bytes())
            return {str(name): Pause(**one) for name, one in document.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def save_pauses(self, pauses: Mapping[str, Pause]) -> None:
        """Remember the channels that are left alone.

        Raises:
            StorageError: They cannot be written.
        """
        _replace(self.folder / ".pauses", {name: asdict(one) for name, one in pauses.items()}, time.time())

    def tidy(self) -> None:
        """Remove half-written files that killed processes left behind."""
        for path in self.folder.glob(".new-*"):
            try:
                if path.stat().st_mtime < time.time() - _LEFTOVER_S:
                    path.unlink()
            except OSError:
                continue


def _parsed(path: Path) -> Pending:
    document = json.loads(path.read_bytes())
    return Pending(
        path=path,
        notification=Notification(**document["notification"]),
        queued=float(document["queued"]),
        deliveries={str(name): Delivery(**one) for name, one in document["deliveries"].items()},
    )


def _replace(path: Path, document: Mapping[str, Any], stamp: float) -> None:
    # Without fsync: telling somebody must cost the caller next to nothing, and after a power cut there is other news.
    try:
        data = json.dumps(document).encode()
        with temporary_beside(path) as (descriptor, temporary):
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.utime(descriptor, (stamp, stamp))
            temporary.replace(path)
    except OSError as error:
        raise storage_error(error, path, "written") from error


def _owner() -> str:
    """A random name of this user on this machine, made at the first use."""
    path = user_data_dir() / "notify-id"
    try:
        if path.exists():
            known = path.read_text("ascii", errors="replace")
            if _OWNER.match(known):
                return known
            path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_beside(path) as (descriptor, temporary):
            os.write(descriptor, uuid.uuid4().hex.encode())
            os.fsync(descriptor)
            # A link, since of two processes that do this at once both must end up with the name of the first.
            os.link(temporary, path)
    except FileExistsError:
        return _owner()
    except OSError as error:
        raise storage_error(error, path, "written") from error
    return path.read_text("ascii")
