#!/usr/bin/env python3
"""Runs a bundle on whatever machine it finds itself; travels with it. Standard library only, Python 3.8 or newer.

A work folder holds ``job.json`` and ``manifest.jsonl`` (what to run, and the hash of every input), and has exactly one writer at a time: ``agent.lock`` is
locked by the agent and inherited by the child, so that it stays locked for as long as either lives; ``--keep`` hands on further locks in the same way. The
fact of success is ``result.json``, which the child writes last; exit codes prove nothing. A cancelled attempt has a marker ``control/cancel-<attempt>``; a
bare SIGTERM means interrupted, and resumable. ``status.json`` says what the agent last knew, ``status`` what is true now: ``orphaned`` when the agent died
and the child lives, ``lost`` when both are gone without a result.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import fcntl
import hashlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Iterator  # noqa: UP035 - Python 3.8

TRY_AGAIN = 75
RUNNING_STATES = ("starting", "running", "orphaned")
FINAL_STATES = ("succeeded", "failed", "cancelled", "interrupted", "lost")
HEARTBEAT_S = 5.0
UNRESPONSIVE_S = 5.0
POLL_S = 0.1
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
EXIT_CODES = {"succeeded": 0, "failed": 1, "cancelled": 130, "interrupted": TRY_AGAIN}


def boot_id() -> str:
    """What changes with every boot, so that a process id of yesterday is never mistaken for one of today."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        done = subprocess.run(["sysctl", "-n", "kern.boottime"], capture_output=True, text=True, check=False)
        return done.stdout.strip()


def start_time(pid: int) -> str:
    """When a process started, in whatever unit the system counts; empty when it is gone or a zombie."""
    if Path("/proc/self/stat").exists():
        fields = _stat_fields(pid)
        return fields[19] if fields and fields[0] not in "ZXx" else ""
    done = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = done.stdout.strip().partition(" ")
    return started.strip() if state and not state.startswith("Z") else ""


def _stat_fields(pid: int) -> list[str]:
    """Fields of ``/proc/<pid>/stat`` after the name: state, parent, group, session ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return []


def identify(pid: int) -> dict[str, Any]:
    """A process, told apart from later ones with the same number."""
    return {"pid": pid, "start": start_time(pid), "boot": boot_id()}


def is_alive(process: dict[str, Any] | None) -> bool:
    """Whether that very process still runs on this machine; a zombie does not."""
    if not process or not process.get("start") or process.get("boot") != boot_id():
        return False
    return bool(start_time(int(process["pid"])) == process["start"])


def survivors(child: dict[str, Any] | None, workdir: Path) -> list[int]:
    """Living processes of the child's session that work in this folder; a leader that was killed may leave some behind."""
    if not child or child.get("boot") != boot_id() or not Path("/proc/self/stat").exists():
        return [int(child["pid"])] if child and is_alive(child) else []
    session, found, inside = str(child["pid"]), [], str(workdir.resolve())
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        fields = _stat_fields(int(entry.name))
        if not fields or fields[3] != session or fields[0] in "ZXx":
            continue
        try:
            where = os.readlink(f"/proc/{entry.name}/cwd")  # noqa: PTH115 - pathlib has it since 3.9
        except OSError:
            continue
        if where == inside or where.startswith(inside + os.sep) or is_alive(child):
            found.append(int(entry.name))
    return found


def stop_session(child: dict[str, Any], workdir: Path, grace_s: float) -> None:
    """Ask everything in the child's session to stop, and kill what has not after ``grace_s`` seconds."""
    deadline = time.monotonic() + grace_s
    _signal(survivors(child, workdir), signal.SIGTERM)
    while survivors(child, workdir) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    for _ in range(50):
        left = survivors(child, workdir)
        if not left:
            return
        _signal(left, signal.SIGKILL)
        time.sleep(POLL_S)


def _signal(pids: list[int], number: int) -> None:
    """Signal processes, and groups by the negative number of their leader."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            # Gone; macOS answers EPERM for a group of which only zombies are left.
            continue


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty when it is missing or damaged."""
    try:
        return parse(path.read_bytes())
    except OSError:
        return {}


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError:
        if temporary.exists():
            temporary.unlink()
        raise


def cancel_marker(workdir: Path, attempt: int) -> Path:
    """The file that says that an attempt is cancelled."""
    return workdir / "control" / f"cancel-{attempt}"


