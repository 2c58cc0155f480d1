"""What a bundle says: ``job.json``, its payloads, and ``result.json``.

These models are the wire format between the machine that owns the project and the machine that runs the job. Paths inside a bundle are relative
to the work folder and use forward slashes. A change that old readers cannot ignore raises :data:`JOB_SCHEMA`.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

__all__ = [
    "JOB_SCHEMA",
    "RESULT_SCHEMA",
    "WITHIN",
    "BaseRef",
    "Cell",
    "Companion",
    "DatasetItem",
    "EngineRef",
    "JobSpec",
    "LoraRef",
    "OutputFile",
    "RenderPass",
    "RenderPayload",
    "RenderSettings",
    "RenderedCell",
    "Resources",
    "Result",
    "ScoreImage",
    "ScorePayload",
    "TrainPayload",
    "TrainingDataset",
    "WeightsOutput",
]

JOB_SCHEMA = "assetforge/job/1"
RESULT_SCHEMA = "assetforge/result/1"


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EngineRef(_Wire):
    """Which plugin code does the work.

    Attributes:
        kind: Extension point: ``trainer``, ``renderer`` or ``metric``.
        name: Name of the spec.
        version: Version of the spec.
        plugin: Distribution that ships it.
        plugin_version: Version of that distribution.
        load: ``"package.module:Attribute"``.
    """

    kind: str
    name: str
    version: str
    plugin: str
    plugin_version: str
    load: str


class Resources(_Wire):
    """What a job needs.

    Attributes:
        device: ``auto`` takes the best device of the slot, else ``cpu``, ``cuda`` or ``mps``.
        threads: CPU threads the child may use; 0 leaves it to the slot.
        vram_gb: Free GPU memory it needs, in GiB; 0 when unknown.
        gpus: How many GPUs it uses at once, where it runs on GPUs.
    """

    device: str = "auto"
    threads: int = 0
    vram_gb: float = 0.0
    gpus: int = 1


class BaseRef(_Wire):
    """A base model.

    Attributes:
        name: Registered name.
        family: Model family.
        digest: SHA-256 over the model's files (see :mod:`assetforge.services.base_models`).
        path: Folder or file on the machine that made the bundle; empty when the worker must find it by name.
        resolution: Native resolution in pixels.
        config: For a single file, the folder in diffusers layout with its settings, tokenizers and the weights that the file lacks, on the
            machine that made the bundle; empty for a folder, which has everything.
    """

    name: str
    family: str
    digest: str
    path: str = ""
    resolution: int = 512
    config: str = ""


class DatasetItem(_Wire):
    """One line of a dataset version as the trainer sees it.

    Attributes:
        file: Path inside the bundle.
        sha256: Hash of the original bytes: the identity for caches.
        caption: Full caption, trigger included.
        width: Pixels after EXIF orientation.
        height: Pixels after EXIF orientation.
        crop: Left, top, right, bottom in pixels after EXIF orientation; ``None`` uses the whole picture.
        repeats: How often an epoch shows it.
        split: ``train``, or ``held_out`` for scoring only.
        mask: Path inside the bundle of a picture of the same shape, white where it is to be learnt and black where not; empty without one.
        mask_sha256: Hash of the mask's bytes; empty without one.
    """

    file: str
    sha256: str
    caption: str
    width: int
    height: int
    crop: tuple[int, int, int, int] | None = None
    repeats: int = 1
    split: Literal["train", "held_out"] = "train"
    mask: str = ""
    mask_sha256: str = ""


class TrainingDataset(_Wire):
    """``inputs/dataset.json`` of a train job.

    Attributes:
        address: Such as ``mara/d3``.
        tree_hash: Identity of the dataset version.
        items: Train and held-out items, in canonical order.
    """

    address: str
    tree_hash: str
    items: tuple[DatasetItem, ...]

    def train_items(self) -> list[DatasetItem]:
        """The items a trainer may learn from."""
        return [item for item in self.items if item.split == "train"]

    def held_out_items(self) -> list[DatasetItem]:
        """The items kept for validation loss and scoring."""
        return [item for item in self.items if item.split == "held_out"]


class TrainPayload(_Wire):
    """What a train job is about.

    Attributes:
        asset: Name of the asset.
        asset_type: Its type.
        trigger: Trigger word.
        class_word: Class word.
        recipe: Name of the recipe.
        recipe_key: Identity of (dataset, recipe, trainer, base).
        base: The base model.
        dataset: Path of the dataset file inside the bundle.
        output_name: File stem of the weights, such as ``mara-v002``.
        metadata: Extra ``assetforge.*`` metadata for the weights file; string to string.
        warm_start: Weights inside the bundle to continue from; empty trains from nothing.
    """

    asset: str
    asset_type: str
    trigger: str
    class_word: str
    recipe: str
    recipe_key: str
    base: BaseRef
    dataset: str = "inputs/dataset.json"
    output_name: str
    metadata: dict[str, str] = Field(default_factory=dict)
    warm_start: str = ""


class LoraRef(_Wire):
    """A LoRA file to render with.

    Attributes:
        name: Address, such as ``mara/v2``.
        file: Path inside the bundle.
        sha256: Hash of the file.
    """

    name: str
    file: str
    sha256: str


class Companion(_Wire):
    """A version of another asset, worn beside the one under test.

    Attributes:
        name: Address, such as ``ilse/v3``.
        sha256: Hash of the LoRA file.
        strength: Strength it is worn at.
        trigger: Trigger word of the other asset.
        class_word: Its class word.
    """

    name: str
    sha256: str
    strength: float = 1.0
    trigger: str = ""
    class_word: str = ""


class Cell(_Wire):
    """One planned picture of a suite.

    Attributes:
        index: Position in the plan; equal across evaluations of one suite and asset.
        block: Block of the suite.
        prompt: Filled prompt.
        negative: Negative prompt.
        seed: Seed of the initial noise.
        strength: Strength of the version under test; 0 renders the picture without it.
        beside: What is worn beside it, at every strength of the version under test; ``None`` for nothing.
    """

    index: int
    block: str
    prompt: str
    negative: str = ""
    seed: int
    strength: float = 1.0
    beside: Companion | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without ``beside`` where nothing is: cells that were planned before there were companions keep their digest."""
        fields: dict[str, Any] = written(self)
        return fields if self.beside is not None else {key: fields[key] for key in fields if key != "beside"}


