"""``assetforge work`` without a terminal: a detached process with a pid file and a log in the film's ``logs`` folder."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from assetforge.errors import BusyError, JobError, NotFoundError
from assetforge.jobs.background import supervisor_is_here
from assetforge.services.projects import Project

__all__ = ["daemon_pid", "start_daemon", "stop_daemon"]

_START_LIMIT_S = 30.0
_STOP_LIMIT_S = 45.0

# The process must not be a child of the one that asked for it, so a short-lived one starts it and ends.
_STARTER = """
import subprocess, sys
log, lock, *command = sys.argv[1:]
with open(log, "ab") as said:
    daemon = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True, pass_fds=[int(lock)]
    )
print(daemon.pid)
"""


def start_daemon(project: Project, words: Sequence[str] = ()) -> int:
    """Start ``assetforge work`` for a film in the background; it works until :func:`stop_daemon` or SIGTERM.

    The lock on the pid file goes to the process, so that it is held for exactly as long as that lives.

    Args:
        project: The film.
        words: Further words after ``work``.

    Returns:
        Its process id.

    Raises:
        BusyError: There is one already.
        JobError: It ended at once.
    """
    project.paths.logs.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(_pid_file(project), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"A daemon works on {project.name} already: process {daemon_pid(project) or 'unknown'}.",
                hint="`assetforge work --stop` ends it; its jobs go on.",
            ) from error
        # Empty until the process is known: an old number may be somebody else's by now.
        os.ftruncate(descriptor, 0)
        command = [sys.executable, "-P", "-m", "assetforge", "--project", str(project.root), "work", *words]
        log = project.paths.logs / "work.log"
        starter = [sys.executable, "-P", "-S", "-c", _STARTER, str(log), str(descriptor), *command]
        done = subprocess.run(
            starter, pass_fds=[descriptor], cwd=project.root, capture_output=True, text=True, check=True
        )
        os.pwrite(descriptor, done.stdout.strip().encode() + b"\n", 0)
    finally:
        os.close(descriptor)
    return _wait_for_start(project, int(done.stdout), log)


def _wait_for_start(project: Project, pid: int, log: Path) -> int:
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline:
        if not daemon_pid(project):
            last = " ".join(log.read_text("utf-8", "replace").split("\n")[-3:]).strip()
            raise JobError(f"The daemon for {project.name} ended at once: {last or 'it said nothing'}")
        if supervisor_is_here(project):
            break
        time.sleep(0.05)
    return pid


def daemon_pid(project: Project) -> int:
    """Process id of the film's daemon; 0 when there is none."""
    try:
        descriptor = os.open(_pid_file(project), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return 0
        said = os.pread(descriptor, 32, 0).split()
    finally:
        os.close(descriptor)
    return int(said[0]) if said and said[0].isdigit() else 0


def stop_daemon(project: Project) -> int:
    """Ask the film's daemon to end, and wait until it has; running jobs go on.

    Returns:
        The process id that it had.

    Raises:
        NotFoundError: There is none.
        JobError: It did not end.
    """
    pid = daemon_pid(project)
    if not pid:
        raise NotFoundError(f"No daemon works on {project.name}.", hint="`assetforge work --daemon` starts one.")
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_LIMIT_S
    while daemon_pid(project) == pid:
        if time.monotonic() >= deadline:
            raise JobError(
                f"The daemon for {project.name} (process {pid}) does not end.", hint=f"`kill -9 {pid}` does."
            )
        time.sleep(0.05)
    return pid


def _pid_file(project: Project) -> Path:
    return project.paths.logs / "work.pid"
