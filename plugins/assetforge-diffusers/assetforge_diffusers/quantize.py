"""How the frozen base is kept: in fewer bits, or in main memory.

Such a layer has its weight made dense for one product at a time, forward and again backward, so that between the two only the small form is kept. (The
eager int8 of torchao keeps a dense copy of every weight for the backward pass, and a training step then needs more memory than without it.)

What is quantised: the linear layers inside the repeated blocks of a network, attention, feed-forward and modulation alike. What is not: convolutions,
normalisation, embeddings, biases, and everything outside the blocks, which is what the network begins and ends with. Offloading moves the convolutions
inside the blocks too.
"""

from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch.autograd.function import once_differentiable

from assetforge.errors import UsageError

__all__ = ["NF4_DEVICES", "StoredConv2d", "StoredLinear", "offload_base", "quantize_base"]

_NF4_BLOCK = 64
NF4_DEVICES = {"cpu", "cuda", "mps", "xpu"}
_LEVELS = 127

Kind = Literal["dense", "int8", "nf4"]


def _encode(weight: torch.Tensor, kind: Kind) -> tuple[torch.Tensor, ...]:
    """The tensors that a weight is kept in.

    int8: symmetric per output row, codes (out, in) and scales (out, 1) in the weight's precision. nf4: two codes a byte and one fp32 scale for 64
    weights (Dettmers et al. 2023, arXiv:2305.14314).
    """
    if kind == "int8":
        scale = (weight.float().abs().amax(dim=1, keepdim=True) / _LEVELS).clamp_min(torch.finfo(weight.dtype).tiny)
        scale = scale.to(weight.dtype)
        codes = (weight.float() / scale.float()).round().clamp(-_LEVELS, _LEVELS).to(torch.int8)
        return codes, scale
    if kind == "nf4":
        quantised: tuple[torch.Tensor, ...] = torch.ops.bitsandbytes.quantize_4bit(
            weight.contiguous(), _NF4_BLOCK, "nf4", torch.uint8
        )
        return quantised
    return (weight,)


