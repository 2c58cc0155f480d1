"""One adapted layer as it was trained, before any tool's naming."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from assetforge.errors import UsageError

__all__ = ["Layer", "kind_of"]

_KINDS = {
    "lora": ({"lora_A.weight", "lora_B.weight"}, {"lora_magnitude_vector"}),
    "loha": ({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}, {"hada_t1", "hada_t2"}),
    "lokr": (set(), {"lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"}),
}


@dataclass(frozen=True)
class Layer:
    """The trained tensors of one linear or convolution layer.

    Attributes:
        component: Name of the network in the pipeline: ``unet``, ``transformer``, ``text_encoder``, ``text_encoder_2`` ...
        path: Module path of the layer in that network, as diffusers and transformers name it.
        tensors: By peft's names without the adapter's name. LoRA: ``lora_A.weight`` (rank, in, ...), ``lora_B.weight`` (out, rank, ...) and, for
            DoRA, ``lora_magnitude_vector`` (out,) or, for a convolution, (1, out, 1, 1). LoHa: ``hada_w1_a``, ``hada_w1_b``, ``hada_w2_a``,
            ``hada_w2_b`` and perhaps ``hada_t1``, ``hada_t2``. LoKr: ``lokr_w1`` or ``lokr_w1_a`` and ``lokr_w1_b``, ``lokr_w2`` or ``lokr_w2_a`` and
            ``lokr_w2_b``, perhaps ``lokr_t2``.
        alpha: The change of the weight is the product of the tensors times ``alpha / rank``.
        rank: At least 1.
    """

    component: str
    path: str
    tensors: Mapping[str, Tensor]
    alpha: float
    rank: int


def kind_of(layer: Layer) -> str:
    """``lora``, ``loha`` or ``lokr``.

    Raises:
        UsageError: Its tensors are none of these.
    """
    names = set(layer.tensors)
    for kind, (needed, optional) in _KINDS.items():
        if names and needed <= names <= needed | optional:
            return kind
    raise UsageError(
        f"The layer {layer.component}.{layer.path} has the tensors {', '.join(sorted(names)) or 'none'}, which are no LoRA, LoHa or LoKr.",
        hint="Train it again with one of these methods.",
    )
