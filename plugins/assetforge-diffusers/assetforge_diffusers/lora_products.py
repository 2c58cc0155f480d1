"""Products of frozen weights with the change of a LoRA, as few and as large as they can be.

Layers that read the same input, such as queries, keys and values, read it once for all their small factors, and every change is added where the large product
has just been written, forward and backward. Autograd would write a tensor for each of them and add those afterwards; compiled code would copy each of them first.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

__all__ = ["HalfCopies", "LoraProduct", "TrainedFactors", "lora_products"]


class TrainedFactors(NamedTuple):
    """The parameters behind the two small factors of a layer.

    Attributes:
        inner: (rank, inputs).
        outer: (outputs, rank).
        strength: What ``outer`` is multiplied with.
    """

    inner: torch.nn.Parameter
    outer: torch.nn.Parameter
    strength: float


class HalfCopies(NamedTuple):
    """Copies of a layer's factors in half precision.

    Attributes:
        inner: (ranks, inputs), of all layers that are asked together, in their order.
        outer: (outputs, rank), with the LoRA's strength in it.
    """

    inner: torch.Tensor
    outer: torch.Tensor


class LoraProduct:
    """A layer that may be computed by :func:`lora_products`.

    Attributes:
        copies: Of its factors, to compute with; ``None`` when it makes its own.
    """

    copies: HalfCopies | None = None

    def base(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None] | None:
        """Weight, (outputs, inputs), and bias, frozen and in the precision of ``x``; ``None`` when it does more with ``x`` than multiply."""
        raise NotImplementedError

    def own_copies(self, dtype: torch.dtype) -> HalfCopies:
        """Of its own factors, made now."""
        raise NotImplementedError

    def parameters_of_factors(self) -> TrainedFactors | None:
        """What is trained; ``None`` when that is more, or nothing."""
        raise NotImplementedError


def lora_products(layers: Sequence[Any], x: torch.Tensor) -> list[torch.Tensor] | None:
    """What layers answer to one input, (..., inputs), each ``x @ weight.T + bias + (x @ inner.T) @ outer.T``, (..., outputs); ``None`` when they must be asked one by one."""
    bases = []
    for layer in layers:
        base = layer.base(x) if isinstance(layer, LoraProduct) else None
        if base is None:
            return None
        bases.append(base)
    weights, biases = [weight for weight, _ in bases], [bias for _, bias in bases if bias is not None]
    if biases and len(biases) < len(bases):
        return None
    copies = [layer.copies for layer in layers]
    if _together(copies, x.dtype):
        inner = copies[0].inner
    else:
        copies = [layer.own_copies(x.dtype) for layer in layers]
        inner = copies[0].inner if len(copies) == 1 else torch.cat([one.inner for one in copies])
    answers: list[torch.Tensor] = _forward(x, weights, biases, inner, [one.outer for one in copies])
    return answers[:-1]


def _together(copies: Sequence[HalfCopies | None], dtype: torch.dtype) -> bool:
    """Whether copies are those of just these layers."""
    first = copies[0]
    if first is None or any(one is None or one.inner is not first.inner for one in copies):
        return False
    ranks = sum(one.outer.shape[1] for one in copies if one is not None)
    return ranks == len(first.inner) and first.inner.dtype == dtype


@torch.library.custom_op("assetforge::lora_products", mutates_args=())
def _forward(
    x: torch.Tensor,
    weights: list[torch.Tensor],
    biases: list[torch.Tensor],
    inner: torch.Tensor,
    outers: list[torch.Tensor],
) -> list[torch.Tensor]:
    """The answers, and last what all inner factors make of the input, (rows, ranks)."""
    rows = x.reshape(-1, x.shape[-1])
    small = rows @ inner.t()
    answers = []
    for index, (weight, part) in enumerate(zip(weights, _parts(small, outers), strict=True)):
        answer = torch.addmm(biases[index], rows, weight.t()) if biases else rows @ weight.t()
        answers.append(answer.addmm_(part, outers[index].t()).view(*x.shape[:-1], -1))
    return [*answers, small]


@_forward.register_fake
def _(
    x: torch.Tensor, weights: list[torch.Tensor], _biases: Any, inner: torch.Tensor, _outers: Any
) -> list[torch.Tensor]:
    small = x.new_empty((x.numel() // x.shape[-1], len(inner)))
    return [*(x.new_empty((*x.shape[:-1], len(weight))) for weight in weights), small]


@torch.library.custom_op("assetforge::lora_products_backward", mutates_args=())
def _backward(
    gradients: list[torch.Tensor],
    x: torch.Tensor,
    small: torch.Tensor,
    weights: list[torch.Tensor],
    inner: torch.Tensor,
    outers: list[torch.Tensor],
    asked: bool,
) -> list[torch.Tensor]:
    """Gradients of the inner factors, of each outer one, and last of the input where it is asked for."""
    rows = x.reshape(-1, x.shape[-1])
    answers = [gradient.reshape(len(rows), -1) for gradient in gradients]
    back = torch.empty_like(small)
    for answer, outer, place in zip(answers, outers, _parts(back, outers), strict=True):
        torch.mm(answer, outer, out=place)
    found = [back.t() @ rows]
    found += [answer.t() @ part for answer, part in zip(answers, _parts(small, outers), strict=True)]
    if asked:
        given = answers[0] @ weights[0]
        for answer, weight in zip(answers[1:], weights[1:], strict=True):
            given.addmm_(answer, weight)
        found.append(given.addmm_(back, inner).view(x.shape))
    return found


@_backward.register_fake
def _(
    _gradients: Any,
    x: torch.Tensor,
    _small: Any,
    _weights: Any,
    inner: torch.Tensor,
    outers: list[torch.Tensor],
    asked: bool,
) -> list[torch.Tensor]:
    given = [x.new_empty(x.shape)] if asked else []
    return [inner.new_empty(inner.shape), *(outer.new_empty(outer.shape) for outer in outers), *given]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[torch.Tensor]) -> None:
    x, weights, biases, inner, outers = inputs
    ctx.set_materialize_grads(False)
    ctx.count, ctx.biases = len(weights), len(biases)
    ctx.save_for_backward(x, output[-1], inner, *weights, *outers)


def _learn(ctx: Any, gradients: list[torch.Tensor | None]) -> tuple[Any, ...]:
    x, small, inner, *rest = ctx.saved_tensors
    weights, outers = rest[: ctx.count], rest[ctx.count :]
    known = [
        x.new_zeros((*x.shape[:-1], len(weight))) if gradient is None else gradient
        for gradient, weight in zip(gradients, weights, strict=False)
    ]
    asked = bool(ctx.needs_input_grad[0])
    found = _backward(known, x, small, weights, inner, outers, asked)
    given = found[-1] if asked else None
    return given, [None] * ctx.count, [None] * ctx.biases, found[0], found[1 : 1 + ctx.count]


_forward.register_autograd(_learn, setup_context=_keep)


def _parts(small: torch.Tensor, outers: list[torch.Tensor]) -> list[torch.Tensor]:
    """The columns that belong to each outer factor."""
    return list(small.split([outer.shape[1] for outer in outers], dim=1))
