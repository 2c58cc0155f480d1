"""What an engine gets inside a job: the concrete contexts of :mod:`assetforge.api.context`."""

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assetforge import agent
from assetforge.api.context import Checkpoint
from assetforge.api.job import BaseRef, JobSpec, TrainingDataset, TrainPayload
from assetforge.api.params import Params
from assetforge.errors import JobError, NotFoundError
from assetforge.jobs.png import write_png

if TYPE_CHECKING:
    from assetforge.api.protocols import ImageArray

__all__ = ["EventWriter", "JobRuntime", "TrainRuntime", "reported", "sync_file", "write_json"]

_EVERY_S = 0.1
_KEPT_CHECKPOINTS = 2
_STATE = re.compile(r"step-(\d+)\.state\.json\Z")


class EventWriter:
    """Appends lines to ``events.jsonl``, each in one write.

    Args:
        path: The file.
        attempt: Number of the attempt; every line carries it.
    """

    def __init__(self, path: Path, attempt: int) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._attempt = attempt
        self._torn = False

    def write(self, kind: str, **fields: Any) -> None:
        """Append one event; figures that are not finite become ``null``, which JSON has a word for.

        Raises:
            OSError: The disk is full.
        """
        event = {"kind": kind, "t": time.time(), "attempt": self._attempt}
        event.update({key: _finite(value) for key, value in fields.items()})
        line = json.dumps(event, ensure_ascii=False).encode() + b"\n"
        if self._torn:
            line = b"\n" + line
        self._torn = os.write(self._descriptor, line) != len(line)
        if self._torn:
            # The disk took a part of the line; what is written next begins a new one.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class JobRuntime:
    """A :class:`assetforge.api.context.JobContext` in a work folder.

    Args:
        workdir: The work folder, absolute.
        spec: What ``job.json`` says.
        attempt: Number of the attempt.
        params: Validated parameters.
    """

    def __init__(self, workdir: Path, spec: JobSpec, attempt: int, params: Params) -> None:
        self.spec, self.attempt = spec, attempt
        self._workdir, self._params = workdir, params
        self.events = EventWriter(workdir / "events.jsonl", attempt)
        self._stop = False
        self._next_look = self._next_report = 0.0
        self._held_back: tuple[int, int, dict[str, float]] | None = None
        self._began = False

    @property
    def params(self) -> Params:
        """Validated parameters."""
        return self._params

    @property
    def workdir(self) -> Path:
        """The work folder."""
        return self._workdir

    @property
    def outputs(self) -> Path:
        """Where results go."""
        return self._workdir / "outputs"

    @cached_property
    def cache(self) -> Path:
        """The film's cache of derived files where there is one, else a folder of the job's own."""
        folder = Path(os.environ.get("ASSETFORGE_CACHE") or self._workdir / "cache")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def seed(self) -> int:
        """Seed of all randomness."""
        return self.spec.seed

    @property
    def device(self) -> str:
        """What the job asks for, else what its slot has."""
        if self.spec.resources.device != "auto":
            return self.spec.resources.device
        return os.environ.get("ASSETFORGE_DEVICE") or "auto"

    @property
    def threads(self) -> int:
        """What the job asks for, else its slot's share."""
        return self.spec.resources.threads or int(os.environ.get("ASSETFORGE_THREADS") or 0)

    def listen_for_signals(self) -> None:
        """Make SIGTERM and SIGINT ask to stop instead of ending the process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)

    def should_stop(self) -> bool:
        """Whether a signal came or the attempt is marked as cancelled; the marker is looked for ten times a second."""
        now = time.monotonic()
        if not self._stop and now >= self._next_look:
            self._next_look = now + _EVERY_S
            self._stop = agent.cancel_marker(self._workdir, self.attempt).exists()
        return self._stop

    def progress(self, step: int, total: int, **figures: float) -> None:
        """Report progress, at most ten times a second, always the first and the last."""
        now = time.monotonic()
        if self._began and step < total and now < self._next_report:
            self._held_back = (step, total, figures)
            return
        self._began, self._held_back, self._next_report = True, None, now + _EVERY_S
        self.events.write("progress", step=step, total=total, **figures)

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """Record a figure."""
        self.events.write("metric", name=name, value=float(value), step=step)

    def log(self, message: str) -> None:
        """Say something: in the events, and in ``log.txt``, which is this process's output."""
        self.events.write("log", message=message)
        sys.stdout.write(message + "\n")
        sys.stdout.flush()

    def base_path(self, base: BaseRef) -> Path:
        """Folder or file of a base model here: the recorded path, else where its plugin finds it.

        Raises:
            NotFoundError: It is not here, or its digest is another one.
        """
        from assetforge.store.model_digest import model_digest

        path = Path(base.path)
        if not base.path or not path.exists():
            # Brings the database layer along, which a child needs for nothing else and would pay for at every start.
            from assetforge.services.base_models import locate_base

            path = locate_base(base.name)
        digest = model_digest(path, Path(base.config) if base.config else None)
        if digest != base.digest:
            raise NotFoundError(
                f"The base model {base.name!r} in {path} is not the one this job was made for "
                f"(digest {digest[:12]} instead of {base.digest[:12]}).",
                hint="Put the original files back, or queue the job again with the model that is there.",
            )
        return path

    def flush(self) -> None:
        """Write the progress that was held back."""
        if self._held_back:
            step, total, figures = self._held_back
            self._held_back = None
            self.events.write("progress", step=step, total=total, **figures)

    def _ask_to_stop(self, *_: object) -> None:
        self._stop = True


