"""Optimizers from their libraries behind one interface, their exact state without pickles, and the moving average of the weights.

Libraries keep state in three places: tensors per parameter, numbers per parameter, and numbers per group (Prodigy's distance, schedule-free's sum of
weights). :func:`optimizer_state` takes all three, so that a resumed run goes on with the same bits.
"""

import contextlib
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from assetforge.errors import UsageError
from assetforge_diffusers.params import LoraTrainerParams

__all__ = [
    "EIGHT_BIT_DEVICES",
    "Ema",
    "ParameterGroup",
    "load_optimizer_state",
    "make_optimizer",
    "optimizer_state",
    "set_learning_rates",
    "training_mode",
]

_LEAST_PRODIGY_RATE = 0.1
EIGHT_BIT_DEVICES = {"cpu", "cuda", "xpu"}
_NO_STATE = {"params", "names", "peak"}
_TRAINED = "trained"

Parameters = Mapping[str, torch.nn.Parameter]


@dataclass(frozen=True, slots=True)
class ParameterGroup:
    """Parameters that share a learning rate.

    Attributes:
        names: Their names.
        parameters: The parameters, as many as names.
        peak: Learning rate at the top of the schedule.
    """

    names: tuple[str, ...]
    parameters: tuple[torch.nn.Parameter, ...]
    peak: float