def _decode(
    tensors: tuple[torch.Tensor, ...], kind: Kind, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """The dense weight on ``device``."""
    there = [tensor.to(device, non_blocking=True) for tensor in tensors]
    if kind == "int8":
        return there[0].to(dtype).mul_(there[1].to(dtype))
    if kind == "nf4":
        dense: torch.Tensor = torch.ops.bitsandbytes.dequantize_4bit(
            there[0], there[1], _NF4_BLOCK, "nf4", shape, dtype
        )
        return dense
    return there[0].to(dtype)


class _Linear(torch.autograd.Function):
    """x times a weight that is made dense here and again for the gradient of x; weight and bias get none."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        bias: torch.Tensor | None,
        kind: Kind,
        shape: tuple[int, ...],
        *tensors: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(*tensors)
        ctx.kind, ctx.shape = kind, shape
        return F.linear(x, _decode(tensors, kind, shape, x.device, x.dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        tensors = ctx.saved_tensors  # checkpointing allows one look
        weight = _decode(tensors, ctx.kind, ctx.shape, gradient.device, gradient.dtype)
        return (gradient @ weight, *(None,) * (3 + len(tensors)))


class _Conv2d(torch.autograd.Function):
    """The same for a convolution; ``geometry`` is stride, padding, dilation and groups."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        bias: torch.Tensor | None,
        geometry: tuple[Any, ...],
        shape: tuple[int, ...],
        tensor: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(tensor)
        ctx.geometry, ctx.shape, ctx.input_shape = geometry, shape, x.shape
        return F.conv2d(x, _decode((tensor,), "dense", shape, x.device, x.dtype), bias, *geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weight = _decode(ctx.saved_tensors, "dense", ctx.shape, gradient.device, gradient.dtype)
        return (torch.nn.grad.conv2d_input(ctx.input_shape, weight, gradient, *ctx.geometry), None, None, None, None)


class _Stored(torch.nn.Module):
    """What the two kinds of stored layers share."""

    kind: Kind
    shape: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype
    offloaded: bool
    bias: torch.nn.Parameter | None

    def _take(self, layer: torch.nn.Module, kind: Kind) -> None:
        """Become ``layer``, whose weight is then kept as ``kind``."""
        torch.nn.Module.__init__(self)
        self.__dict__.update({name: value for name, value in layer.__dict__.items() if not name.startswith("_")})
        weight: torch.Tensor = layer.get_parameter("weight").detach()
        self.bias = layer.get_parameter("bias") if layer.bias is not None else None
        self.kind, self.offloaded = kind, False
        self.shape, self.device, self.dtype = tuple(weight.shape), weight.device, weight.dtype
        for index, tensor in enumerate(_encode(weight, kind)):
            self.register_buffer(f"stored_{index}", tensor, persistent=False)

    @property
    def stored(self) -> tuple[torch.Tensor, ...]:
        """The tensors that the weight is kept in."""
        return tuple(self.get_buffer(f"stored_{index}") for index in range(1 if self.kind == "dense" else 2))

    @property
    def weight(self) -> torch.Tensor:
        """The weight made dense, where the layer computes; a copy."""
        return _decode(self.stored, self.kind, self.shape, self.device, self.dtype)

    def offload(self, device: torch.device) -> None:
        """Keep the weight in main memory from now on, wherever the module is moved, and compute on ``device``."""
        self.offloaded, self.device = True, device
        for name, tensor in list(self._buffers.items()):
            there = tensor.detach().cpu() if tensor is not None else None
            self._buffers[name] = there.pin_memory() if there is not None and device.type == "cuda" else there

    def _apply(self, fn: Any, recurse: bool = True) -> "_Stored":
        kept = dict(self._buffers) if self.offloaded else {}
        for name in kept:
            del self._buffers[name]
        super()._apply(fn, recurse)
        self._buffers.update(kept)
        if not self.offloaded:
            self.device = self.stored[0].device
        return self

    def _cast(self, x: torch.Tensor) -> torch.Tensor:
        """As autocast would, which does not look into functions of one's own."""
        kind = x.device.type
        return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x

    def _biased(self, x: torch.Tensor) -> torch.Tensor | None:
        return None if self.bias is None else self.bias.to(x.dtype)


class StoredLinear(_Stored, torch.nn.Linear):
    """A frozen linear layer that is kept as ``dense``, ``int8`` or ``nf4``."""

    def __init__(self, layer: torch.nn.Linear, kind: Kind) -> None:
        self._take(layer, kind)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As a linear layer's; (..., in) to (..., out)."""
        x = self._cast(x)
        result: torch.Tensor = _Linear.apply(x, self._biased(x), self.kind, self.shape, *self.stored)
        return result

    def extra_repr(self) -> str:
        """As a linear layer's, and how it is kept."""
        return f"in_features={self.in_features}, out_features={self.out_features}, kept={self.kind}"


class StoredConv2d(_Stored, torch.nn.Conv2d):
    """A frozen convolution that is kept in main memory."""

    def __new__(cls, *args: Any, **settings: Any) -> Any:
        """A plain convolution where peft makes the layers of another adapter, which it does with the class of the layer that it adapts."""
        if args and not isinstance(args[0], torch.nn.Module):
            return torch.nn.Conv2d(*args, **settings)
        return super().__new__(cls)

    def __init__(self, layer: torch.nn.Conv2d) -> None:
        self._take(layer, "dense")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As a convolution's."""
        x = self._cast(x)
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        result: torch.Tensor = _Conv2d.apply(x, self._biased(x), geometry, self.shape, *self.stored)
        return result


def _layers(module: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, str, torch.nn.Module]]:
    """Parent, name and layer of whatever lies in the repeated blocks of a network; not the adapters."""
    lists = {path for path, part in module.named_modules() if isinstance(part, torch.nn.ModuleList)}
    blocks = tuple(f"{path}." for path in lists if path)
    for path, layer in list(module.named_modules()):
        parent, _, name = path.rpartition(".")
        if path.startswith(blocks) and not any(part.startswith("lora_") for part in path.split(".")):
            yield module.get_submodule(parent), name, layer


def quantize_base(module: torch.nn.Module, kind: Literal["int8", "nf4"], device: torch.device | None = None) -> int:
    """Keep the linear layers inside the blocks of a frozen network in fewer bits; before adapters are added to it.

    Weights that already lie on another device are brought to ``device`` one by one, quantised there, and stay.

    Args:
        module: The network.
        kind: ``int8`` runs everywhere, ``nf4`` needs bitsandbytes.
        device: Where to quantise; by default where the weights are.

    Returns:
        How many layers were quantised.

    Raises:
        UsageError: bitsandbytes is missing, or has no nf4 on this device.
    """
    if kind == "nf4":
        _need_nf4((device or next(module.parameters()).device).type)
    count = 0
    for parent, name, layer in _layers(module):
        if type(layer) is not torch.nn.Linear or layer.weight.requires_grad:
            continue
        if kind == "nf4" and layer.weight.numel() % _NF4_BLOCK:
            continue
        setattr(parent, name, StoredLinear(layer if device is None else layer.to(device), kind))
        count += 1
    return count


def _need_nf4(device: str) -> None:
    if device not in NF4_DEVICES:
        raise UsageError(f"nf4 does not run on {device}.", hint="Set quantize to int8.")
    try:
        import_module("bitsandbytes")
    except (ImportError, RuntimeError, OSError) as error:
        raise UsageError(
            f"nf4 needs bitsandbytes, which cannot be imported: {error}",
            hint="Install it with `pip install bitsandbytes`, or set quantize to int8.",
        ) from error


def offload_base(module: torch.nn.Module, device: torch.device) -> int:
    """Keep the frozen linear layers and convolutions inside the blocks in main memory, and bring each to ``device`` when it is needed.

    Called after adapters were added (peft makes theirs of the class of the layer they adapt), and before ``module.to(device)``, which moves the rest.
    Quantised layers travel in their few bits.

    Returns:
        How many layers were offloaded.
    """
    make: dict[type, Any] = {torch.nn.Linear: partial(StoredLinear, kind="dense"), torch.nn.Conv2d: StoredConv2d}
    count = 0
    for parent, name, layer in _layers(module):
        stored = layer
        if type(layer) in make and not layer.get_parameter("weight").requires_grad and _plain(layer):
            stored = make[type(layer)](layer)
            setattr(parent, name, stored)
        if isinstance(stored, _Stored):
            stored.offload(device)
            count += 1
    return count


def _plain(layer: torch.nn.Module) -> bool:
    return getattr(layer, "padding_mode", "zeros") == "zeros"
