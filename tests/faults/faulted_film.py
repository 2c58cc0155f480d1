"""A film on which everything is real: watcher, supervisor, agents, training children, commands; and the people who put pictures into its folder."""

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
from PIL import Image as Pillow
from sqlmodel import col, func, select

from assetforge import agent
from assetforge.db.models import DatasetVersion, Reference
from assetforge.db.models_jobs import Job
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.extension.registry import reset_registry
from assetforge.jobs.background import ensure_supervisor
from assetforge.services.assets import add_asset
from assetforge.services.project_config import set_value
from assetforge.services.projects import create_project

ON_PATH = Path(__file__).parent / "on_path"
RULES = {
    "watch.settle_seconds": 0.3,
    "retrain.mode": "auto",
    "retrain.quiet_minutes": 0.01,
    "retrain.cooldown_minutes": 0.0,
    "retrain.min_new": 3,
    "retrain.recipe": "noted",
    "retrain.then": [],
    "retrain.assets.hat.mode": "off",
    "queue.min_free_gb": 0.0,
}


def use_plugins(monkeypatch):
    """The example and the noted trainer, and no other plugin, here and in every process that is started."""
    monkeypatch.syspath_prepend(str(ON_PATH))
    inherited = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ON_PATH), inherited))))
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example,faults")
    reset_registry()


