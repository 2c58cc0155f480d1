"""What plugins hand over: frozen descriptions, never live objects.

The CLI and the TUI list and validate from these alone. ``load`` names the code as ``"package.module:Attribute"``; it is imported only where
the work happens (for trainers, renderers and metrics: in the job's child process).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from assetforge.api.params import Params

__all__ = [
    "AssetTypeSpec",
    "BaseModelSpec",
    "CaptionerSpec",
    "CheckSpec",
    "CommandSpec",
    "DemoSpec",
    "ExecutorSpec",
    "ExporterSpec",
    "ImporterSpec",
    "LoadableSpec",
    "MetricSpec",
    "ProvisionerSpec",
    "RecipeSpec",
    "RendererSpec",
    "ScreenSpec",
    "Spec",
    "SuiteBlock",
    "SuiteSpec",
    "TrainerSpec",
    "TransformSpec",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What every extension point has.

    Attributes:
        name: Short name, ``[a-z0-9-]+``, unique per kind; two plugins with one name is a collision, and neither is used.
        title: What people read.
        summary: One sentence.
    """

    name: str
    title: str
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadableSpec(Spec):
    """A spec with code behind it.

    Attributes:
        load: ``"package.module:Attribute"``, imported only where the work happens.
        params: The parameter model of the code.
    """

    load: str
    params: type[Params] = Params


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerSpec(LoadableSpec):
    """A way to train a LoRA; ``load`` gives a :class:`~assetforge.api.protocols.Trainer`.

    Attributes:
        families: Model families it can train, such as ``sd15``.
        resumable: It continues from its own committed checkpoints after it was killed.
        version: Changes whenever the same inputs would give other weights; part of the recipe key.
        length: ``"package.module:function"``; ``function(params, pictures)`` gives a :class:`~assetforge.api.protocols.TrainingLength` for so many pictures to train on,
            repeats counted, so that people see beforehand how long a run is. Must not import torch. Empty when nobody can know; a parameter named ``steps`` counts then.
    """

    families: tuple[str, ...]
    resumable: bool = False
    version: str = "1"
    length: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RendererSpec(LoadableSpec):
    """A way to render cells; ``load`` gives a :class:`~assetforge.api.protocols.Renderer`.

    Attributes:
        families: Model families it can render.
        version: Changes whenever the same cell would give other pixels; part of the engine record.
    """

    families: tuple[str, ...]
    version: str = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSpec(LoadableSpec):
    """A place where jobs run; ``load`` gives an :class:`~assetforge.api.protocols.Executor`.

    Attributes:
        transport: How the bundle gets there: ``dir`` is used in place, ``sftp`` and ``object`` are copied.
        grace_max_s: Longest time, in seconds, that the engine lets a job take to stop.
        engine_retries: The engine restarts jobs by itself.
        trusted_host: Secrets and likeness data may go there.
    """

    transport: Literal["dir", "sftp", "object"] = "dir"
    grace_max_s: float = 3600.0
    engine_retries: bool = False
    trusted_host: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionerSpec(LoadableSpec):
    """Makes hosts for an executor; ``load`` gives a :class:`~assetforge.api.protocols.Provisioner`.

    Attributes:
        executor: Name of the executor that runs on the hosts it makes.
    """

    executor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec(LoadableSpec):
    """A score for renders; ``load`` gives a :class:`~assetforge.api.protocols.Metric`.

    Attributes:
        asset_types: Types it says something about; empty means all.
        kind: ``embedding`` turns a picture into a vector, ``pair`` compares two pictures, ``single`` looks at one, ``prompt`` says how well a picture follows its prompt.
        direction: Whether a higher or a lower value is better.
        gates: It may pass or fail a version; pixel metrics only flag.
        bases: Names of the base models whose pictures it can read; empty means all.
        margin: Smallest mean change for the worse that a reviewer can see, at least 0; the noise of training again may widen it.
        readout: How an embedding of likeness becomes one number per picture: ``mean`` cosine to the held-out references, the ``nearest`` of them, or ``csls``, nearer to
            them than to references of other assets (:mod:`assetforge.domain.readouts`); margins are in units of a cosine in all three.
        copy_limit: For embeddings that find copies: a render whose cosine to a training picture is above it is a copy; ``None`` for embeddings of likeness.
        ready: ``"package.module:function"``; the function takes nothing and returns an empty string when the metric can run here, else one sentence that says what it
            needs and where to put it. Must not import torch. Empty for metrics that always can.
        licence: Licence of the weights, when it has any.
    """

    kind: Literal["embedding", "pair", "single", "prompt"]
    asset_types: tuple[str, ...] = ()
    direction: Literal["higher", "lower"] = "higher"
    gates: bool = False
    bases: tuple[str, ...] = ()
    margin: float = 0.0
    readout: Literal["mean", "nearest", "csls"] = "mean"
    copy_limit: float | None = None
    ready: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionerSpec(LoadableSpec):
    """Describes pictures in words; ``load`` gives a :class:`~assetforge.api.protocols.Captioner`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformSpec(LoadableSpec):
    """Prepares pictures (crop, background removal); ``load`` gives a :class:`~assetforge.api.protocols.Transform`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec(LoadableSpec):
    """Inspects references; ``load`` gives a :class:`~assetforge.api.protocols.Check`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterSpec(LoadableSpec):
    """Writes a dataset or a version in the form of another tool; ``load`` gives an :class:`~assetforge.api.protocols.Exporter`.

    Attributes:
        exports: What it can write.
    """

    exports: Literal["dataset", "version", "project"] = "dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImporterSpec(LoadableSpec):
    """Reads another tool's folder; ``load`` gives an :class:`~assetforge.api.protocols.Importer`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetTypeSpec(Spec):
    """A kind of asset.

    Attributes:
        folder: Folder of the film that holds assets of this type, such as ``characters``.
        class_word: Word for the class in captions and prompts when the asset names none.
    """

    folder: str
    class_word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeSpec(Spec):
    """How to train, as data.

    Attributes:
        family: Model family it is meant for.
        trainer: Name of the trainer.
        asset_types: Asset types it is meant for; the first recipe that fits is an asset's default.
        base: Name of the base model; empty leaves it to the project or the user.
        params: Values for the trainer's parameter model.
    """

    family: str
    trainer: str
    asset_types: tuple[str, ...]
    base: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteBlock:
    """One block of a suite: every prompt with every seed at every strength.

    Attributes:
        name: ``core``, ``core-out``, ``strength``, ``bleed``, ``pairs``, ``own`` ...
        prompts: Templates; ``{trigger}`` and ``{class}`` are filled per asset, ``{other}`` and ``{other_class}`` with the words of the asset worn beside it.
        seeds: Seeds of the initial noise.
        strengths: LoRA strengths; 0 is the base control.
        negative: Negative prompt.
        quick: How many of the prompts, from the first, belong to the quick size of the suite; with 0 the block is left out of it.
        reserve: Prompts that are added when those above leave a verdict inconclusive.
        beside: What is worn beside the version under test: a version such as ``ilse@approved``; ``cast`` for every other asset of the film that has an approved version on the
            same model family, or ``cast:character,prop`` for those of these types, in turns over the prompts. Where there is none the block is left out.
        beside_strength: Strength of what is worn beside it.
    """

    name: str
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    strengths: tuple[float, ...] = (1.0,)
    negative: str = ""
    quick: int = 0
    reserve: tuple[str, ...] = ()
    beside: str = ""
    beside_strength: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteSpec(Spec):
    """A regression sample plan, as data.

    Attributes:
        family: Model family it is meant for.
        asset_types: Asset types it is meant for; the first suite that fits is an asset's default.
        blocks: What is rendered.
        steps: Sampler steps.
        cfg: Classifier-free guidance scale; 1 switches guidance off.
        width: Pixels.
        height: Pixels.
        sampler: Scheduler name, such as ``ddim``.
    """

    family: str
    asset_types: tuple[str, ...]
    blocks: tuple[SuiteBlock, ...]
    steps: int = 30
    cfg: float = 7.0
    width: int = 512
    height: int = 512
    sampler: str = "ddim"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModelSpec(Spec):
    """A base model that a plugin ships or knows how to find.

    Attributes:
        family: Model family, such as ``sd15``.
        locate: ``"package.module:function"``; the function takes nothing and returns the model's folder or file as a path. Must not import torch.
        resolution: Native resolution in pixels.
        licence: Licence of the weights (SPDX identifier where there is one).
    """

    family: str
    locate: str
    resolution: int
    licence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSpec(Spec):
    """A demo film; ``load`` gives a function ``build(folder) -> DemoFilm``.

    Attributes:
        load: ``"package.module:function"``; must not import torch.
        base: Name of the base model its recipes train on.
    """

    load: str
    base: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """A CLI command of a plugin.

    Attributes:
        path: Words of the command, such as ``("vision", "weights")``.
        help: One sentence.
        load: ``"package.module:function"``; an ordinary annotated function, whose signature becomes the options.
    """

    path: tuple[str, ...]
    help: str
    load: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenSpec(Spec):
    """A TUI screen of a plugin, in the palette under its title.

    Attributes:
        load: ``"package.module:ScreenClass"``, a ``textual.screen.Screen`` that is made with the film's folder (a :class:`~pathlib.Path`).
        key: Key that opens it from every screen that does not use that key itself; empty for none.
    """

    load: str
    key: str = ""
