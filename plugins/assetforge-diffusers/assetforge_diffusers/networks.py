"""The trainable networks over a frozen base: LoRA, DoRA, LoHa and LoKr through peft, added so that they change nothing at first, and read and set exactly.

What peft leaves to its callers is done here: adapters stay in fp32 over a base in half precision, their inputs are kept once and not in a copy per layer, LoRA
computes in the precision of its input as a pipeline in half precision does (no autocast, which would have every normalisation answer in fp32), DoRA's lengths are measured in the precision they are used in, LoHa and LoKr take no chances (peft asks a random number in every training step whether a layer is left out, even when none shall be), and LoKr
layers without any low-rank factor are not scaled, as other tools read them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from peft import LoHaConfig, LoKrConfig, LoraConfig, PeftConfig
from peft.tuners.loha import layer as loha
from peft.tuners.lokr import layer as lokr
from peft.tuners.lora import dora
from peft.tuners.lora import layer as lora
from peft.tuners.tuners_utils import BaseTunerLayer
from torch.utils.checkpoint import checkpoint

from assetforge.errors import UsageError
from assetforge_diffusers.keys.layer import Layer
from assetforge_diffusers.lora_products import HalfCopies, LoraProduct, TrainedFactors, lora_products
from assetforge_diffusers.params import LoraTrainerParams

__all__ = [
    "ADAPTER",
    "adapt",
    "adapter_layers",
    "checkpoint_gradients",
    "denoiser_config",
    "follow_inputs",
    "load_layers",
    "text_config",
]

ADAPTER = "default"
_MAGNITUDE = "lora_magnitude_vector"
_HALVES = (torch.bfloat16, torch.float16)
_SCALED = ("lora_B.weight", "hada_w1_a", "lokr_w1", "lokr_w1_a")
"""Tensors that the change of a weight is proportional to, one in every kind of layer."""

Modules = Mapping[str, torch.nn.Module]


class _Steady:
    """A layer that is never left out: peft asks chance only while ``training``."""

    training = property(lambda self: False, lambda self, mode: None)  # noqa: ARG005 - nn.Module assigns it


class _Following:
    """A layer that takes its input as it is, for factors that follow it: peft makes an fp32 copy of it first, and each layer then keeps a copy of its own for the backward pass."""

    def _cast_input_dtype(self, x: Any, dtype: torch.dtype) -> Any:
        del dtype
        return x


class _Autocast:
    """A layer that leaves its input to autocast, for the same reason; without autocast as peft has it."""

    def _cast_input_dtype(self, x: Any, dtype: torch.dtype) -> Any:
        if x is not None and torch.is_autocast_enabled(x.device.type):
            return x
        return super()._cast_input_dtype(x, dtype)  # type: ignore[misc]


class _FactorLinear(torch.nn.Linear):
    """A factor of a LoRA that is kept in fp32 and used in the precision of its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight.to(x.dtype), self.bias)


class _FactorConv2d(torch.nn.Conv2d):
    """The same for a convolution."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, self.weight.to(x.dtype), self.bias)


class _LoraLinear(_Following, LoraProduct, lora.Linear):
    """In half precision the change is added within the product that makes it: large activations are then read and written twice less, forward and backward."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        worn = "" if args or kwargs else self._worn(x)
        if not worn:
            usual: torch.Tensor = super().forward(x, *args, **kwargs)
            return usual
        answers = lora_products([self], x)
        if answers is not None:
            return answers[0]
        inner = self.lora_A[worn](x)
        answer: torch.Tensor = self.base_layer(x)
        return torch.addmm(answer.flatten(0, -2), inner.flatten(0, -2), self._outer(worn, x.dtype).t()).view_as(answer)

    def base(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None] | None:
        """See :class:`assetforge_diffusers.lora_products.LoraProduct`."""
        layer = self.base_layer
        plain = self._worn(x) and type(layer) is torch.nn.Linear and layer.weight.dtype == x.dtype
        return (layer.weight, layer.bias) if plain else None

    def own_copies(self, dtype: torch.dtype) -> HalfCopies:
        """See :class:`assetforge_diffusers.lora_products.LoraProduct`."""
        worn = next(name for name in self.active_adapters if name in self.lora_A)
        return HalfCopies(self.lora_A[worn].weight.to(dtype), self._outer(worn, dtype))

    def parameters_of_factors(self) -> TrainedFactors | None:
        """See :class:`assetforge_diffusers.lora_products.LoraProduct`."""
        if ADAPTER not in self.lora_A:
            return None
        inner, outer = self.lora_A[ADAPTER].weight, self.lora_B[ADAPTER].weight
        plain = isinstance(self.lora_dropout[ADAPTER], torch.nn.Identity) and type(self.base_layer) is torch.nn.Linear
        return TrainedFactors(inner, outer, float(self.scaling[ADAPTER])) if plain and inner.requires_grad else None

    def _worn(self, x: torch.Tensor) -> str:
        """The one adapter whose change is added to the base's answer in half precision; empty when there is more to do."""
        worn = [name for name in self.active_adapters if name in self.lora_A]
        plain = x.dtype in _HALVES and len(worn) == 1 and not self.merged and not self.disable_adapters
        return worn[0] if plain and isinstance(self.lora_dropout[worn[0]], torch.nn.Identity) else ""

    def _outer(self, worn: str, dtype: torch.dtype) -> torch.Tensor:
        return self.lora_B[worn].weight.to(dtype) * self.scaling[worn]


