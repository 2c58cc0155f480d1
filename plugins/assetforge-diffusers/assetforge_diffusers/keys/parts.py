"""What the tensors of one layer are called in a file, and what they are called in peft."""

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from assetforge.errors import UsageError
from assetforge_diffusers.keys.layer import Layer, kind_of

__all__ = ["from_parts", "split_key", "to_parts"]

_WRITTEN = {
    "lora_A.weight": "lora_down.weight",
    "lora_B.weight": "lora_up.weight",
    "lora_magnitude_vector": "dora_scale",
}
_READ = {
    "lora_down.weight": "lora_A.weight",
    "lora_up.weight": "lora_B.weight",
    "lora_A.weight": "lora_A.weight",
    "lora_B.weight": "lora_B.weight",
    "lora.down.weight": "lora_A.weight",
    "lora.up.weight": "lora_B.weight",
    "dora_scale": "lora_magnitude_vector",
    "lora_magnitude_vector": "lora_magnitude_vector",
    "alpha": "alpha",
    **{
        name: name
        for name in (
            *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
            *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
        )
    },
}


@lru_cache(maxsize=1 << 16)  # versions of one asset hold the same keys
def split_key(key: str) -> tuple[str, str]:
    """Split a file's key into the layer's name and peft's name of the tensor (or ``alpha``).

    Raises:
        UsageError: The tensor is of no method known here.
    """
    for part, name in _READ.items():
        if key.endswith(f".{part}"):
            return key[: -len(part) - 1], name
    raise UsageError(
        f"The tensor {key} is no part of a LoRA, LoHa or LoKr.",
        hint="Take a file that was trained with one of these methods.",
    )


def to_parts(layer: Layer) -> dict[str, Tensor]:
    """The tensors of one layer as a file holds them, without the layer's name, with its alpha (scalar, float32).

    A DoRA magnitude becomes (out, 1, ...), one number for each output as LyCORIS writes it. A LoKr whose two factors are whole matrices has
    no rank in other tools, so its scale goes into the first factor.
    """
    tensors = dict(layer.tensors)
    alpha = float(layer.alpha)
    if kind_of(layer) == "lokr" and _whole(tensors):
        if alpha != layer.rank:
            tensors["lokr_w1"] = tensors["lokr_w1"] * (alpha / layer.rank)
        alpha = float(layer.rank)
    if "lora_magnitude_vector" in tensors:
        dimensions = tensors["lora_B.weight"].ndim
        tensors["lora_magnitude_vector"] = tensors["lora_magnitude_vector"].reshape(-1, *[1] * (dimensions - 1))
    parts = {_WRITTEN.get(name, name): tensor.contiguous() for name, tensor in tensors.items()}
    return {**parts, "alpha": torch.tensor(alpha, dtype=torch.float32)}


def from_parts(component: str, path: str, parts: Mapping[str, Tensor]) -> Layer:
    """The layer that :func:`split_key`'s parts make; without an alpha it is the rank, as everywhere.

    Raises:
        UsageError: The tensors make no whole layer, or the DoRA magnitudes are per input.
    """
    tensors = {name: tensor for name, tensor in parts.items() if name != "alpha"}
    rank = _rank(tensors)
    alpha = float(parts["alpha"]) if "alpha" in parts else float(rank or 1)
    layer = Layer(component, path, tensors, alpha, rank or max(1, round(alpha)))
    if kind_of(layer) == "lokr" and not _complete(tensors):
        raise UsageError(
            f"The LoKr layer {path} lacks one of its factors.", hint="Copy the file again; it is not whole."
        )
    if not rank:
        layer = Layer(component, path, tensors, float(layer.rank), layer.rank)
    if "lora_magnitude_vector" in tensors:
        tensors["lora_magnitude_vector"] = _magnitude(path, tensors)
    return layer


def _magnitude(path: str, tensors: Mapping[str, Tensor]) -> Tensor:
    magnitude, up = tensors["lora_magnitude_vector"], tensors["lora_B.weight"]
    if magnitude.numel() != up.shape[0] or (magnitude.ndim > 1 and magnitude.shape[0] == 1 and up.ndim == 2):
        raise UsageError(
            f"The DoRA magnitudes of {path} are one for each input; only one for each output can be read.",
            hint="Train without weight decomposition, or with LyCORIS' wd_on_out.",
        )
    return magnitude.reshape(-1) if up.ndim == 2 else magnitude.reshape(1, -1, *[1] * (up.ndim - 2))


def _whole(tensors: Mapping[str, Tensor]) -> bool:
    return "lokr_w1" in tensors and "lokr_w2" in tensors


def _complete(tensors: Mapping[str, Tensor]) -> bool:
    return all(f"lokr_w{n}" in tensors or {f"lokr_w{n}_a", f"lokr_w{n}_b"} <= set(tensors) for n in (1, 2))


def _rank(tensors: Mapping[str, Tensor]) -> int:
    """Rows of the factor that goes in; 0 for a LoKr of two whole matrices, which has no rank."""
    for name in ("lora_A.weight", "hada_w1_b", "lokr_w2_b", "lokr_w1_b"):
        if name in tensors:
            return int(tensors[name].shape[0])
    return 0
