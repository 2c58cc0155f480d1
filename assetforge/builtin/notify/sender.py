"""Sends what lies in the outbox of a film, as often as it takes: ``python -m assetforge.builtin.notify.sender FILM``.

A short-lived process in the background, one per outbox. It ends when nothing is left, or nothing is due soon; then the next event, the watcher or the
supervisor starts another one. Killed in the middle, it leaves the file of what it was sending, which the next one sends again under the same id.
"""

import fcntl
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from assetforge.builtin.notify.channels import send
from assetforge.builtin.notify.listener import HOLDS_LOCK
from assetforge.builtin.notify.outbox import Delivery, Outbox, Pause, Pending
from assetforge.builtin.notify.settings import NotifyConfig, load_notify_settings
from assetforge.builtin.notify.webhook import Outcome
from assetforge.durable import locked
from assetforge.errors import AssetForgeError, BusyError, StorageError
from assetforge.paths import ProjectPaths

__all__ = ["log_file", "main", "send_due", "work"]

PATIENCE_S = 30.0
"""A sender waits for what is due within so many seconds."""

MOST_TRIES = 40
LONGEST_WAIT_S = 24 * 3600.0
MOST_PENDING = 1000

_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 3600.0
_LONGEST_PAUSE_S = 60.0
_LOG_SIZE = 1_000_000


def log_file(paths: ProjectPaths) -> Path:
    """Where senders write what went wrong, and what the user's command printed."""
    return paths.logs / "notify.log"


def work(paths: ProjectPaths) -> None:
    """Send until nothing is left or due soon; do nothing when somebody else does so already.

    Looks again after letting go of the lock, since who added something meanwhile started no sender.
    """
    outbox = Outbox(paths)
    while outbox.folder.is_dir():
        try:
            with locked(outbox.lock, wait=False):
                _until_quiet(outbox, paths)
        except BusyError:
            return
        if not _due_soon(outbox):
            return


def _until_quiet(outbox: Outbox, paths: ProjectPaths) -> None:
    outbox.tidy()
    while _due_soon(outbox):
        send_due(outbox, load_notify_settings(), paths)
        if _due_soon(outbox):
            time.sleep(min(max((outbox.next_due() or 0.0) - time.time(), 0.01), 0.5))


def _due_soon(outbox: Outbox) -> bool:
    due = outbox.next_due()
    return due is not None and due <= time.time() + PATIENCE_S


def send_due(outbox: Outbox, settings: NotifyConfig, paths: ProjectPaths) -> None:
    """Try everything that is due, once. The caller holds the outbox's lock."""
    waiting, unreadable = outbox.pending()
    for path in unreadable:
        _log(paths, f"{path.name} cannot be read; dropped")
        path.unlink(missing_ok=True)
    for pending in waiting[:-MOST_PENDING]:
        _log(paths, f"{_about(pending)}: more than {MOST_PENDING} wait; dropped")
        pending.path.unlink(missing_ok=True)
    looked_after = _Round(outbox, settings, paths, outbox.pauses())
    for pending in waiting[-MOST_PENDING:]:
        for channel in list(pending.deliveries):
            looked_after.attend(pending, channel)
        looked_after.put_back(pending)


@dataclass(frozen=True, slots=True)
class _Round:
    outbox: Outbox
    settings: NotifyConfig
    paths: ProjectPaths
    pauses: dict[str, Pause]

    def attend(self, pending: Pending, channel: str) -> None:
        """Try one notification on one channel if it is due; what is done with, one way or the other, leaves its deliveries."""
        now, delivery = time.time(), pending.deliveries[channel]
        if now >= pending.queued + LONGEST_WAIT_S:
            del pending.deliveries[channel]
            reason = delivery.problem or "not set up"
            _log(self.paths, f"{_about(pending)}: not sent by {channel} for a day ({reason}); dropped")
        elif channel in self.settings.channels and now >= self._next_try(channel, delivery):
            outcome = send(channel, pending.notification, self.settings)
            if outcome.output:
                _log(self.paths, f"{_about(pending)}: {channel} printed:\n{outcome.output}")
            if outcome.again and delivery.tries + 1 < MOST_TRIES:
                self._try_later(pending, channel, outcome)
            else:
                del pending.deliveries[channel]
                self.pauses.pop(channel, None)
                if outcome.problem:
                    _log(self.paths, f"{_about(pending)}: {channel}: {outcome.problem}; dropped")
            self._remember(pending)

    def _remember(self, pending: Pending) -> None:
        """Write down how far it is. Where that is not possible, what is done with is removed all the same: it must not be sent again for ever."""
        try:
            if pending.deliveries:
                self.outbox.save(pending, time.time())
            else:
                pending.path.unlink(missing_ok=True)
            if self.pauses != self.outbox.pauses():
                self.outbox.save_pauses(self.pauses)
        except StorageError as error:
            _log(self.paths, f"{_about(pending)}: {error}")

    def _try_later(self, pending: Pending, channel: str, outcome: Outcome) -> None:
        delivery, failures = pending.deliveries[channel], self.pauses.get(channel, Pause()).failures + 1
        delivery.tries += 1
        delivery.problem = outcome.problem
        wait_s, pause_s = outcome.after_s, outcome.after_s
        if wait_s is None or pause_s is None:
            wait_s, pause_s = _back_off(delivery.tries, _LONGEST_RETRY_S), _back_off(failures, _LONGEST_PAUSE_S)
        delivery.not_before = time.time() + wait_s
        # The others would fail as well, and each would cost its time limit.
        self.pauses[channel] = Pause(time.time() + pause_s, failures)
        text = f"{channel}: {outcome.problem}; try {delivery.tries}, next in {wait_s:.0f} s"
        _log(self.paths, f"{_about(pending)}: {text}")

    def put_back(self, pending: Pending) -> None:
        """Note when something is to be done with it again, or remove it."""
        if not pending.deliveries:
            pending.path.unlink(missing_ok=True)
            return
        expiry = pending.queued + LONGEST_WAIT_S
        times = (
            self._next_try(channel, delivery)
            for channel, delivery in pending.deliveries.items()
            if channel in self.settings.channels
        )
        due = min((*times, expiry))
        os.utime(pending.path, (due, due))

    def _next_try(self, channel: str, delivery: Delivery) -> float:
        return max(delivery.not_before, self.pauses.get(channel, Pause()).until)


def _back_off(failures: int, longest: float) -> float:
    return min(_FIRST_RETRY_S * 2.0 ** min(failures - 1, 30), longest)


def _about(pending: Pending) -> str:
    return f"{pending.notification.event} {pending.notification.id[:8]}"


def _log(paths: ProjectPaths, text: str) -> None:
    path = log_file(paths)
    # Telling people goes before telling the log, which a full disk does not take.
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        if path.exists() and path.stat().st_size > _LOG_SIZE:
            path.replace(path.with_suffix(".log.1"))
        with path.open("a", encoding="utf-8", errors="replace") as stream:
            stream.write(f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}\n")


def main() -> int:
    """Work on the film that the command line names."""
    paths = ProjectPaths(Path(sys.argv[1]))
    try:
        if HOLDS_LOCK in sys.argv:
            _until_quiet(Outbox(paths), paths)
            fcntl.flock(sys.stdin, fcntl.LOCK_UN)
        work(paths)
    except (AssetForgeError, OSError) as error:
        if not paths.private.is_dir():
            # The film was moved or deleted meanwhile.
            return 0
        _log(paths, str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