class _LoraConv2d(_Following, lora.Conv2d): ...


class _LoHaLinear(_Steady, _Autocast, loha.Linear): ...


class _LoHaConv2d(_Steady, _Autocast, loha.Conv2d): ...


class _LoKrLinear(_Steady, _Autocast, lokr.Linear): ...


class _LoKrConv2d(_Steady, _Autocast, lokr.Conv2d): ...


class _DoraConv2d(dora.DoraConv2dLayer):
    """Lengths in fp32 under autocast too, where peft's would be rounded to the precision of the base."""

    def get_weight_norm(
        self, weight: torch.Tensor, lora_weight: torch.Tensor, scaling: float, adapter_name: str | None = None
    ) -> torch.Tensor:
        norm: torch.Tensor = super().get_weight_norm(weight.float(), lora_weight.float(), scaling, adapter_name)
        return norm


_REPLACED: dict[type, type] = {
    lora.Linear: _LoraLinear,
    lora.Conv2d: _LoraConv2d,
    dora.DoraConv2dLayer: _DoraConv2d,
    loha.Linear: _LoHaLinear,
    loha.Conv2d: _LoHaConv2d,
    lokr.Linear: _LoKrLinear,
    lokr.Conv2d: _LoKrConv2d,
}
_FACTORS: dict[type, type] = {torch.nn.Linear: _FactorLinear, torch.nn.Conv2d: _FactorConv2d}


def denoiser_config(layers: Mapping[str, tuple[str, ...]], params: LoraTrainerParams) -> PeftConfig:
    """What is adapted in the denoiser, and how.

    Args:
        layers: Endings of module names per group, as :attr:`assetforge_diffusers.families.base.Family.layers` has them.
        params: Network, ranks and targets.

    Raises:
        UsageError: The denoiser has no convolutions and ``conv_rank`` is set, or the network has no dropout.
    """
    targets = [*layers["attention"], *(layers["ff"] if params.targets == "attention+ff" else ())]
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    if params.conv_rank:
        if not layers.get("conv"):
            raise UsageError("This base model has no convolutions that are adapted.", hint="Set conv_rank to 0.")
        # peft reads a pattern as a regular expression over the end of a module path
        pattern = "|".join(re.escape(name) for name in layers["conv"])
        targets += layers["conv"]
        ranks = {pattern: params.conv_rank}
        alphas = {pattern: params.conv_alpha or params.alpha / params.rank * params.conv_rank}
    return _config(targets, params, ranks, alphas)


def text_config(layers: Mapping[str, tuple[str, ...]], params: LoraTrainerParams) -> PeftConfig:
    """What is adapted in a text encoder, and how; see :func:`denoiser_config`."""
    return _config(list(layers["text"]), params, {}, {})


def _config(
    targets: list[str], params: LoraTrainerParams, ranks: dict[str, int], alphas: dict[str, float]
) -> PeftConfig:
    alpha = cast("int", params.alpha)  # annotated as int, meant and used as a number
    shared: dict[str, Any] = {"r": params.rank, "target_modules": targets, "rank_pattern": ranks}
    if params.network in {"lora", "dora"}:
        return LoraConfig(
            **shared,
            lora_alpha=alpha,
            alpha_pattern=alphas,
            lora_dropout=params.dropout,
            use_dora=params.network == "dora",
        )
    if params.dropout:
        raise UsageError(
            f"{params.network} has no dropout of its inputs.", hint="Set dropout to 0, or network to lora or dora."
        )
    if params.network == "loha":
        return LoHaConfig(**shared, alpha=alpha, alpha_pattern=alphas)
    return LoKrConfig(**shared, alpha=alpha, alpha_pattern=alphas, decompose_factor=params.lokr_factor)


def adapt(module: Any, config: PeftConfig) -> None:
    """Add the adapter :data:`ADAPTER` to a network of diffusers or transformers: trainable, in fp32, without any effect yet.

    New weights are drawn from torch's global generator; everything else of the network is frozen.
    """
    module.add_adapter(config, adapter_name=ADAPTER)
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    for _, layer in _adapted(module):
        if ADAPTER not in getattr(layer, _MAGNITUDE, ()):
            layer.__class__ = _REPLACED.get(type(layer), type(layer))
            _follow_inputs(layer, ADAPTER)
            if ADAPTER in getattr(layer, "lokr_w1", ()) and ADAPTER in layer.lokr_w2:
                layer.alpha[ADAPTER], layer.scaling[ADAPTER] = float(layer.r[ADAPTER]), 1.0
        else:  # which needs its input in fp32, to measure lengths in
            magnitude = layer.lora_magnitude_vector[ADAPTER]
            magnitude.__class__ = _REPLACED.get(type(magnitude), type(magnitude))
            magnitude.update_layer(
                base_layer=layer.get_base_layer(),
                lora_A=layer.lora_A[ADAPTER].weight,
                lora_B=layer.lora_B[ADAPTER].weight,
                scaling=layer.scaling[ADAPTER],
            )


