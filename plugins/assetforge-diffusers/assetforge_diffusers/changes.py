"""What a trained layer changes about the layer it belongs to: as a new weight, or computed beside it.

Numbers are those of peft, computed in peft's order, so that pictures equal those of a pipeline whose LoRAs were fused, or loaded and left beside. Weight-decomposed
layers (DoRA) at a strength other than 1 go that share of the way from the base to the trained weight, as in ComfyUI and A1111; peft scales the
change before it is normalised, which is another picture, and not the base at strength 0.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from assetforge_diffusers.keys.layer import Layer, kind_of

__all__ = ["Worn", "beside", "change_weight"]

Worn = tuple[Layer, float]
"""A trained layer and its strength."""

_Tensors = Mapping[str, torch.Tensor]
_MAGNITUDE = "lora_magnitude_vector"
_CONVOLUTIONS = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}


def change_weight(weight: torch.Tensor, base: torch.Tensor, worn: Sequence[Worn]) -> None:
    """Write ``base`` with all changes in it to ``weight``; computed in fp32 whatever the formats are.

    Raises:
        ValueError: A change has another shape.
    """
    if len(worn) == 1 and base.dtype == torch.float32 and _MAGNITUDE not in worn[0][0].tensors:
        torch.add(base, _delta(worn[0][0], base, worn[0][1]), out=weight)  # large weights are passed over once less
        return
    own = result = base.float()
    for layer, strength in worn:
        magnitude = layer.tensors.get(_MAGNITUDE)
        if magnitude is None:
            result = result + _delta(layer, base, strength)
        else:
            delta = _delta(layer, base, 1.0)
            result = torch.lerp(result, _factor(own + delta, magnitude) * (result + delta), strength)
    weight.copy_(result)


def beside(module: Any, worn: Sequence[Worn]) -> Callable[..., torch.Tensor]:
    """A forward hook for ``module`` that adds what the layers change, in the module's number format.

    LoHa and LoKr have no short way to their output: their full change is made anew at every call, which costs time and no memory.

    Raises:
        ValueError: A change has another shape.
    """
    parts = [_part(module, layer, strength) for layer, strength in worn]

    def hook(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        for part in parts:
            output = part(inputs[0], output)
        return output

    return hook


_Part = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _part(module: Any, layer: Layer, strength: float) -> _Part:
    weight = module.weight
    if kind_of(layer) != "lora":
        moved = _moved(layer, weight, torch.float32)
        _delta(moved, weight, strength)  # raises now rather than in the middle of a picture
        return lambda seen, output: output + _apply(module, seen, _delta(moved, weight, strength).to(output.dtype))
    moved = _moved(layer, weight, weight.dtype)
    down, up = moved.tensors["lora_A.weight"], moved.tensors["lora_B.weight"]
    down, up = _like(module, down), _like(module, up)
    if (up.shape[0], down.shape[1]) != tuple(weight.shape[:2]):
        raise ValueError(_mismatch(layer, (up.shape[0], down.shape[1]), weight))

    def through(seen: torch.Tensor) -> torch.Tensor:
        inner = _apply(module, seen, down)
        return F.linear(inner, up) if up.ndim == 2 else _CONVOLUTIONS[up.ndim](inner, up)

    magnitude = layer.tensors.get(_MAGNITUDE)
    if magnitude is None:
        scale = strength * layer.alpha / layer.rank
        return lambda seen, output: output + through(seen) * scale
    factor = _factor(weight.float() + _delta(layer, weight, 1.0), magnitude)
    factor = factor.to(weight.dtype).flatten() if weight.ndim == 2 else factor.to(weight.dtype).transpose(0, 1)
    own = layer.alpha / layer.rank

    def decomposed(seen: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        bias = 0.0 if module.bias is None else module.bias.reshape(-1, *[1] * (weight.ndim - 2))
        return output + strength * ((factor - 1) * (output - bias) + factor * through(seen) * own)

    return decomposed


def _apply(module: Any, seen: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """What the module would give with this weight and without a bias."""
    if weight.ndim == 2:
        return F.linear(seen, weight)
    return _CONVOLUTIONS[weight.ndim](seen, weight, None, module.stride, module.padding, module.dilation, module.groups)


def _like(module: Any, factor: torch.Tensor) -> torch.Tensor:
    """A factor in as many dimensions as the module's weight has; some tools write linear layers as convolutions and the other way round."""
    dimensions = module.weight.ndim
    if factor.ndim == dimensions:
        return factor
    return factor.flatten(1) if dimensions == 2 else factor.reshape(*factor.shape[:2], *[1] * (dimensions - 2))


