"""Several layers in one, without changing what they do, and back.

A model's first publication often computes query, key and value in one layer. Low-rank changes of the three become one change of that layer:
the factors that take in stand one below the other, those that give out along the diagonal, and the rank is the sum. All blocks get the same
rank (the largest, the others filled up with zeros), because the tools that take such a layer apart again cut it into equal parts. A layer
that was not trained is a block of zeros.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from assetforge.errors import UsageError
from assetforge_diffusers.keys.layer import Layer, kind_of

__all__ = ["join", "split"]

_FACTORS = {
    "lora": (("lora_B.weight", "lora_A.weight"),),
    "loha": (("hada_w1_a", "hada_w1_b"), ("hada_w2_a", "hada_w2_b")),
}


def join(layers: Mapping[int, Layer], shares: Sequence[int]) -> Layer:
    """One layer that does what ``layers`` do.

    The joined scale is that of the first layer; another scale is multiplied into the factors of its layer, which is exact where the two
    differ by a power of two and rounded as their type rounds otherwise.

    Args:
        layers: By their place from the top; those that were not trained are left out.
        shares: Output rows of all the layers under the name, in proportion, from the top.

    Raises:
        UsageError: They are of different methods or of one that cannot be joined, or their sizes do not fit each other.
    """
    first = layers[min(layers)]
    kind = kind_of(first)
    rank = max(layer.rank for layer in layers.values())
    for layer in layers.values():
        _check(layer, first, kind)
    tensors = {
        name: tensor
        for index, (out, into) in enumerate(_FACTORS[kind])
        for name, tensor in _stack(layers, shares, rank, out, into, scaled=index == 0).items()
    }
    blocks = len(shares)
    alpha = first.alpha * blocks if first.rank == rank else first.alpha / first.rank * rank * blocks
    return Layer(first.component, first.path, tensors, alpha, rank * blocks)


def _check(layer: Layer, first: Layer, kind: str) -> None:
    needed = {name for pair in _FACTORS.get(kind, ()) for name in pair}
    if kind_of(layer) != kind or set(layer.tensors) != needed or any(t.ndim != 2 for t in layer.tensors.values()):
        raise UsageError(
            f"The layers {first.path} and {layer.path} stand in one for other tools, and these kinds of layers cannot be joined.",
            hint="Train plain LoRA or LoHa layers for those tools, or keep the file in diffusers' own form.",
        )


def _stack(
    layers: Mapping[int, Layer], shares: Sequence[int], rank: int, out: str, into: str, *, scaled: bool
) -> dict[str, Tensor]:
    first = layers[min(layers)]
    unit = first.tensors[out].shape[0] // shares[min(layers)]
    width = first.tensors[into].shape[1]
    upper = first.tensors[out].new_zeros(unit * sum(shares), rank * len(shares))
    lower = first.tensors[into].new_zeros(rank * len(shares), width)
    for slot, layer in layers.items():
        factor, taking = layer.tensors[out], layer.tensors[into]
        if factor.shape != (unit * shares[slot], layer.rank) or taking.shape != (layer.rank, width):
            raise UsageError(
                f"The layers {first.path} and {layer.path} do not fit each other: {list(factor.shape)} and {list(taking.shape)}.",
                hint="Check that they are of one model.",
            )
        if scaled and layer.alpha * first.rank != first.alpha * layer.rank:
            factor = (factor.double() * (layer.alpha / layer.rank / (first.alpha / first.rank))).to(factor.dtype)
        row, column = unit * sum(shares[:slot]), rank * slot
        upper[row : row + factor.shape[0], column : column + layer.rank] = factor
        lower[column : column + layer.rank] = taking
    return {out: upper, into: lower}


def split(layer: Layer, paths: Sequence[str | None], shares: Sequence[int]) -> list[Layer]:
    """The layers that a joined one holds, from the top; blocks of zeros are left out.

    A layer that was trained as one is taken apart too: each part then has the whole rank.

    Args:
        layer: The joined layer.
        paths: Module paths of the parts; None for those that cannot be adapted.
        shares: Output rows of the parts, in proportion.

    Raises:
        UsageError: It cannot be taken apart, or it changes a part that cannot be adapted.
    """
    kind = kind_of(layer)
    _check(layer, layer, kind)
    rows = layer.tensors[_FACTORS[kind][0][0]].shape[0]
    if rows % sum(shares):
        raise UsageError(
            f"The layer {layer.path} has {rows} rows, which are not {len(shares)} layers in one.",
            hint="Take a LoRA that was trained on this model.",
        )
    unit = rows // sum(shares)
    ends = [unit * sum(shares[: slot + 1]) for slot in range(len(shares))]
    spans = [slice(end - unit * share, end) for end, share in zip(ends, shares, strict=True)]
    blocks = _blocks(layer, kind, spans)
    parts = []
    for slot, path in enumerate(paths):
        if blocks is None:
            tensors = {
                name: tensor
                for out, into in _FACTORS[kind]
                for name, tensor in (
                    (out, layer.tensors[out][spans[slot]].clone()),
                    (into, layer.tensors[into].clone()),
                )
            }
            part = Layer(layer.component, path or "", tensors, layer.alpha, layer.rank)
        else:
            part = _trimmed(layer, path or "", kind, spans[slot], blocks[slot])
        if path is not None and part.rank:
            parts.append(part)
        elif path is None and part.rank and _acts(part, kind):
            raise UsageError(
                f"The layer {layer.path} also changes layers that are not adapted here.",
                hint="Adapt the layers that it was trained on, the feed-forward layers among them.",
            )
    return parts


def _blocks(layer: Layer, kind: str, spans: Sequence[slice]) -> list[slice] | None:
    """The ranks of the parts where the layer is a diagonal of equal blocks."""
    if layer.rank % len(spans):
        return None
    rank = layer.rank // len(spans)
    blocks = [slice(rank * slot, rank * (slot + 1)) for slot in range(len(spans))]
    for out, _ in _FACTORS[kind]:
        outside = layer.tensors[out].clone()
        for span, block in zip(spans, blocks, strict=True):
            outside[span, block] = 0
        if outside.any():
            return None
    return blocks


def _trimmed(layer: Layer, path: str, kind: str, span: slice, block: slice) -> Layer:
    """One block without the zeros that filled it up."""
    pairs = [(out, layer.tensors[out][span, block], into, layer.tensors[into][block]) for out, into in _FACTORS[kind]]
    used = torch.zeros(block.stop - block.start, dtype=torch.bool)
    for _, upper, _, lower in pairs:
        used |= (upper != 0).any(dim=0) | (lower != 0).any(dim=1)
    rank = int(used.nonzero().max()) + 1 if used.any() else 0
    tensors = {
        name: tensor.clone()
        for out, upper, into, lower in pairs
        for name, tensor in ((out, upper[:, :rank]), (into, lower[:rank]))
    }
    return Layer(layer.component, path, tensors, layer.alpha * rank / layer.rank, rank)


def _acts(part: Layer, kind: str) -> bool:
    return all(bool(part.tensors[name].any()) for pair in _FACTORS[kind] for name in pair)