def picture(number: int) -> bytes:
    """A picture that no other number has."""
    rng = np.random.default_rng(number)
    coarse = Pillow.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    stream = io.BytesIO()
    coarse.resize((48, 36), Pillow.Resampling.BICUBIC).save(stream, format="PNG")
    return stream.getvalue()


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Inbox:
    """A folder of references and the people who work in it.

    Attributes:
        whole: Hashes of all pictures that were ever whole in the folder.
    """

    def __init__(self, folder: Path, rng: random.Random, first: int = 0) -> None:
        self.folder, self._rng, self._next = folder, rng, first
        self.whole: set[str] = set()

    def upcoming(self, count: int) -> list[bytes]:
        """The pictures that come next."""
        return [picture(self._next + offset) for offset in range(count)]

    def drop(self, count: int) -> None:
        """New pictures, in the ways of different programs."""
        for _ in range(count):
            number, self._next = self._next, self._next + 1
            target = self.folder / f"take {number % 5}" / f"frame {number:05d}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            self._write(target, picture(number))

    def put(self, name: str) -> None:
        """A picture that nobody changes from then on."""
        self._next += 1
        self._write(self.folder / name, picture(self._next - 1))

    def change(self) -> None:
        """Somebody replaces, renames or removes a picture, where there are plenty."""
        there = sorted(path for path in self.folder.glob("take */*.png") if not path.name.startswith("."))
        if len(there) < 10:
            return
        chosen = self._rng.choice(there)
        what = self._rng.choice(("replace", "rename", "remove"))
        if what == "replace":
            self._next += 1
            self._write(chosen, picture(self._next - 1))
        elif what == "rename":
            chosen.rename(chosen.with_name(f"moved {self._next}-{chosen.name}"))
            self._next += 1
        else:
            chosen.unlink()

    def hashes(self) -> Counter[str]:
        """What lies in the folder now."""
        return Counter(sha256_of(path.read_bytes()) for path in self.folder.rglob("*.png"))

    def _write(self, target: Path, data: bytes) -> None:
        if self._rng.random() < 0.5:
            temporary = target.with_name(f".{target.name}.part")
            temporary.write_bytes(data)
            temporary.replace(target)
        else:
            with target.open("wb") as file:
                file.write(data[: len(data) // 2])
                file.flush()
                file.write(data[len(data) // 2 :])
        self.whole.add(sha256_of(data))


class FaultedFilm:
    """The film, and every process that works on it."""

    def __init__(self, rng: random.Random, *, render: bool = False) -> None:
        self.project = create_project("faults")
        for key, value in {**RULES, "retrain.then": ["render"] if render else []}.items():
            set_value(self.project.paths.config, key, value)
        coat = add_asset(self.project, "coat", "costume", trigger="rdcoat", class_word="outfit")
        add_asset(self.project, "hat", "prop")
        self.root, self.renders = self.project.root, render
        self.inbox = Inbox(coat.references, rng)
        self.started = 0
        self.watcher: subprocess.Popen[bytes] | None = None
        self.logs: list[Path] = []
        self._operator: subprocess.Popen[str] | None = None

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """``assetforge`` in a process of its own."""
        self.started += 1
        log = self.project.paths.logs / f"{words[0]}-{self.started:04d}.log"
        log.parent.mkdir(exist_ok=True)
        self.logs.append(log)
        with log.open("wb") as stream:
            command = [sys.executable, "-P", "-m", "assetforge", "--project", str(self.root), *words]
            return subprocess.Popen(command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)

    def operate(self, *words: str) -> subprocess.Popen[str]:
        """An operation in a process of its own; returns when it has begun. The process for the next one starts meanwhile."""
        process = self._operator or self._new_operator()
        self._operator = self._new_operator()
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", self.logs[-2].read_text()
        process.stdin.write(json.dumps(words) + "\n")
        process.stdin.flush()
        return process

    def _new_operator(self) -> subprocess.Popen[str]:
        self.started += 1
        log = self.project.paths.logs / f"operate-{self.started:04d}.log"
        log.parent.mkdir(exist_ok=True)
        self.logs.append(log)
        with log.open("wb") as stream:
            command = [sys.executable, str(ON_PATH / "operate.py"), str(self.root)]
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True)

    def dismiss_operator(self) -> None:
        """Nothing more is asked for."""
        if self._operator is not None:
            self._operator.communicate(timeout=30)
            self._operator = None

    def keep_watching(self) -> None:
        """What a service manager does: the watcher is started again when it is gone."""
        if self.watcher is None or self.watcher.poll() is not None:
            self.watcher = self.start("watch")

    def keep_working(self) -> None:
        """What everybody does who waits for a job."""
        ensure_supervisor(self.project)

    def supervisor(self) -> int:
        """Process id of the film's supervisor; 0 when there is none."""
        for process in psutil.process_iter(["pid", "cmdline"]):
            words = process.info["cmdline"] or []
            if "assetforge.jobs.supervisor" in words and str(self.root) in words:
                return int(process.info["pid"])
        return 0

    def open_jobs(self) -> list[Job]:
        """Jobs that have not ended, the oldest first."""
        with self.project.read() as session:
            return list(session.exec(select(Job).where(col(Job.state).in_(OPEN_JOB_STATES)).order_by(col(Job.id))))

    def process_of(self, job: Job, which: str) -> int:
        """Process id of a running job's ``agent`` or ``child``; 0 when it has none."""
        status = agent.read_json(self.project.paths.job(job.id) / "status.json")
        process = status.get(which)
        return int(process["pid"]) if process and agent.is_alive(process) else 0

    def references(self) -> dict[str, str]:
        """State of every reference of the watched asset, by hash."""
        with self.project.read() as session:
            rows = session.exec(select(Reference.sha256, Reference.state).where(Reference.asset_id == 1)).all()
        return dict(rows)

    def datasets(self) -> int:
        """How many dataset versions there are."""
        with self.project.read() as session:
            return session.exec(select(func.count()).select_from(DatasetVersion)).one()

    def processes(self) -> list[psutil.Process]:
        """Everything that works on the film, this process not included."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                inside = any(str(self.root) in word for word in process.cmdline()) or process.cwd().startswith(
                    str(self.root)
                )
                if inside and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def end(self) -> None:
        """End whatever is left, by process id."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
        for started in (self.watcher, self._operator):
            if started is not None:
                started.communicate(timeout=30)
        self.project.close()
        reset_registry()


def wait_for(condition, limit_s: float, every_s: float = 0.02) -> bool:
    """Look again and again; whether it came true in time."""
    deadline = time.monotonic() + limit_s
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(every_s)
    return bool(found)