def make_optimizer(params: LoraTrainerParams, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
    """The optimizer that ``params`` ask for, ready for its first step once :func:`set_learning_rates` was called.

    Args:
        params: ``optimizer``, betas and weight decay.
        groups: What it moves; empty groups are left out.

    Raises:
        UsageError: Its library is missing, the device cannot run it, or the parameters make no sense for it.
    """
    filled = [group for group in groups if group.parameters]
    if not filled:
        raise UsageError("There is nothing to train.", hint="Choose other targets.")
    _check(params, filled)
    entries = [
        {"params": list(group.parameters), "names": group.names, "peak": group.peak, "lr": group.peak}
        for group in filled
    ]
    return _MAKERS[params.optimizer](params, entries)


def _check(params: LoraTrainerParams, groups: Sequence[ParameterGroup]) -> None:
    kind, device = params.optimizer, groups[0].parameters[0].device.type
    if kind == "adamw8bit" and device not in EIGHT_BIT_DEVICES:
        raise UsageError(f"8-bit AdamW does not run on {device}.", hint="Set optimizer to adamw or adafactor.")
    if kind == "prodigy" and groups[0].peak < _LEAST_PRODIGY_RATE:
        raise UsageError(
            f"Prodigy multiplies the learning rate that it finds by learning_rate, and {groups[0].peak:g} would leave nothing of it.",
            hint="Set learning_rate to 1.",
        )
    if kind == "schedule-free" and params.beta1 == 0:
        raise UsageError("Schedule-free AdamW interpolates by beta1, which is 0.", hint="Set beta1 to 0.9.")
    if kind == "schedule-free" and params.ema:
        raise UsageError("Schedule-free AdamW already averages the weights.", hint="Set ema to 0.")


def _library(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except (ImportError, RuntimeError, OSError) as error:
        raise UsageError(
            f"This optimizer needs {package}, which cannot be imported: {error}",
            hint=f"Install it with `pip install {package}`, or set optimizer to adamw.",
        ) from error


def _adamw(params: LoraTrainerParams, entries: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(entries, betas=(params.beta1, params.beta2), weight_decay=params.weight_decay, fused=True)


def _adamw_8bit(params: LoraTrainerParams, entries: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Both moments in 8 bits in blocks of 256 (Dettmers et al. 2021, arXiv:2110.02861); parameters below 4096 numbers keep 32 bits."""
    base: Any = _library("bitsandbytes", "bitsandbytes").optim.AdamW8bit

    class AdamW8bit(base):  # type: ignore[misc]
        """Without the library's wait for the device after every single parameter, which only paged state needs."""

        @torch.no_grad()
        def step(self, closure: Callable[[], float] | None = None) -> float | None:
            loss = None if closure is None else torch.enable_grad()(closure)()
            for gindex, group in enumerate(self.param_groups):
                for pindex, parameter in enumerate(group["params"]):
                    if parameter.grad is None:
                        continue
                    if not self.state[parameter]:
                        self.init_state(group, parameter, gindex, pindex)
                    self.update_step(group, parameter, gindex, pindex)
            return loss

    optimizer: torch.optim.Optimizer = AdamW8bit(
        entries, betas=(params.beta1, params.beta2), weight_decay=params.weight_decay
    )
    return optimizer


def _adafactor(params: LoraTrainerParams, entries: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Second moments as rows times columns, no first moment (Shazeer and Stern 2018, arXiv:1804.04235).

    Steps have the given learning rate: scaled by the size of the parameters, as in the paper, the up-projections of a LoRA, which start at zero, would
    hardly move.
    """
    kind = import_module("transformers.optimization").Adafactor
    optimizer: torch.optim.Optimizer = kind(
        entries,
        lr=entries[0]["lr"],
        scale_parameter=False,
        relative_step=False,
        warmup_init=False,
        weight_decay=params.weight_decay,
    )
    return optimizer


def _prodigy(params: LoraTrainerParams, entries: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Finds its learning rate from the distance travelled (Mishchenko and Defazio 2023, arXiv:2306.06101), one for all groups.

    Bias correction and the warm-up safeguard are on, as its authors advise for diffusion models.
    """
    kind = _library("prodigyopt", "prodigyopt").Prodigy
    for entry in entries:
        entry["peak"] = entry["lr"] = entries[0]["peak"]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints, and stdout belongs to data
        optimizer: torch.optim.Optimizer = kind(
            entries,
            betas=(params.beta1, params.beta2),
            weight_decay=params.weight_decay,
            use_bias_correction=True,
            safeguard_warmup=True,
        )
    return optimizer


def _schedule_free(params: LoraTrainerParams, entries: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Averages the weights instead of lowering the learning rate (Defazio et al. 2024, arXiv:2405.15682)."""
    kind = _library("schedulefree", "schedulefree").AdamWScheduleFree
    optimizer: Any = kind(entries, betas=(params.beta1, params.beta2), weight_decay=params.weight_decay)
    optimizer.train()
    trained: torch.optim.Optimizer = optimizer
    return trained


_MAKERS: dict[str, Callable[[LoraTrainerParams, list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "adamw8bit": _adamw_8bit,
    "adafactor": _adafactor,
    "prodigy": _prodigy,
    "schedule-free": _schedule_free,
}


def _bare(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer inside accelerate's wrapper."""
    inner: torch.optim.Optimizer = getattr(optimizer, "optimizer", optimizer)
    return inner


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group to its peak times ``factor``, which is above 0.

    Schedule-free AdamW follows the rise and then stays at the peak, as its method asks. Prodigy's factor multiplies the rate that it finds.
    """
    for group in _bare(optimizer).param_groups:
        rate = group["peak"] * factor
        group["lr"] = max(rate, group["lr_max"]) if "lr_max" in group else rate


@torch.no_grad()
def training_mode(optimizer: torch.optim.Optimizer, *, on: bool) -> None:
    """Show the averaged weights (``on`` false) or the trained ones; only schedule-free AdamW has two kinds.

    Its own switch computes one from the other, which loses the last bits. Here the trained weights are kept aside meanwhile, as part of the state, so
    that looking changes nothing and a checkpoint of either side is whole.
    """
    bare: Any = _bare(optimizer)
    groups = [group for group in bare.param_groups if group.get("train_mode", on) != on]
    states = [(parameter, bare.state[parameter]) for group in groups for parameter in group["params"]]
    seen = [(parameter, state) for parameter, state in states if "z" in state]
    if on:
        for parameter, state in seen:
            parameter.copy_(state.pop(_TRAINED))
        for group in groups:
            group["train_mode"] = True
    elif groups:
        for parameter, state in seen:
            state[_TRAINED] = parameter.detach().clone()
        bare.eval()


def optimizer_state(
    optimizer: torch.optim.Optimizer, names: Parameters
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Everything that an exact resume needs.

    Args:
        optimizer: From :func:`make_optimizer`, perhaps wrapped by accelerate.
        names: The parameters by name; all that the optimizer moves.

    Returns:
        Tensors by ``parameter/what``, on the CPU, and the numbers as JSON: ``groups``, those of each group, and ``parameters``, by
        ``parameter/what``.
    """
    bare = _bare(optimizer)
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, Any] = {}
    for name, parameter in names.items():
        for what, value in bare.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                tensors[f"{name}/{what}"] = value.detach().cpu().contiguous().clone()
            else:
                numbers[f"{name}/{what}"] = value
    return tensors, {"groups": [_numbers(group) for group in bare.param_groups], "parameters": numbers}


def _numbers(group: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in group.items()
        if name not in _NO_STATE and isinstance(value, bool | int | float) and math.isfinite(value)
    }


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, names: Parameters, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]
) -> None:
    """Put what :func:`optimizer_state` gave into a new optimizer made with the same parameters.

    Raises:
        UsageError: It belongs to another network or optimizer.
    """
    bare = _bare(optimizer)
    groups = values.get("groups", [])
    unknown = {key.rpartition("/")[0] for key in (*tensors, *values.get("parameters", {}))} - set(names)
    if unknown:
        raise UsageError(
            f"The optimizer state is for another network: {min(unknown)} is unknown.", hint="Start the run again."
        )
    if len(groups) != len(bare.param_groups):
        raise UsageError(
            f"The optimizer state has {len(groups)} groups of parameters, and this run has {len(bare.param_groups)}.",
            hint="Start the run again.",
        )
    state: dict[str, dict[str, Any]] = {}
    for key, number in values.get("parameters", {}).items():
        name, _, what = key.rpartition("/")
        state.setdefault(name, {})[what] = number
    for key, tensor in tensors.items():
        name, _, what = key.rpartition("/")
        state.setdefault(name, {})[what] = tensor.to(names[name].device, copy=True)
    bare.state.clear()
    bare.state.update({names[name]: entry for name, entry in state.items()})
    for group, numbers in zip(bare.param_groups, groups, strict=True):
        group.update(numbers)


class Ema:
    """An exponential moving average of parameters.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), so that an average over few steps does not hang on the first weights (the warm-up of
    TensorFlow's ExponentialMovingAverage).

    Args:
        parameters: What is averaged, by name.
        decay: In (0, 1); 0.99 averages over about 100 steps.
    """

    def __init__(self, parameters: Parameters, decay: float) -> None:
        self._parameters, self._decay, self._updates = dict(parameters), decay, 0
        self._averages = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of a step in; waits for nothing."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        targets = [parameter.detach() for parameter in self._parameters.values()]
        torch._foreach_lerp_(list(self._averages.values()), targets, 1.0 - decay)

    def state(self) -> dict[str, torch.Tensor]:
        """The averages by name and ``updates``, () int64, on the CPU."""
        averages = {name: tensor.cpu().contiguous().clone() for name, tensor in self._averages.items()}
        return {**averages, "updates": torch.tensor(self._updates)}

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put back what :meth:`state` gave.

        Raises:
            UsageError: It belongs to another network.
        """
        different = tensors.keys() ^ {*self._averages, "updates"}
        if different:
            raise UsageError(
                f"The averaged weights are for another network: {min(different)} differs.", hint="Start the run again."
            )
        self._updates = int(tensors["updates"])
        for name, tensor in self._averages.items():
            tensor.copy_(tensors[name])

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Have the averages in the parameters for a while; the trained weights come back bit by bit."""
        with torch.no_grad():
            trained = [parameter.detach().clone() for parameter in self._parameters.values()]
            for name, parameter in self._parameters.items():
                parameter.copy_(self._averages[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, kept in zip(self._parameters.values(), trained, strict=True):
                    parameter.copy_(kept)
