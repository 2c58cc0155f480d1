"""Hears events and puts into the outbox what the user wants to be told. Costs next to nothing, never waits, never raises."""

import fcntl
import logging
import os
import sys
import time
from typing import TYPE_CHECKING

from assetforge.api.events import Event
from assetforge.errors import AssetForgeError
from assetforge.paths import ProjectPaths, user_config_file

if TYPE_CHECKING:
    from assetforge.builtin.notify.outbox import Outbox

__all__ = ["HOLDS_LOCK", "deliver_pending", "hear"]

_log = logging.getLogger("assetforge.notify")

_started: list[int] = []

HOLDS_LOCK = "--holds-lock"
"""Tells a sender that its standard input is the outbox's lock, held for it."""


def hear(event: Event) -> None:
    """Keep what the user wants to be told about an event, and see to it that somebody sends it."""
    if not _anything_set():
        return
    try:
        _keep(event)
    except (AssetForgeError, OSError) as error:
        _log.warning("Nobody is told about %s: %s", type(event).__name__, error)


def deliver_pending(paths: ProjectPaths) -> bool:
    """See to it that notifications which wait are sent, in the background; never waits, never raises.

    Call it now and then from whatever lives long. It costs one look into a folder unless something is due.

    Args:
        paths: The film.

    Returns:
        Whether a sender was started.
    """
    if not paths.outbox.is_dir():
        return False
    from assetforge.builtin.notify.outbox import Outbox
    from assetforge.builtin.notify.settings import load_notify_settings

    try:
        outbox = Outbox(paths)
        due = outbox.next_due()
        if due is None or due > time.time():
            return False
        # A sender would fail on settings that cannot be read, and would be started over and over.
        load_notify_settings()
        return _start_sender(outbox, paths)
    except (AssetForgeError, OSError) as error:
        _log.warning("The notifications of %s wait: %s", paths.root, error)
        return False


def _anything_set() -> bool:
    """Whether it is worth while to read the settings at all, which costs imports."""
    return any(name.upper().startswith("ASSETFORGE_NOTIFY__") for name in os.environ) or user_config_file().exists()


def _keep(event: Event) -> None:
    from assetforge.builtin.notify.settings import event_name, load_notify_settings

    settings = load_notify_settings()
    if not settings.channels or not settings.wants(event_name(type(event))):
        return
    from assetforge.builtin.notify.outbox import Outbox
    from assetforge.builtin.notify.wording import Notification

    paths = ProjectPaths(event.project)
    outbox = Outbox(paths)
    due = outbox.put(Notification.of(event), settings.channels)
    if due <= time.time():
        _start_sender(outbox, paths)


def _start_sender(outbox: "Outbox", paths: ProjectPaths) -> bool:
    """Start a sender that holds the outbox's lock from its first moment on, so that a burst of events starts one and not many."""
    _started[:] = [sender for sender in _started if _runs(sender)]
    lock = os.open(outbox.lock, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        paths.logs.mkdir(exist_ok=True)
        _started.append(_spawn(paths, lock))
    except BlockingIOError:
        # Whoever holds it looks again after letting go.
        return False
    finally:
        os.close(lock)
    return True


def _spawn(paths: ProjectPaths, lock: int) -> int:
    # -P: without it Python would import from the current folder first, and a film could bring code that looks like a library.
    words = [sys.executable, "-P", "-m", "assetforge.builtin.notify.sender", str(paths.root), HOLDS_LOCK]
    log = str(paths.logs / "notify.log")
    # Not subprocess: it would complain about a child that still runs when it is forgotten.
    return os.posix_spawn(
        sys.executable,
        words,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, lock, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def _runs(process: int) -> bool:
    """Whether a sender of this process still runs; one that ended is taken off the system's list of processes."""
    try:
        return os.waitpid(process, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False
