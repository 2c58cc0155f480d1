"""kill -9 at random moments: what is killed, and when, follows from a seed; every stage of the work gets its share."""

import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from faulted_film import FaultedFilm, picture, sha256_of, wait_for
from sqlmodel import col, select
from witness import Witness

from assetforge.agent import read_events
from assetforge.db.models import Version
from assetforge.db.models_jobs import Evaluation, Job
from assetforge.errors import UsageError
from assetforge.services.assets import get_asset
from assetforge.services.retraining import explain, local_now, retrain

TYPICAL_S = {
    "freeze": 0.03,
    "retrain": 0.06,
    "publish": 0.03,
    "approve": 0.03,
    "gc": 0.1,
    "backup": 0.3,
    "ingest": 0.4,
}
_MOST_ATTEMPTS = 5
"""Children of a job that was tried so often are left alone: it has eight attempts, and shall succeed."""


class Chaos:
    """Kills processes of a film, and starts again what a user or a service manager would start again.

    Attributes:
        kills: How many, by process and stage.
    """

    def __init__(self, film: FaultedFilm, rng: random.Random, folder: Path) -> None:
        self.film, self.rng = film, rng
        self.backups, self._sources = folder / "backups", folder / "sources"
        self.backups.mkdir()
        self._sources.mkdir()
        self.kills: Counter[str] = Counter()
        self.history: list[str] = []
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.witness = Witness(film)
        self._typical = dict(TYPICAL_S)
        self._serial = 0

    MOMENTS = (
        *("watcher, ingest", "watcher, ingest", "watcher, freeze and queue", "watcher, at rest"),
        *("supervisor, staging", "supervisor, running", "supervisor, registering", "supervisor, registering"),
        *("agent, running", "child, starting", "child, training", "child, finishing"),
        *("command, ingest", "command, freeze", "command, retrain", "command, publish", "command, approve"),
        *("command, gc", "command, backup"),
    )

    def run(self, kills: int) -> None:
        """Kill so often, with a look at the film after each time."""
        deck: list[str] = []
        while sum(self.kills.values()) < kills:
            if not deck:
                deck = list(self.MOMENTS)
                self.rng.shuffle(deck)
            self.film.keep_watching()
            if self.rng.random() < 0.5:
                self.film.keep_working()
            if self.rng.random() < 0.3:
                self.film.inbox.change()
            moment, began = deck.pop(), time.monotonic()
            self._strike(moment)
            struck = time.monotonic()
            self.witness.look()
            self.seconds[moment].append(round(struck - began, 1))
            self.seconds["looking"].append(round(time.monotonic() - struck, 2))

    def settle(self, limit_s: float = 120.0) -> None:
        """Leave everything alone until nothing is left to do, then end it gently."""
        self.film.dismiss_operator()
        self.film.keep_watching()
        calm = wait_for(self._is_calm, limit_s, 0.5)
        assert calm, f"it does not come to rest: {self._state()}"
        watcher = self.film.watcher
        assert watcher is not None
        watcher.terminate()
        assert watcher.wait(30) == 0
        if pid := self.film.supervisor():
            os.kill(pid, signal.SIGTERM)
        assert wait_for(lambda: not self.film.processes(), 30.0), self.film.processes()

    def _is_calm(self) -> bool:
        """Nothing is left to do; what may lead to jobs is asked before whether there are any."""
        if not self._taken():
            return False
        project = self.film.project
        explained = explain(project, get_asset(project, "coat"), project.config, local_now())
        with project.read() as session:
            rendered = select(Evaluation.id).where(Evaluation.version_id == Version.id).exists()
            candidates = select(Version.id).where(Version.stage == "candidate", ~rendered)
            waiting = session.exec(candidates).first() if self.film.renders else None
        return explained.outcome == "no" and waiting is None and not self.film.open_jobs()

    def _state(self) -> str:
        jobs = [(job.id, job.state, job.error) for job in self.film.open_jobs()]
        return f"jobs {jobs}, taken {self._taken()}, watcher {self.film.watcher and self.film.watcher.poll()}"

    def _taken(self) -> bool:
        states = self.film.references()
        return {one for one, state in states.items() if state == "active"} == set(self.film.inbox.hashes())

    def _strike(self, moment: str) -> None:
        who, _, stage = moment.partition(", ")
        if who in ("agent", "child"):
            self._at_work(who, stage)
        else:
            {"watcher": self._at_watcher, "supervisor": self._at_supervisor, "command": self._at_command}[who](stage)

    def _kill(self, pid: int, what: str) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.kills[what] += 1
            self.history.append(what)

    def _at_watcher(self, stage: str) -> None:
        watcher = self.film.watcher
        assert watcher is not None
        datasets = self.film.datasets()
        if stage != "at rest":
            self.film.inbox.drop(self.rng.randint(3, 8))
        if stage == "ingest":
            time.sleep(self.rng.uniform(0.0, 1.8))
        elif stage == "at rest":
            time.sleep(self.rng.uniform(0.0, 0.5))
        else:
            wait_for(lambda: self.film.datasets() > datasets, 12.0, 0.003)
            time.sleep(self.rng.uniform(0.0, 0.05))
        children = psutil.Process(watcher.pid).children(recursive=True)
        self._kill(watcher.pid, f"watcher, {stage}")
        watcher.wait(30)
        self._end_with_parent(children)

    def _end_with_parent(self, children: list[psutil.Process]) -> None:
        left = psutil.wait_procs(children, timeout=15.0)[1]
        left = [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        assert not left, f"they outlived who started them: {[(one.pid, one.cmdline()) for one in left]}"

    def _job(self, fits: Callable[[Job], bool], limit_s: float = 25.0) -> Job | None:
        """A job that fits; when there is none, one is brought about."""
        started = supervised = time.monotonic()
        while time.monotonic() - started < limit_s:
            jobs = self.film.open_jobs()
            for job in jobs:
                if job.attempt <= _MOST_ATTEMPTS and fits(job):
                    return job
            if not jobs:
                self.film.inbox.drop(4)
                wait_for(self._taken, 6.0)
                with suppress(UsageError):
                    retrain(self.film.project, "coat")
            if not jobs or time.monotonic() - supervised > 3.0:
                supervised = time.monotonic()
                self.film.keep_working()
            time.sleep(0.004)
        return None

    def _has_child(self, job: Job) -> bool:
        return job.state == "running" and self.film.process_of(job, "child") > 0

    def _at_supervisor(self, stage: str) -> None:
        if stage == "staging":
            self._job(lambda job: job.state == "staging")
            time.sleep(self.rng.uniform(0.0, 0.5))
        else:
            job = self._job(lambda job: job.state == "running")
            if job is not None and stage == "registering":
                result = self.film.project.paths.job(job.id) / "result.json"
                wait_for(result.is_file, 15.0, 0.002)
                time.sleep(self.rng.uniform(0.0, 0.6))
            else:
                time.sleep(self.rng.uniform(0.0, 1.0))
        if pid := self.film.supervisor():
            self._kill(pid, f"supervisor, {stage}")
            wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", 10.0)

    def _at_work(self, who: str, stage: str) -> None:
        job = self._job(self._has_child)
        if job is None:
            return
        if stage == "finishing":
            folder = self.film.project.paths.job(job.id)
            wait_for(lambda: _is_at_the_end(folder) or not self.film.process_of(job, "child"), 20.0, 0.003)
            time.sleep(self.rng.uniform(0.0, 0.08))
        else:
            time.sleep(self.rng.uniform(0.0, 0.9 if stage == "starting" else 2.2))
        if pid := self.film.process_of(job, who):
            self._kill(pid, f"{who}, {stage}")

    def _at_command(self, operation: str) -> None:
        words = self._words(operation)
        if words is None:
            return
        process = self.film.operate(operation, *words)
        time.sleep(self.rng.uniform(0.0, 1.2 * self._typical[operation]))
        children = psutil.Process(process.pid).children(recursive=True)
        self._kill(process.pid, f"command, {operation}")
        said = process.communicate(timeout=60)[0]
        if said.startswith("done"):
            self._typical[operation] = 0.7 * self._typical[operation] + 0.3 * float(said.split()[1])
            self.history[-1] += " (was done)"
        self._end_with_parent(children)
        self._again(operation, words)

    def _words(self, operation: str) -> list[str] | None:
        self._serial += 1
        if operation == "gc":
            self._throw_away()
            return []
        if operation == "backup":
            return [str(self.backups / f"{self._serial:04d}.tar")]
        if operation == "ingest":
            folder = self._sources / f"{self._serial:04d}"
            folder.mkdir()
            for number in range(20):
                (folder / f"{number}.png").write_bytes(picture(10**6 + self._serial * 100 + number))
            return ["hat", str(folder)]
        if operation in ("publish", "approve"):
            with self.film.project.read() as session:
                numbers = session.exec(select(Version.number).order_by(col(Version.number).desc()).limit(3)).all()
            return [f"coat/v{self.rng.choice(numbers)}"] if numbers else None
        self.film.inbox.drop(3)
        wait_for(self._taken, 6.0)
        return ["coat"]

    def _throw_away(self) -> None:
        """Old blobs that nothing needs, among them pictures that arrive while they are being taken away."""
        store, upcoming = self.film.project.blobs, self.film.inbox.upcoming(3)
        with store.batch() as batch:
            rubbish = [batch.put_bytes(os.urandom(3000)) for _ in range(30)]
            for data in upcoming:
                batch.put_bytes(data)
        for sha256 in (*rubbish, *map(sha256_of, upcoming)):
            with suppress(FileNotFoundError):
                os.utime(store.path(sha256), (1, 1))
        self.film.inbox.drop(3)

    def _again(self, operation: str, words: list[str]) -> None:
        """A person who saw a command die gives it again, now and then."""
        if operation in ("publish", "ingest") or self.rng.random() < 0.5:
            process = self.film.operate(operation, *words)
            process.communicate(timeout=60)


def _is_at_the_end(folder: Path) -> bool:
    events = folder / "events.jsonl"
    if not events.is_file():
        return False
    found = read_events(folder, max(0, events.stat().st_size - 2000))[0]
    return any(one.get("kind") == "progress" and one.get("step") == one.get("total") for one in found)
