"""CSD (Somepalli et al. 2024, arXiv 2404.01292): the picture tower of CLIP ViT-L/14, trained for styles, with a matrix that turns its class vector into a style vector.

The published file names its weights as OpenAI's CLIP does; they are renamed to those of transformers, whose tower is the same network.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from assetforge.errors import UsageError
from assetforge_vision.machine import Machine, fill, read_weights
from assetforge_vision.params import CsdParams
from assetforge_vision.pictures import (
    CLIP_COLOURS,
    Floats,
    Pixels,
    as_input,
    centre_crop,
    in_batches,
    short_side,
    unit_rows,
)
from assetforge_vision.weights import fingerprint, locate

if TYPE_CHECKING:
    from assetforge.api.context import JobContext

__all__ = ["Csd", "StyleNetwork", "open_style_network"]

_HEAD_WIDTH = 64
"""All towers of OpenAI's CLIP have heads of this width."""

_OUTSIDE = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}
_INSIDE = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


class StyleNetwork(nn.Module):
    """The tower and the style matrix."""

    def __init__(self, config: CLIPVisionConfig, style_width: int) -> None:
        super().__init__()
        self.tower = CLIPVisionModel(config)
        self.style = nn.Parameter(torch.zeros(config.hidden_size, style_width))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Style vectors, shape (n, d), not yet of length 1; other sizes than the trained one read positions in between."""
        seen: torch.Tensor = self.tower(pixel_values=pictures, interpolate_pos_encoding=True).pooler_output
        return seen @ self.style


def open_style_network(file: Path) -> StyleNetwork:
    """The network of a published file; its size follows from the weights.

    Raises:
        NotFoundError: There is no such file.
        UsageError: It is no CSD.
    """
    tensors = read_weights(file)
    found = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items() if name.startswith("backbone.")}
    style, patches = tensors.get("last_layer_style"), found.get("conv1.weight")
    positions, inner = found.get("positional_embedding"), found.get("transformer.resblocks.0.mlp.c_fc.weight")
    if style is None or patches is None or positions is None or inner is None:
        raise UsageError(
            f"{file} is no CSD: it lacks backbone.* or last_layer_style.", hint="Take the published weights."
        )
    width, patch = int(patches.shape[0]), int(patches.shape[-1])
    blocks = [int(name.split(".")[2]) for name in found if name.startswith("transformer.resblocks.")]
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=int(inner.shape[0]),
        num_hidden_layers=max(blocks) + 1,
        num_attention_heads=max(1, width // _HEAD_WIDTH),
        image_size=math.isqrt(int(positions.shape[0]) - 1) * patch,
        patch_size=patch,
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
    )
    network = StyleNetwork(config, int(style.shape[1]))
    fill(network, {f"tower.{name}": tensor for name, tensor in _renamed(found).items()} | {"style": style}, file, "CSD")
    return network


def _renamed(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, tensor in found.items():
        if name in _OUTSIDE:
            renamed[_OUTSIDE[name]] = tensor
        elif name.startswith("transformer.resblocks."):
            _, _, number, inside = name.split(".", 3)
            layer, part = f"encoder.layers.{number}", inside.rpartition(".")
            if inside in ("attn.in_proj_weight", "attn.in_proj_bias"):
                ending = inside.removeprefix("attn.in_proj_")
                for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                    renamed[f"{layer}.self_attn.{letter}_proj.{ending}"] = third
            elif part[0] in _INSIDE:
                renamed[f"{layer}.{_INSIDE[part[0]]}.{part[2]}"] = tensor
    return renamed


class Csd:
    """The metric ``csd``."""

    def __init__(self, params: CsdParams | None = None, context: "JobContext | None" = None) -> None:
        self.params = params or CsdParams()
        self._machine = Machine(self.params, context)

    def fingerprint(self) -> str:
        """What tells its weights from others."""
        return fingerprint("csd", self.params.weights)

    @cached_property
    def network(self) -> Any:
        """The network."""
        (file,) = locate("csd", self.params.weights).values()
        return self._machine.place(open_style_network(file))

    def embed(self, images: Sequence[Pixels]) -> Floats:
        """One unit vector per picture."""
        side = self.params.side
        inputs = [as_input(centre_crop(short_side(image, side), side), CLIP_COLOURS) for image in images]
        rows = in_batches(inputs, self.params.batch_size, self._machine.runner(self.network))
        return unit_rows(rows, int(self.network.style.shape[1]))
