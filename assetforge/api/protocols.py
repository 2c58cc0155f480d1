"""What the code behind a spec's ``load`` must offer.

Everything here is structural: a plugin never inherits from assetforge. Pictures are ``numpy.uint8`` arrays of shape (height, width, 3) in sRGB.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from assetforge.api.context import JobContext, TrainContext
from assetforge.api.job import BaseRef, Cell, LoraRef, RenderSettings, Resources, WeightsOutput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    ImageArray: TypeAlias = NDArray[np.uint8]
    Vectors: TypeAlias = NDArray[np.float32]

__all__ = [
    "Captioner",
    "Check",
    "DemoAsset",
    "DemoFilm",
    "EngineState",
    "Executor",
    "ExportItem",
    "Exporter",
    "Finding",
    "Handle",
    "ImportedReference",
    "Importer",
    "Metric",
    "Offer",
    "Provisioner",
    "Renderer",
    "TrainResult",
    "Trainer",
    "TrainingLength",
    "Transform",
]

Handle: TypeAlias = dict[str, Any]
"""What an executor needs to find a job again; plain JSON, kept in the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a trainer gives back.

    Attributes:
        weights: The LoRA files, at least one of them final; paths relative to the work folder.
        metrics: Final figures.
        engine: Record of what ran: library versions, device, dtype.
    """

    weights: tuple[WeightsOutput, ...]
    metrics: Mapping[str, float] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingLength:
    """How long a training will be.

    Attributes:
        steps: Optimizer steps.
        pictures_per_step: Pictures that each of them learns from.
        pictures: Pictures of one epoch, with repeats and whatever else the trainer adds.
    """

    steps: int
    pictures_per_step: int
    pictures: int


class Trainer(Protocol):
    """Knows what to train and never where."""

    def train(self, context: TrainContext) -> TrainResult:
        """Train from ``context.latest_checkpoint()`` or from nothing.

        All randomness follows from (seed, step), so that a resumed run ends with the same weights.

        Raises:
            assetforge.api.context.Stopped: It was asked to stop, and has committed a checkpoint.
        """


class Renderer(Protocol):
    """Loads a base once, swaps LoRAs, renders cells."""

    def open(self, base: BaseRef, settings: RenderSettings, context: JobContext) -> Mapping[str, Any]:
        """Load the base model; return the engine record: versions, device, dtype, whatever changes pixels."""

    def use(self, loras: Sequence[tuple[LoraRef, float]]) -> None:
        """Wear exactly these LoRAs at these strengths; an empty sequence is the bare base, bit for bit."""

    def render(self, cells: Sequence[Cell]) -> "Iterator[ImageArray]":
        """Yield one picture per cell, in order; the same cell gives the same picture whatever came before it."""

    def close(self) -> None:
        """Free what ``open`` took."""


EngineState: TypeAlias = Literal["queued", "starting", "running", "exited", "gone", "unreachable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What an executor has to give.

    Attributes:
        slot: Name of the slot, such as ``cpu:0`` or ``cuda:1``.
        device: Device string for the child.
        title: What people read.
        free: It could start a job now.
        vram_gb: GPU memory in GiB.
        price_per_hour: In US dollars.
    """

    slot: str
    device: str
    title: str
    free: bool = True
    vram_gb: float = 0.0
    price_per_hour: float = 0.0


class Executor(Protocol):
    """Knows where jobs run and never what they do. Every method may be called again after a restart of the caller."""

    def probe(self) -> Sequence[Offer]:
        """The slots it has, and whether it can be reached."""

    def handle(self, job_key: str, attempt: int, workdir: Path) -> Handle:
        """The handle that ``submit`` will use; deterministic, so that it can be written down first."""

    def submit(self, handle: Handle, workdir: Path, resources: Resources, slot: str) -> None:
        """Start an attempt; a handle that was submitted already is left alone."""

    def poll(self, handle: Handle) -> EngineState:
        """What the engine says; a hint. ``unreachable`` is not ``gone``."""

    def follow(self, handle: Handle, cursor: int) -> tuple[list[dict[str, Any]], int]:
        """Whole event lines after byte ``cursor``, and the new cursor; never blocks."""

    def cancel(self, handle: Handle, grace_s: float) -> None:
        """Marker first, the engine's stop second. Returns at once."""

    def fetch(self, handle: Handle, workdir: Path) -> None:
        """Bring ``status.json``, ``result.json``, outputs, events and logs into ``workdir``, verified; nothing to do when it runs in place."""

    def release(self, handle: Handle) -> None:
        """Free what the attempt holds outside ``workdir``."""