class RenderSettings(_Wire):
    """What all cells of an evaluation share.

    Attributes:
        steps: Sampler steps.
        cfg: Guidance scale.
        width: Pixels.
        height: Pixels.
        sampler: Scheduler name.
    """

    steps: int
    cfg: float
    width: int
    height: int
    sampler: str = "ddim"


class RenderPass(_Wire):
    """One stack of LoRAs through cells of an evaluation; an evaluation has a pass for each stack.

    Attributes:
        evaluation: Row id of the evaluation.
        lora: The version under test; ``None`` is the base control.
        companions: LoRAs worn beside it, with their strengths; also where the version under test is not worn, which is at strength 0 and in the control.
        cells: What to render; each cell's own strength applies to ``lora``.
    """

    evaluation: int
    lora: LoraRef | None
    companions: tuple[tuple[LoraRef, float], ...] = ()
    cells: tuple[Cell, ...]


class RenderPayload(_Wire):
    """What a render job is about; one loaded base serves all passes."""

    base: BaseRef
    settings: RenderSettings
    passes: tuple[RenderPass, ...]


WITHIN = "within"
"""Among the sides of a ``pair`` metric: it also compares pictures of one version with each other, such as those of one prompt."""


class ScoreImage(_Wire):
    """A picture to score.

    Attributes:
        key: Name that the scores come back under: ``new/0007``, ``baseline/0007``, ``control/0007``, ``ref/HASH`` (held-out references), ``train/HASH`` (pictures the new
            version was trained on), ``other/HASH`` (references of other assets of the type).
        file: Path inside the bundle.
        sha256: Hash of the file, by which scores are cached; empty is not cached.
        prompt: What was asked for, without the trigger word; empty when nothing was.
    """

    key: str
    file: str
    sha256: str = ""
    prompt: str = ""


