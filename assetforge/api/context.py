"""What running code gets from assetforge: where to read and write, how to report, when to stop."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from assetforge.api.job import BaseRef, TrainingDataset, TrainPayload
from assetforge.api.params import Params

if TYPE_CHECKING:
    from assetforge.api.protocols import ImageArray

__all__ = ["Checkpoint", "JobContext", "Stopped", "TrainContext"]


class Stopped(Exception):  # noqa: N818 - a signal to unwind, not an error
    """Raised by an engine that noticed ``should_stop()`` and has committed its checkpoint; the job can be resumed."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A committed checkpoint.

    Attributes:
        step: Steps that are done.
        files: Name to path, as they were given to ``commit_checkpoint``.
        state: Small JSON values that were committed with them.
    """

    step: int
    files: Mapping[str, Path]
    state: Mapping[str, Any]


class JobContext(Protocol):
    """What every engine may use. All paths are absolute."""

    @property
    def params(self) -> Params:
        """Validated parameters, an instance of the spec's params model."""

    @property
    def workdir(self) -> Path:
        """The work folder; the current directory of the child."""

    @property
    def outputs(self) -> Path:
        """Where results go; everything in it is hashed and kept when the job succeeds."""

    @property
    def cache(self) -> Path:
        """Derived files that may outlive the job (content-keyed); may be deleted at any time by others."""

    @property
    def seed(self) -> int:
        """Seed of all randomness."""

    @property
    def device(self) -> str:
        """``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``."""

    @property
    def threads(self) -> int:
        """CPU threads to use; 0 leaves it to the engine."""

    def should_stop(self) -> bool:
        """Whether somebody asked to stop. Cheap; ask once a step."""

    def progress(self, step: int, total: int, **figures: float) -> None:
        """Report progress; ``step`` never goes down within an attempt. Rate-limited: call it as often as you like."""

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """Record a figure, such as a validation loss."""

    def log(self, message: str) -> None:
        """Say something in words, for people."""

    def base_path(self, base: BaseRef) -> Path:
        """Folder or file of a base model on this machine.

        Raises:
            assetforge.errors.NotFoundError: It is not here, or its digest is another one.
        """


class TrainContext(JobContext, Protocol):
    """What a trainer gets."""

    @property
    def payload(self) -> TrainPayload:
        """What to train."""

    @property
    def dataset(self) -> TrainingDataset:
        """What to train on; ``item.file`` is relative to ``workdir``."""

    def sample(self, picture: "ImageArray", step: int, prompt: str = "") -> None:
        """Show a picture of what is learnt after ``step`` steps: uint8, (height, width, 3), sRGB.

        It is kept in the work folder beside the results, and is none of them. Pictures of one step count from 1; the same number at another step should show the
        same prompt from the same seed, so that people see what changed.
        """

    def latest_checkpoint(self) -> Checkpoint | None:
        """The newest committed checkpoint of any earlier attempt, or ``None``."""

    def checkpoint_file(self, step: int, name: str) -> Path:
        """Where to write a file of a checkpoint before it is committed. Folder exists; the name is per step."""

    def commit_checkpoint(self, step: int, files: Mapping[str, Path], state: Mapping[str, Any]) -> None:
        """Make a checkpoint restorable: sync ``files``, then write the state file. The last two are kept."""