def take_lock(workdir: Path) -> int | None:
    """The descriptor of the held lock, or ``None`` when another writer has it."""
    descriptor = os.open(str(workdir / "agent.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def place_of(workdir: Path) -> str:
    """What tells a work folder from a copy of it."""
    found = workdir.stat()
    return f"{found.st_dev}:{found.st_ino}"


def own_status(workdir: Path) -> dict[str, Any]:
    """``status.json``; in a folder that was copied with it, the processes belong to the original."""
    status = read_json(workdir / "status.json")
    if status.get("place") and status["place"] != place_of(workdir):
        status.update(agent=None, child=None)
    return status


def read_status(workdir: Path) -> dict[str, Any]:
    """What is true now: ``status.json``, corrected by what the system knows. ``state`` is empty before the first attempt."""
    status = own_status(workdir)
    state = status.get("state", "")
    if (workdir / "result.json").is_file():
        state = "succeeded"
    elif state == "succeeded":
        state = "lost"
    elif state in RUNNING_STATES and not is_alive(status.get("agent")):
        lock = take_lock(workdir)
        if lock is not None:
            os.close(lock)
        writing = lock is None or is_alive(status.get("child"))
        # The result may have been written, or a new agent have begun, between the two looks.
        again = own_status(workdir)
        if again.get("agent") != status.get("agent") or (workdir / "result.json").is_file():
            return read_status(workdir)
        state = "orphaned" if writing else "lost"
    return dict(status, state=state)


def read_lines(workdir: Path, cursor: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines of ``events.jsonl`` from byte ``cursor`` on, each with the byte after it."""
    path = workdir / "events.jsonl"
    if path.is_file():
        with path.open("rb") as stream:
            stream.seek(cursor)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                cursor += len(line)
                yield cursor, line


def read_events(workdir: Path, cursor: int, limit: int = 10_000) -> tuple[list[dict[str, Any]], int]:
    """At most ``limit`` events after byte ``cursor``, and the byte after the last of them; lines that are no JSON object are passed over."""
    lines = list(itertools.islice(read_lines(workdir, cursor), limit))
    events = [event for _, line in lines for event in [parse(line)] if event]
    return events, lines[-1][0] if lines else cursor


def parse(data: bytes) -> dict[str, Any]:
    """A JSON object; empty when it is damaged or something else."""
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def append_event(workdir: Path, event: dict[str, Any] | None) -> None:
    """Append one line, after ending the half line that a killed writer left; ``None`` only does the latter."""
    line = json.dumps(event, ensure_ascii=False).encode() + b"\n" if event else b""
    with (workdir / "events.jsonl").open("ab+") as stream:
        end = stream.seek(0, os.SEEK_END)
        if end and stream.seek(end - 1) >= 0 and stream.read(1) != b"\n":
            line = b"\n" + line
        stream.write(line)


def manifest(workdir: Path) -> list[dict[str, Any]]:
    """The inputs, each ``{path, sha256, size}``; paths that leave the folder are refused."""
    entries = []
    for line in (workdir / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        path = Path(entry["path"])
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"manifest.jsonl names {path}, which lies outside the work folder")
        entries.append(entry)
    return entries


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def input_problem(workdir: Path) -> str:
    """What is wrong with the inputs, in one sentence; empty when every one of them is what the manifest says."""
    try:
        for entry in manifest(workdir):
            path = workdir / entry["path"]
            if not path.is_file():
                return f"The input {path} is missing."
            if path.stat().st_size != entry["size"] or file_digest(path) != entry["sha256"]:
                return f"The input {path} is not the file that was bundled: its bytes changed."
    except (OSError, ValueError, KeyError) as error:
        return f"The inputs cannot be checked: {error}"
    return ""


class Attempt:
    """One try of a job, by the process that holds the lock."""

    def __init__(self, workdir: Path, number: int, locks: tuple[int, ...], python: str, env: dict[str, str]) -> None:
        self.workdir, self.number, self.locks, self.python, self.env = workdir, number, locks, python, env
        self.previous_child = own_status(workdir).get("child")
        self.interrupted = False
        self.beat = 0.0
        self.status: dict[str, Any] = {"schema": "assetforge/status/1", "attempt": number, "state": "starting"}
        self.status.update(host=socket.gethostname(), agent=identify(os.getpid()), child=None, started_at=time.time())
        self.status["place"] = place_of(workdir)

    def save(self, **changes: Any) -> None:
        """Write ``status.json``. A full disk must not end the run, so a heartbeat that cannot be written is made up for by the next one."""
        self.beat = time.monotonic()
        self.status.update(changes, heartbeat=time.time())
        try:
            write_atomic(self.workdir / "status.json", json.dumps(self.status).encode())
        except OSError as error:
            sys.stderr.write(f"status.json could not be written: {error}\n")

    def run(self) -> str:
        """Run to the end; returns the final state."""
        signal.signal(signal.SIGTERM, self._interrupt)
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.save()
        job = read_json(self.workdir / "job.json")
        if (self.workdir / "result.json").is_file():
            return self._judge(0)
        if self.previous_child and survivors(self.previous_child, self.workdir):
            stop_session(self.previous_child, self.workdir, 5.0)
        problem = "" if job.get("argv") else "job.json is missing or damaged."
        problem = problem or input_problem(self.workdir)
        if cancel_marker(self.workdir, self.number).exists() or self.interrupted:
            return self._judge(0)
        return self._fail(problem) if problem else self._supervise(job)

    def _interrupt(self, *_: object) -> None:
        self.interrupted = True

    def _fail(self, problem: str) -> str:
        event = {"kind": "failed", "t": time.time(), "attempt": self.number, "error": problem, "traceback": ""}
        try:
            append_event(self.workdir, event)
        except OSError as error:
            sys.stderr.write(f"events.jsonl could not be written: {error}\n")
        return self._end("failed", problem)

    def _spawn(self, job: dict[str, Any]) -> subprocess.Popen[bytes]:
        argv = [self.python if word == "{python}" else str(word) for word in job["argv"]]
        env = dict(os.environ, **{str(key): str(value) for key, value in job.get("env", {}).items()})
        env.update(self.env, ASSETFORGE_ATTEMPT=str(self.number), PYTHONUNBUFFERED="1")
        (self.workdir / "outputs").mkdir(exist_ok=True)
        append_event(self.workdir, None)
        with (self.workdir / "log.txt").open("ab") as log:
            return subprocess.Popen(
                argv,
                **_alone(self.workdir, log, self.locks),
                env=env,
                preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509 - this process has no other threads
            )

    def _supervise(self, job: dict[str, Any]) -> str:
        grace_s = float(job.get("grace_s", 60.0))
        try:
            child = self._spawn(job)
        except OSError as error:
            if error.errno in FULL_DISK:
                return self._end("interrupted", f"The disk is full; nothing could be started in {self.workdir}.")
            return self._fail(f"The command {job['argv'][0]!r} could not be started: {error}")
        self.save(state="running", child=identify(child.pid))
        kill_at = None
        while True:
            try:
                code = child.wait(timeout=POLL_S)
                break
            except subprocess.TimeoutExpired:
                asked = self.interrupted or cancel_marker(self.workdir, self.number).exists()
            if asked and kill_at is None:
                kill_at = time.monotonic() + grace_s
                _signal([-child.pid], signal.SIGTERM)
            elif kill_at is not None and time.monotonic() >= kill_at:
                _signal([-child.pid], signal.SIGKILL)
            if time.monotonic() - self.beat >= HEARTBEAT_S:
                self.save()
        if survivors(self.status["child"], self.workdir):
            stop_session(self.status["child"], self.workdir, min(grace_s, 5.0))
        return self._judge(code)

    def _judge(self, code: int) -> str:
        self.status["rc"] = code
        if (self.workdir / "result.json").is_file():
            return self._end("succeeded", "")
        if cancel_marker(self.workdir, self.number).exists():
            return self._end("cancelled", "Cancelled.")
        if self.interrupted or code == TRY_AGAIN:
            return self._end("interrupted", self._told("interrupted") or self._why_stopped())
        if code < 0:
            return self._end("interrupted", f"Killed by signal {-code}.")
        return self._end("failed", self._last_words() or f"It ended with exit code {code} and no result.")

    def _told(self, kind: str) -> str:
        """The reason in the attempt's last event of a kind."""
        events = (parse(line) for _, line in read_lines(self.workdir, 0) if kind.encode() in line)
        mine = [one for one in events if one.get("kind") == kind and one.get("attempt") == self.number]
        return str(mine[-1].get("error") or "") if mine else ""

    def _why_stopped(self) -> str:
        """Why a child stopped that could not say so itself."""
        if not self.interrupted and shutil.disk_usage(str(self.workdir)).free < 1 << 16:
            return f"The disk is full; {self.workdir} could not be written."
        return "Asked to stop; it can be resumed."

    def _last_words(self) -> str:
        told = self._told("failed")
        if told:
            return told
        with (self.workdir / "log.txt").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
            return log.read().decode("utf-8", "replace").strip()

    def _end(self, state: str, error: str) -> str:
        self.save(state=state, error=error, finished_at=time.time())
        return state


def _die_with_parent(agent: int) -> Any:
    """What the child does before it becomes the command: on Linux it asks to be told when the agent dies."""
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None

    def prepare() -> None:
        if libc is not None:
            libc.prctl(1, signal.SIGTERM)
        if os.getppid() != agent:
            os._exit(TRY_AGAIN)

    return prepare


def _claim(workdir: Path, number: int) -> tuple[int | None, int]:
    """Lock the folder for an attempt; without a lock, the second value is the exit code."""
    deadline = time.monotonic() + 2.0
    while True:
        lock = take_lock(workdir)
        last = int(read_json(workdir / "status.json").get("attempt", 0))
        if lock is not None and (not number or last < number):
            return lock, number or last + 1
        if lock is not None:
            os.close(lock)
        if number and last == number:
            _answer({"started": False, "attempt": number, "reason": "this attempt was started before"})
            return None, 0
        # A look at the lock holds it for a moment, and an attempt that has just begun has not said so yet.
        if last > number > 0 or time.monotonic() >= deadline:
            why = "a later attempt was started already" if last > number > 0 else "another writer holds its lock"
            sys.stderr.write(f"{workdir}: attempt {number} is refused: {why}\n")
            return None, TRY_AGAIN
        time.sleep(0.05)


def command_run(options: argparse.Namespace) -> int:
    """Run an attempt in this process."""
    lock, number = (options.lock, options.attempt) if options.lock else _claim(options.workdir, options.attempt)
    if lock is None:
        return number
    return EXIT_CODES[Attempt(options.workdir, number, (lock, *options.keep), options.python, options.env).run()]


def command_start(options: argparse.Namespace) -> int:
    """Run an attempt in a process of its own that outlives this one and whoever called it."""
    lock, number = _claim(options.workdir, options.attempt)
    if lock is None:
        return number
    words = ["run", str(options.workdir), "--attempt", str(number), "--python", options.python, "--lock", str(lock)]
    for name, value in options.env.items():
        words += ["--env", f"{name}={value}"]
    for descriptor in options.keep:
        words += ["--keep", str(descriptor)]
    agent = _detached(options.workdir, words, (lock, *options.keep))
    while int(read_json(options.workdir / "status.json").get("attempt", 0)) < number and agent.poll() is None:
        time.sleep(0.01)
    started = int(read_json(options.workdir / "status.json").get("attempt", 0)) >= number
    _answer({"started": started, "attempt": number})
    return 0 if started else 1


def _detached(workdir: Path, words: list[str], keep: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """This program again, without the caller's files: a remote shell waits for as long as they are open."""
    with (workdir / "agent.txt").open("ab") as said:
        return subprocess.Popen([sys.executable, str(Path(__file__).resolve()), *words], **_alone(workdir, said, keep))


def _alone(workdir: Path, said: Any, keep: tuple[int, ...]) -> dict[str, Any]:
    """What a process in a session of its own is started with."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": subprocess.STDOUT}
    return dict(streams, cwd=str(workdir), start_new_session=True, pass_fds=keep)


def command_status(options: argparse.Namespace) -> int:
    """Print what is true now."""
    _answer(read_status(options.workdir))
    return 0


def command_follow(options: argparse.Namespace) -> int:
    """Print ``E <cursor> <event>`` lines from a byte cursor on, ``S <status>`` at changes and every few seconds; ends with the attempt."""
    cursor, said, beat = options.cursor, None, time.monotonic()
    while True:
        # Status first: whatever it says was preceded by the lines that are read next.
        status = read_status(options.workdir)
        for after, line in read_lines(options.workdir, cursor):
            cursor = after
            sys.stdout.buffer.write(b"E %d " % after + line)
        sys.stdout.flush()
        mark = (status.get("attempt"), status["state"])
        if mark != said or time.monotonic() - beat >= HEARTBEAT_S:
            said, beat = mark, time.monotonic()
            _answer(status, "S ")
        if options.once or status["state"] in FINAL_STATES:
            return 0
        time.sleep(options.interval)


def command_cancel(options: argparse.Namespace) -> int:
    """Mark an attempt as cancelled; its agent stops the child. What that does not end is ended by a process that stays behind for it."""
    marker = cancel_marker(options.workdir, options.attempt)
    marker.parent.mkdir(exist_ok=True)
    marker.touch()
    status = read_status(options.workdir)
    if status["state"] in RUNNING_STATES and status.get("attempt") == options.attempt:
        words = ["reap", str(options.workdir), "--attempt", str(options.attempt), "--grace", str(options.grace)]
        _detached(options.workdir, words, ())
    _answer({"cancelled": options.attempt, "state": status["state"]})
    return 0


def command_reap(options: argparse.Namespace) -> int:
    """End an attempt without its agent's help: at once when the agent died, else when it has not reacted within the grace time and some seconds."""
    guard = os.open(str(options.workdir / "control" / "reap.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return 0
    deadline = time.monotonic() + options.grace + UNRESPONSIVE_S
    while True:
        status = read_status(options.workdir)
        if status["state"] not in RUNNING_STATES or status.get("attempt") != options.attempt:
            return 0
        if status["state"] == "orphaned" or time.monotonic() >= deadline:
            break
        time.sleep(POLL_S)
    if is_alive(status.get("agent")):
        _signal([int(status["agent"]["pid"])], signal.SIGKILL)
    if status.get("child"):
        stop_session(status["child"], options.workdir, options.grace)
    return 0


def command_missing(options: argparse.Namespace) -> int:
    """Read ``<sha256> <size>`` lines, print those that the blob folder does not hold."""
    for line in sys.stdin:
        sha256, size = line.split()
        path = options.workdir / sha256[:2] / sha256[2:]
        if not path.is_file() or path.stat().st_size != int(size):
            sys.stdout.write(line)
    return 0


def command_materialise(options: argparse.Namespace) -> int:
    """Put every input of the manifest into place from a blob folder: hard links where the filesystem has them."""
    for entry in manifest(options.workdir):
        target = options.workdir / entry["path"]
        source = options.blobs / entry["sha256"][:2] / entry["sha256"][2:]
        if target.is_file() or not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(target.name + ".part")
        try:
            os.link(str(source), str(temporary))
        except OSError:
            shutil.copyfile(str(source), str(temporary))
        temporary.replace(target)
    problem = input_problem(options.workdir)
    sys.stderr.write(problem + "\n" if problem else "")
    return 1 if problem else 0


def _answer(value: Any, prefix: str = "") -> None:
    sys.stdout.write(prefix + json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the functions named ``command_...``."""
    commands = {name[8:]: function for name, function in globals().items() if name.startswith("command_")}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=sorted(commands))
    parser.add_argument(
        "workdir", type=lambda text: Path(text).resolve(), help="the work folder; for missing, the blobs"
    )
    parser.add_argument("cursor", type=int, nargs="?", default=0, help="follow: byte of events.jsonl to go on from")
    parser.add_argument("--attempt", type=int, default=0, help="run, start, cancel: 0 is the next one")
    parser.add_argument("--python", default=sys.executable, help="run, start: what {python} stands for")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="run, start: for the child")
    parser.add_argument("--lock", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument(
        "--keep", type=int, action="append", default=[], metavar="FD", help="run, start: held open by agent and child"
    )
    parser.add_argument("--once", action="store_true", help="follow: do not wait for more")
    parser.add_argument("--interval", type=float, default=0.2, help="follow: seconds between two looks")
    parser.add_argument("--grace", type=float, default=60.0, help="cancel: seconds before what does not end is killed")
    parser.add_argument("--blobs", type=Path, help="materialise: where the inputs lie by hash")
    options = parser.parse_args(arguments)
    options.env = dict(pair.split("=", 1) for pair in options.env)
    try:
        return int(commands[options.command](options))
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        sys.stderr.write(f"The disk is full; {error.filename or options.workdir} could not be written.\n")
        return TRY_AGAIN if options.command == "run" else 1


if __name__ == "__main__":
    sys.exit(main())