def _moved(layer: Layer, weight: torch.Tensor, dtype: torch.dtype) -> Layer:
    tensors = {name: tensor.to(weight.device, dtype) for name, tensor in layer.tensors.items()}
    return Layer(layer.component, layer.path, tensors, layer.alpha, layer.rank)


def _delta(layer: Layer, weight: torch.Tensor, strength: float) -> torch.Tensor:
    """The change of the weight, fp32, same shape and device."""
    tensors = {name: tensor.to(weight.device, torch.float32) for name, tensor in layer.tensors.items()}
    change = _CHANGES[kind_of(layer)](tensors, strength * layer.alpha / layer.rank)
    if change.numel() != weight.numel() or change.shape[0] not in {weight.shape[0], weight.numel()}:
        raise ValueError(_mismatch(layer, tuple(change.shape), weight))
    return change.reshape(weight.shape)


def _mismatch(layer: Layer, shape: tuple[int, ...], weight: torch.Tensor) -> str:
    return f"{layer.component}.{layer.path} is {tuple(weight.shape)} in the base, and the file has {shape}"


def _factor(changed: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    """Trained length of each output's weights over their length, (out, 1, ...)."""
    lengths = torch.linalg.vector_norm(changed, dim=tuple(range(1, changed.ndim)), keepdim=True)
    return magnitude.to(changed).reshape(lengths.shape) / lengths


def _lora(tensors: _Tensors, scale: float) -> torch.Tensor:
    down, up = tensors["lora_A.weight"], tensors["lora_B.weight"]
    # Convolutions too: the second factor is 1 x 1. peft convolves one factor with the other, a third as fast; the bits are the same but for layers of
    # less than 16 channels, where the last one may differ.
    return (up.flatten(1) @ down.flatten(1)).mul_(scale).reshape(up.shape[0], *down.shape[1:])


def _loha(tensors: _Tensors, scale: float) -> torch.Tensor:
    factors = []
    for which in (1, 2):
        one, other, core = (tensors.get(f"hada_{name}") for name in (f"w{which}_a", f"w{which}_b", f"t{which}"))
        factors.append(one @ other if core is None else torch.einsum("ijkl,jr,ip->prkl", core, other, one))
    return (factors[0] * factors[1]) * torch.tensor(scale)


def _lokr(tensors: _Tensors, scale: float) -> torch.Tensor:
    one = tensors["lokr_w1"] if "lokr_w1" in tensors else tensors["lokr_w1_a"] @ tensors["lokr_w1_b"]
    if "lokr_w2" in tensors:
        two = tensors["lokr_w2"]
    elif "lokr_t2" in tensors:
        two = torch.einsum("ijkl,ip,jr->prkl", tensors["lokr_t2"], tensors["lokr_w2_a"], tensors["lokr_w2_b"])
    else:
        two = tensors["lokr_w2_a"] @ tensors["lokr_w2_b"]
    return torch.kron(one.reshape(*one.shape, *[1] * (two.ndim - 2)), two.contiguous()) * scale


_CHANGES: dict[str, Callable[[_Tensors, float], torch.Tensor]] = {
    "lora": _lora,
    "loha": _loha,
    "lokr": _lokr,
}
