"""What to do when memory does not suffice: measures in the order in which they cost least, each on top of those before it.

As asked; activations computed twice; smaller batches with more accumulation, down to one picture; 8-bit optimizer state; the base in int8, then nf4; the
base in main memory. None is ever taken silently: ``fit_memory=ask`` stops and names the first that suffices, ``auto`` takes it and says so.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from assetforge.errors import PluginError, UsageError
from assetforge_diffusers.memory import Estimate, gib
from assetforge_diffusers.optimizers import EIGHT_BIT_DEVICES
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.quantize import NF4_DEVICES

__all__ = ["Fit", "Rung", "changed", "fitting", "ladder", "preflight", "relieve"]

_MOST_ACCUMULATED = 256
_CLEARLY_LESS = 0.95
_HARMLESS = {"gradient_checkpointing", "offload"}

Estimating = Callable[[LoraTrainerParams], Estimate]


@dataclass(frozen=True, slots=True)
class Rung:
    """One measure, with all those before it.

    Attributes:
        name: ``as asked``, ``checkpointing``, ``batch 2`` ..., ``8-bit optimizer``, ``int8``, ``nf4`` or ``offloading``.
        changes: Parameters that differ from what was asked.
        params: What a run on this rung is given.
        sentence: What it does, and what it costs.
        estimate: Its need, once it was computed.
    """

    name: str
    changes: Mapping[str, Any]
    params: LoraTrainerParams
    sentence: str
    estimate: Estimate | None = None

    @property
    def words(self) -> str:
        """What to type: ``--set gradient_checkpointing=true --set batch_size=2``."""
        return " ".join(f"--set {name}={_word(value)}" for name, value in self.changes.items())


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def changed(asked: LoraTrainerParams, taken: LoraTrainerParams) -> dict[str, Any]:
    """The parameters that differ, with the values that were taken."""
    before, after = asked.model_dump(mode="json"), taken.model_dump(mode="json")
    return {name: value for name, value in after.items() if before[name] != value}


def ladder(params: LoraTrainerParams, device: str, *, resumed: bool = False) -> list[Rung]:
    """All rungs from ``params`` upwards, without their needs.

    Args:
        params: What was asked.
        device: ``cpu``, ``cuda`` ...; nf4 and offloading are not for every device.
        resumed: Steps were done under ``params``: only what changes no weight can still be changed.
    """
    rungs = [Rung("as asked", {}, params, "As asked.")]
    for name, changes, sentence in _steps(params, device):
        if resumed and not changes.keys() <= _HARMLESS:
            continue
        all_changes = {**rungs[-1].changes, **changes}
        rungs.append(Rung(name, all_changes, params.model_copy(update=all_changes), sentence))
    return rungs


def _steps(params: LoraTrainerParams, device: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    if not params.gradient_checkpointing:
        yield (
            "checkpointing",
            {"gradient_checkpointing": True},
            "Activations are computed twice instead of being kept; the weights are the same, steps take about 1.7 times as long.",
        )
    size, views = params.batch_size, params.batch_size * params.accumulate
    while (size := _smaller(size)) and views // size <= _MOST_ACCUMULATED:
        pictures = "1 picture is" if size == 1 else f"{size} pictures are"
        yield (
            f"batch {size}",
            {"batch_size": size, "accumulate": views // size},
            f"{pictures} computed at once and {views // size} batches are added up, so that a step sees {views} as before.",
        )
    if params.optimizer == "adamw" and _has_bitsandbytes() and device in EIGHT_BIT_DEVICES:
        yield ("8-bit optimizer", {"optimizer": "adamw8bit"}, "The optimizer keeps its state in 8 bits.")
    if params.quantize == "none":
        plain = {"compile": False} if params.compile else {}  # the two and checkpointing do not go together
        yield ("int8", {"quantize": "int8", **plain}, "The frozen base is kept in 8 bits; steps take longer.")
    if params.quantize != "nf4" and device in NF4_DEVICES and _has_bitsandbytes():
        yield (
            "nf4",
            {"quantize": "nf4"},
            "The frozen base is kept in 4 bits; steps take longer, and it is a little less like itself.",
        )
    if not params.offload and device != "cpu":
        yield (
            "offloading",
            {"offload": True},
            "The frozen base stays in main memory and is brought over layer by layer; steps take much longer.",
        )


def _smaller(size: int) -> int:
    """The largest proper divisor, so that the same pictures make a step; 0 for 1."""
    return next((size // divisor for divisor in range(2, size + 1) if size % divisor == 0), 0)


def _has_bitsandbytes() -> bool:
    return find_spec("bitsandbytes") is not None


def fitting(
    params: LoraTrainerParams, limit: int, estimating: Estimating, device: str, *, resumed: bool = False
) -> Iterator[Rung]:
    """The rungs that fit into ``limit`` bytes, cheapest measure first, with their needs; computed as they are asked for."""
    for rung in ladder(params, device, resumed=resumed):
        estimate = estimating(rung.params)
        if estimate.total <= limit:
            yield replace(rung, estimate=estimate)


@dataclass(frozen=True, slots=True)
class Fit:
    """What a run starts with.

    Attributes:
        params: As asked, or with the measures that were taken.
        estimate: Their need; ``None`` when it could not be computed.
        message: For the run's log: the need, and what was changed and why.
    """

    params: LoraTrainerParams
    estimate: Estimate | None
    message: str


def preflight(
    params: LoraTrainerParams, limit: int, estimating: Estimating, device: str, *, resumed: bool = False
) -> Fit:
    """Before the start: check the need against ``limit`` bytes, and take the first measure that suffices if ``fit_memory`` is ``auto``.

    Args:
        params: What was asked, or what an earlier attempt was trained under.
        limit: Bytes that may be used.
        estimating: Gives the need of parameters.
        device: ``cpu``, ``cuda`` ...
        resumed: Steps were done under ``params`` already.

    Raises:
        UsageError: It does not fit, and ``fit_memory`` is ``ask``, or nothing suffices.
    """
    try:
        asked = estimating(params)
    except PluginError as error:
        return Fit(params, None, str(error))
    if asked.total <= limit:
        return Fit(params, asked, f"{asked.describe()} There are {gib(limit)}.")
    trouble = f"Training as asked needs about {gib(asked.total)} of memory, and there are {gib(limit)}."
    return _measure(params, limit, estimating, device, trouble, resumed=resumed)


def relieve(
    params: LoraTrainerParams, limit: int, estimating: Estimating, device: str, *, resumed: bool = False
) -> Fit:
    """After memory ran out under ``params``: the first measure that needs clearly less than they were thought to; arguments as of :func:`preflight`.

    Raises:
        UsageError: ``fit_memory`` is ``ask``, or nothing suffices.
    """
    asked = estimating(params)
    trouble = f"Memory ran out: training was thought to need {gib(asked.total)} of {gib(limit)}."
    return _measure(params, min(limit, int(asked.total * _CLEARLY_LESS)), estimating, device, trouble, resumed=resumed)


def _measure(
    params: LoraTrainerParams, limit: int, estimating: Estimating, device: str, trouble: str, *, resumed: bool
) -> Fit:
    rung = next((rung for rung in fitting(params, limit, estimating, device, resumed=resumed) if rung.changes), None)
    if rung is None or rung.estimate is None:
        last = ladder(params, device, resumed=resumed)[-1]
        least = f" Even with {last.words} it needs {gib(estimating(last.params).total)}." if last.changes else ""
        raise UsageError(
            f"{trouble}{least}", hint="Use smaller resolutions, a lower rank, a smaller base model or a bigger machine."
        )
    need = gib(rung.estimate.total)
    if params.fit_memory == "ask":
        raise UsageError(
            trouble,
            hint=f"Add `{rung.words}`, which needs about {need}, or set fit_memory=auto to have such measures taken.",
        )
    taken = _sentences(ladder(params, device, resumed=resumed), rung)
    return Fit(rung.params, rung.estimate, f"{trouble} Taken: {rung.words}, which needs about {need}. {taken}")


def _sentences(rungs: list[Rung], taken: Rung) -> str:
    """What the rungs up to ``taken`` do; of those that change the same thing the last."""
    said: dict[str, str] = {}
    for rung in rungs[1:]:
        said["batch" if rung.name.startswith("batch") else "base" if rung.name in {"int8", "nf4"} else rung.name] = (
            rung.sentence
        )
        if rung.name == taken.name:
            break
    return " ".join(said.values())