class Provisioner(Protocol):
    """Makes hosts for an executor."""

    def up(self, resources: Resources) -> Handle:
        """Make a host."""

    def down(self, host: Handle) -> None:
        """Destroy a host; repeated until it is confirmed gone."""

    def list(self) -> Sequence[Handle]:
        """Every host that exists, for the sweep of leaked ones."""


class Metric(Protocol):
    """Scores pictures. Which of the methods is called follows from the spec's ``kind``; a metric has that one, and ``fingerprint`` when it reads weights from disk."""

    def embed(self, images: "Sequence[ImageArray]") -> "Vectors":
        """``embedding``: one L2-normalised row per picture; shape (n, d), float32."""

    def compare(self, pairs: "Sequence[tuple[ImageArray, ImageArray]]") -> Sequence[float]:
        """``pair``: one value per pair of equally sized pictures."""

    def score(self, images: "Sequence[ImageArray]") -> Sequence[float]:
        """``single``: one value per picture."""

    def follow(self, images: "Sequence[ImageArray]", prompts: Sequence[str]) -> Sequence[float]:
        """``prompt``: one value per picture and its prompt."""

    def fingerprint(self) -> str:
        """Optional: what tells the weights that it would score with from any others, such as names, sizes and times of their files.

        Asked for at the start of every score job, before any picture is: it must be cheap and load no network. Scores that are known already are
        used only for the same answer. Metrics whose results follow from their version and parameters alone go without.
        """


class Captioner(Protocol):
    """Describes pictures."""

    def caption(self, files: Sequence[Path]) -> Sequence[str]:
        """One caption per file; empty when it has nothing to say."""


class Transform(Protocol):
    """Prepares pictures."""

    def apply(self, images: "Sequence[ImageArray]") -> "Sequence[ImageArray]":
        """One picture per picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check noticed.

    Attributes:
        code: Stable short name, such as ``blurry``.
        severity: ``block`` keeps a reference out of datasets until a person decides.
        message: One sentence.
    """

    code: str
    severity: Literal["info", "warning", "block"]
    message: str


class Check(Protocol):
    """Inspects references."""

    def inspect(self, files: Sequence[Path]) -> Sequence[Sequence[Finding]]:
        """Findings per file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportItem:
    """One picture of a dataset on its way out.

    Attributes:
        source: The bytes.
        name: Readable file name with suffix, unique in the export.
        caption: Caption.
        repeats: Repeats.
        split: Split.
        mask: A grey PNG file as large as the picture, whose white is learnt and whose black is not; ``None`` where all of the picture is.
    """

    source: Path
    name: str
    caption: str
    repeats: int
    split: str
    mask: Path | None = None


class Exporter(Protocol):
    """Writes another tool's form."""

    def export(self, items: Iterable[ExportItem], destination: Path, about: Mapping[str, str]) -> Sequence[Path]:
        """Write into the empty folder ``destination``; return what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedReference:
    """A picture found by an importer."""

    file: Path
    caption: str = ""
    repeats: int = 1


class Importer(Protocol):
    """Reads another tool's form."""

    def read(self, source: Path) -> Iterable[ImportedReference]:
        """The references in a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAsset:
    """One asset of a demo film.

    Attributes:
        name: Asset name.
        type: Asset type.
        trigger: Trigger word.
        class_word: Class word.
        batches: Folders of references with sidecar captions, in order of arrival.
        recipe: Recipe name.
        suite: Suite name.
        held_out: How many references of the first batch are kept for scoring; 0 leaves it to the split rule.
    """

    name: str
    type: str
    trigger: str
    class_word: str
    batches: tuple[Path, ...]
    recipe: str
    suite: str
    held_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFilm:
    """A film that shows the whole loop."""

    name: str
    title: str
    assets: tuple[DemoAsset, ...]