def follow_inputs(module: torch.nn.Module, adapter: str) -> None:
    """Have another LoRA that was loaded beside the trained one compute as that one does."""
    for _, layer in _adapted(module):
        if isinstance(layer, _Following):
            _follow_inputs(layer, adapter)


def _follow_inputs(layer: Any, adapter: str) -> None:
    for factors in (getattr(layer, "lora_A", {}), getattr(layer, "lora_B", {})):
        if adapter in factors:
            factors[adapter].__class__ = _FACTORS.get(type(factors[adapter]), type(factors[adapter]))


def checkpoint_gradients(module: Any, *, on: bool) -> None:
    """Have a network of diffusers or transformers compute its activations twice instead of keeping them, or stop that."""
    if hasattr(module, "enable_gradient_checkpointing"):
        if on:
            module.enable_gradient_checkpointing(_computed_twice(module))
        else:
            module.disable_gradient_checkpointing()
    elif on:
        module.activation_checkpointing_enable()
        module.enable_input_require_grads()
    else:
        module.activation_checkpointing_disable()


def _computed_twice(module: torch.nn.Module) -> Callable[..., Any]:
    """As diffusers has it, but the state of random numbers is put back only where some are drawn: a CUDA graph cannot, and each block would take its time for it."""
    random = any(isinstance(layer, torch.nn.Dropout) and layer.p > 0 for layer in module.modules())

    def checkpointed(block: Any, *inputs: Any) -> Any:
        return checkpoint(block.__call__, *inputs, use_reentrant=False, preserve_rng_state=random)

    return checkpointed


def _adapted(module: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    for path, layer in module.named_modules():
        if isinstance(layer, BaseTunerLayer):
            yield path, layer


def _parameters(layer: Any, name: str) -> dict[str, torch.nn.Parameter]:
    """The parameters of an adapted layer by peft's names without the adapter's."""
    found: dict[str, torch.nn.Parameter] = {}
    for kind in layer.adapter_layer_names:
        held = getattr(layer, kind, {})
        if name not in held:
            continue
        if isinstance(held[name], torch.nn.Parameter):
            found[kind] = held[name]
        else:
            found[kind if kind == _MAGNITUDE else f"{kind}.weight"] = held[name].weight
    return found


def _alpha(layer: Any, name: str) -> float:
    return float((layer.lora_alpha if hasattr(layer, "lora_alpha") else layer.alpha)[name])


def adapter_layers(modules: Modules, name: str = ADAPTER) -> list[Layer]:
    """What was trained: copies on the CPU of every adapted layer's tensors, in module order.

    Args:
        modules: The adapted networks by component name.
        name: Which adapter.
    """
    return [
        Layer(
            component=component,
            path=path,
            tensors={
                what: parameter.detach().cpu().contiguous().clone()
                for what, parameter in _parameters(layer, name).items()
            },
            alpha=_alpha(layer, name),
            rank=int(layer.r[name]),
        )
        for component, module in modules.items()
        for path, layer in _adapted(module)
        if name in layer.r
    ]


@torch.no_grad()
def load_layers(modules: Modules, layers: Iterable[Layer], name: str = ADAPTER) -> None:
    """Set the weights of every adapted layer; the inverse of :func:`adapter_layers`.

    Equal alphas give equal bits. Another alpha is folded into the weights, so that the change of the base stays the same.

    Args:
        modules: The adapted networks by component name.
        layers: One for every adapted layer.
        name: Which adapter.

    Raises:
        UsageError: Layers, kinds of network or ranks differ; nothing was changed then.
    """
    given = {(layer.component, layer.path): layer for layer in layers}
    own = {
        (component, path): layer
        for component, module in modules.items()
        for path, layer in _adapted(module)
        if name in layer.r
    }
    different = given.keys() ^ own.keys()
    if different:
        component, path = min(different)
        raise UsageError(
            f"The weights to continue from do not fit: {len(different)} layers differ, such as {component}.{path}.",
            hint="Use the targets and the text encoder setting they were trained with.",
        )
    for place, layer in own.items():
        fresh = _parameters(layer, name)
        if {what: tuple(p.shape) for what, p in fresh.items()} != _shapes(given[place]):
            raise UsageError(
                f"The weights to continue from do not fit at {'.'.join(place)}.",
                hint="Use the network, the rank and the factor they were trained with.",
            )
    for place, layer in own.items():
        source = given[place]
        factor = (source.alpha / source.rank) / (_alpha(layer, name) / int(layer.r[name]))
        for what, parameter in _parameters(layer, name).items():
            tensor = source.tensors[what].to(parameter.device, parameter.dtype)
            parameter.copy_(tensor * factor if what in _SCALED and factor != 1.0 else tensor)


def _shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    return {what: tuple(tensor.shape) for what, tensor in layer.tensors.items()}