class ScorePayload(_Wire):
    """What a score job is about: one metric over pictures.

    Attributes:
        metrics: The metrics to run, in order; their params lie under the same index of ``params_list``.
        params_list: Parameters per metric.
        images: Pictures.
        pairs: Keys of ``images`` that ``pair`` metrics compare.
        sides: Per metric: what stands before the slash in the keys of the pictures it looks at; empty means all. Pairs within one side are only looked at where
            :data:`WITHIN` is named as well.
    """

    metrics: tuple[EngineRef, ...]
    params_list: tuple[dict[str, Any], ...]
    images: tuple[ScoreImage, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    sides: tuple[tuple[str, ...], ...] = ()


class JobSpec(_Wire):
    """``job.json``: everything a machine needs to know, and no secrets.

    Attributes:
        schema_name: Always :data:`JOB_SCHEMA`.
        project: Id of the project (a UUID), so that two films never share a work folder.
        job: Row id of the job.
        run: Row id of the run for train jobs.
        kind: What to do.
        engine: Which plugin code does it; metrics are named in the payload.
        params: Validated parameters of the engine.
        argv: Command of the child; ``{python}`` stands for the interpreter of the worker's environment.
        env: Extra environment of the child; never secrets.
        seed: Seed of all randomness.
        resources: What it needs.
        max_attempts: How often a killed job is started again by an engine that does so by itself; the film's queue counts for itself.
        grace_s: Seconds between asking to stop and killing.
        payload: A payload model of this module, dumped; which one follows from ``kind``.
        outputs: Paths under ``outputs/`` that must exist at the end; globs allowed.
    """

    schema_name: str = Field(default=JOB_SCHEMA, alias="schema", serialization_alias="schema")
    project: str
    job: int
    run: int | None = None
    kind: Literal["train", "render", "score"]
    engine: EngineRef | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    argv: tuple[str, ...] = ("{python}", "-P", "-m", "assetforge.jobs.child", ".")
    env: dict[str, str] = Field(default_factory=dict)
    seed: int = 0
    resources: Resources = Resources()
    max_attempts: int = 3
    grace_s: float = 60.0
    payload: dict[str, Any]
    outputs: tuple[str, ...] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class OutputFile(_Wire):
    """One file that a job made.

    Attributes:
        path: Relative to the work folder.
        sha256: Hash of its bytes.
        size: Bytes.
    """

    path: str
    sha256: str
    size: int


class WeightsOutput(_Wire):
    """LoRA weights that a train job made.

    Attributes:
        step: Step they were taken at.
        kohya: Path of the kohya-format file.
        diffusers: Path of the diffusers-format file.
        tensor_hash: SHA-256 of the tensor data section of the kohya file: identity of the weights whatever the metadata.
        final: It is the end of the run, not a checkpoint on the way.
    """

    step: int
    kohya: str
    diffusers: str = ""
    tensor_hash: str = ""
    final: bool = True


class RenderedCell(_Wire):
    """One picture that a render job made.

    Attributes:
        evaluation: Row id of the evaluation.
        index: Index of the cell in its plan.
        file: Path of the PNG.
        seconds: Time the picture took.
    """

    evaluation: int
    index: int
    file: str
    seconds: float


class Result(_Wire):
    """``result.json``: written last and only on success; the fact, whatever an engine or an exit code says.

    Attributes:
        schema_name: Always :data:`RESULT_SCHEMA`.
        job: Row id of the job.
        attempt: Attempt that succeeded.
        outputs: Every file under ``outputs/`` with its hash.
        engine: Record of what ran: versions, device, dtype (see :class:`assetforge.api.protocols.Renderer`).
        weights: LoRA files, for train jobs.
        cells: Pictures, for render jobs.
        scores: For score jobs: per metric name, per image key or ``"a|b"`` pair key, a value or a vector.
        metrics: Final figures, such as ``loss`` or ``seconds_per_step``.
        seconds: Wall time of the child.
    """

    schema_name: str = Field(default=RESULT_SCHEMA, alias="schema", serialization_alias="schema")
    job: int
    attempt: int
    outputs: tuple[OutputFile, ...]
    engine: dict[str, Any] = Field(default_factory=dict)
    weights: tuple[WeightsOutput, ...] = ()
    cells: tuple[RenderedCell, ...] = ()
    scores: dict[str, dict[str, float | list[float]]] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    seconds: float = 0.0

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @classmethod
    def read(cls, path: Path) -> "Result":
        """Read ``result.json``.

        Raises:
            pydantic.ValidationError: The file is not a result of this schema.
        """
        return cls.model_validate_json(path.read_bytes())