class TrainRuntime(JobRuntime):
    """A :class:`assetforge.api.context.TrainContext` in a work folder.

    A checkpoint lies in ``checkpoints/step-N/`` and exists once ``checkpoints/step-N.state.json`` does.
    """

    _sampled = (-1, 0)
    """Step and number of the last sample."""

    @cached_property
    def payload(self) -> TrainPayload:
        """What to train."""
        return TrainPayload.model_validate(self.spec.payload)

    @cached_property
    def dataset(self) -> TrainingDataset:
        """What to train on."""
        return TrainingDataset.model_validate_json((self.workdir / self.payload.dataset).read_bytes())

    def sample(self, picture: "ImageArray", step: int, prompt: str = "") -> None:
        """Write the picture into ``samples/`` and tell of it.

        Raises:
            PluginError: It is no picture.
        """
        if step != self._sampled[0]:
            self._sampled = (step, 0)
        number = self._sampled[1] + 1
        self._sampled = (step, number)
        file = self.workdir / "samples" / f"step-{step:08d}-{number}.png"
        write_png(picture, file, file.with_name(f".{file.name}.part"), maker="trainer")
        self.events.write("sample", file=file.relative_to(self.workdir).as_posix(), step=step, prompt=prompt)

    def latest_checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint whose files are all there in the size they were committed with."""
        for state_file in reversed(self._committed()):
            committed = agent.read_json(state_file)
            files = {name: self.workdir / entry["path"] for name, entry in committed.get("files", {}).items()}
            sizes = {name: entry["size"] for name, entry in committed.get("files", {}).items()}
            if committed and all(path.is_file() and path.stat().st_size == sizes[name] for name, path in files.items()):
                return Checkpoint(step=int(committed["step"]), files=files, state=committed["state"])
        return None

    def checkpoint_file(self, step: int, name: str) -> Path:
        """A path in the folder of that step, which exists."""
        folder = self._folder / f"step-{step:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def commit_checkpoint(self, step: int, files: Mapping[str, Path], state: Mapping[str, Any]) -> None:
        """Sync the files and their folders, then write the state file; keep the last two checkpoints.

        Raises:
            JobError: A file was named that was not written, or that lies outside the work folder.
        """
        entries = {}
        for name, path in files.items():
            inside = path.resolve()
            if not inside.is_file() or not inside.is_relative_to(self.workdir.resolve()):
                raise JobError(
                    f"The checkpoint of step {step} names {path}, which is no file of the work folder.",
                    hint="The trainer is at fault: it commits a file that it did not write.",
                )
            sync_file(inside)
            _sync_folder(inside.parent)
            entries[name] = {
                "path": inside.relative_to(self.workdir.resolve()).as_posix(),
                "size": inside.stat().st_size,
            }
        document = {"step": step, "attempt": self.attempt, "files": entries, "state": dict(state)}
        self._folder.mkdir(exist_ok=True)
        write_json(self._folder / f"step-{step:08d}.state.json", document)
        _sync_folder(self._folder)
        self.events.write("checkpoint", step=step)
        for old in self._committed()[:-_KEPT_CHECKPOINTS]:
            old.unlink()
            shutil.rmtree(self._folder / old.name.removesuffix(".state.json"), ignore_errors=True)

    def remove_uncommitted(self) -> None:
        """Delete what a killed attempt wrote without committing it."""
        kept = {path.name.removesuffix(".state.json") for path in self._committed()}
        for path in self._folder.glob("step-*"):
            if path.is_dir() and path.name not in kept:
                shutil.rmtree(path)

    @property
    def _folder(self) -> Path:
        return self.workdir / "checkpoints"

    def _committed(self) -> list[Path]:
        found = [(int(match[1]), path) for path in self._folder.glob("step-*") if (match := _STATE.match(path.name))]
        return [path for _step, path in sorted(found)]


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write JSON in one step."""
    agent.write_atomic(path, json.dumps(document, ensure_ascii=False).encode())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and value - value != 0.0:
        return None
    return value


@contextlib.contextmanager
def reported(runtime: JobRuntime) -> Iterator[None]:
    """Write the last progress, however the block ends."""
    try:
        yield
    finally:
        runtime.flush()
