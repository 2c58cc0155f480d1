"""Contexts on a plain folder: what a trainer or renderer gets in a job, without queue, agent or child process.

Checkpoints are committed as in a job: files first, the state file last, and the last two are kept. Tests can ask a run to stop or to die at a step.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assetforge.api import Checkpoint, Params
from assetforge.api.job import BaseRef, TrainingDataset, TrainPayload
from assetforge.errors import NotFoundError

if TYPE_CHECKING:
    from assetforge.api.protocols import ImageArray

__all__ = ["FolderContext", "FolderTrainContext", "SimulatedKill"]


class SimulatedKill(BaseException):
    """Raised out of ``progress`` to end a run without any warning, as a killed process would."""


@dataclass(kw_only=True)
class FolderContext:
    """A :class:`assetforge.api.JobContext` on a folder.

    Attributes:
        workdir: The work folder; must exist.
        params: Validated parameters.
        cache: Derived files.
        seed: Seed of all randomness.
        device: Device string.
        threads: CPU threads.
        stop_at: ``should_stop`` answers yes once this step was reported.
        kill_at: ``progress`` raises :class:`SimulatedKill` at this step.
        steps: Every ``(step, total, figures)`` that was reported.
        metrics: Every ``(name, value, step)`` that was reported.
        messages: Everything that was said in words.
        first_refusal: Number of reports there were when ``should_stop`` first answered yes.
    """

    workdir: Path
    cache: Path
    params: Params = field(default_factory=Params)
    seed: int = 7
    device: str = "cpu"
    threads: int = 1
    stop_at: int | None = None
    kill_at: int | None = None
    steps: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)
    metrics: list[tuple[str, float, int | None]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    first_refusal: int | None = None

    @property
    def outputs(self) -> Path:
        """Where results go."""
        folder = self.workdir / "outputs"
        folder.mkdir(exist_ok=True)
        return folder

    def should_stop(self) -> bool:
        """Yes, once ``stop_at`` was reported."""
        stop = self.stop_at is not None and bool(self.steps) and self.steps[-1][0] >= self.stop_at
        if stop and self.first_refusal is None:
            self.first_refusal = len(self.steps)
        return stop

    def progress(self, step: int, total: int, **figures: float) -> None:
        """Note it; die here if the test wants that."""
        self.steps.append((step, total, figures))
        if self.kill_at is not None and step >= self.kill_at:
            raise SimulatedKill

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """Note it."""
        self.metrics.append((name, float(value), step))

    def log(self, message: str) -> None:
        """Note it."""
        self.messages.append(message)

    def base_path(self, base: BaseRef) -> Path:
        """``base.path``, which must exist.

        Raises:
            NotFoundError: It does not.
        """
        path = Path(base.path)
        if not base.path or not path.exists():
            raise NotFoundError(f"The base model {base.name!r} is not at {base.path!r}.")
        return path


@dataclass(kw_only=True)
class FolderTrainContext(FolderContext):
    """A :class:`assetforge.api.TrainContext` on a folder.

    Attributes:
        payload: What to train.
        dataset: What to train on.
        commits: Steps of all committed checkpoints, in order.
        samples: Every ``(picture, step, prompt)`` that was shown.
    """

    payload: TrainPayload
    dataset: TrainingDataset
    commits: list[int] = field(default_factory=list)
    samples: "list[tuple[ImageArray, int, str]]" = field(default_factory=list)

    def sample(self, picture: "ImageArray", step: int, prompt: str = "") -> None:
        """Note it."""
        self.samples.append((picture, step, prompt))

    def latest_checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint whose state file was written."""
        states = sorted((self.workdir / "checkpoints").glob("step-*/state.json"))
        if not states:
            return None
        committed = json.loads(states[-1].read_text("utf-8"))
        files = {name: self.workdir / path for name, path in committed["files"].items()}
        return Checkpoint(step=committed["step"], files=files, state=committed["state"])

    def checkpoint_file(self, step: int, name: str) -> Path:
        """A path in the folder of that step, which exists."""
        folder = self._folder(step)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def commit_checkpoint(self, step: int, files: Mapping[str, Path], state: Mapping[str, Any]) -> None:
        """Sync the files, then write the state file; keep the last two.

        Raises:
            FileNotFoundError: A file was named that was not written.
        """
        for path in files.values():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        names = {name: path.relative_to(self.workdir).as_posix() for name, path in files.items()}
        folder = self._folder(step)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / "state.json.tmp"
        temporary.write_text(json.dumps({"step": step, "files": names, "state": dict(state)}), "utf-8")
        temporary.replace(folder / "state.json")
        self.commits.append(step)
        committed = sorted((self.workdir / "checkpoints").glob("step-*/state.json"))
        for old in committed[:-2]:
            shutil.rmtree(old.parent)

    def _folder(self, step: int) -> Path:
        return self.workdir / "checkpoints" / f"step-{step:08d}"
