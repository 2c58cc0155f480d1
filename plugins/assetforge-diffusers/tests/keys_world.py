"""Trained layers with the shapes of real models, and the tables of names that other tools read."""

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from assetforge_diffusers.keys import Layer

FIXTURES = Path(__file__).parent / "fixtures" / "keys"

_CLIP = ("q_proj", "k_proj", "v_proj", "out_proj", "mlp.fc1", "mlp.fc2")
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_CONTEXT = ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
_UNET = (
    *(*_ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
    *("conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv"),
)
_JOINT = (*_ATTENTION, *_CONTEXT, "net.0.proj", "net.2")
ADAPTED = {
    "sd15": _UNET,
    "sd2": _UNET,
    "sdxl": _UNET,
    "sd3": _JOINT,
    "flux1": (*_JOINT, "proj_mlp", "proj_out", "norm1.linear", "norm1_context.linear", "norm.linear"),
    "flux2": (*_ATTENTION, *_CONTEXT, "linear_in", "linear_out", "to_qkv_mlp_proj", "attn.to_out"),
    "qwen-image": (*_JOINT, "img_mod.1", "txt_mod.1"),
    "z-image": (*_ATTENTION, "feed_forward.w1", "feed_forward.w2", "feed_forward.w3"),
    "wan": (*_ATTENTION, *_CONTEXT, "ffn.net.0.proj", "ffn.net.2"),
}
"""Endings of the module paths that a LoRA may adapt, by family."""


@cache
def table(model: str) -> Mapping[str, Any]:
    """The layers of a real model, and the names that other tools give them."""
    return json.loads(gzip.decompress((FIXTURES / f"{model}.json.gz").read_bytes()))


def adapted(model: str, family: str) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Component, path and weight shape of every layer that a LoRA of this model may adapt."""
    for component, layers in table(model)["layers"].items():
        endings = ADAPTED[family]
        if component.startswith("text_encoder"):
            endings = _CLIP if any(path.endswith("q_proj") for path in layers) else ("q", "k", "v", "o", "wi_0", "wo")
        for path, shape in layers.items():
            block = any(part.isdigit() for part in path.split("."))
            if block and path.endswith(tuple(f".{ending}" for ending in endings)):
                yield component, path, tuple(shape)


def one_of_each(model: str, family: str) -> list[tuple[str, str, tuple[int, ...]]]:
    """The adapted layers of the first and the last block of each sort."""
    layers = list(adapted(model, family))
    first: dict[tuple[str, str], Any] = {}
    last: dict[tuple[str, str], Any] = {}
    for component, path, shape in layers:
        sort = (component, re.sub(r"\d+", "#", path, count=1))
        first.setdefault(sort, (component, path, shape))
        last[sort] = (component, path, shape)
    wanted = {(component, path) for component, path, _ in (*first.values(), *last.values())}
    return [layer for layer in layers if layer[:2] in wanted]


def lora(
    component: str, path: str, shape: tuple[int, ...], rank: int = 4, alpha: float = 2.0, device: str = "cpu"
) -> Layer:
    """A LoRA layer of small whole numbers, so that sums and products are exact in any order."""
    draw = torch.Generator().manual_seed(sum(map(ord, component + path)))

    def numbers(*size: int) -> torch.Tensor:
        if device == "meta":
            return torch.empty(*size, device=device)
        return torch.randint(-4, 5, size, generator=draw).float()

    ones = [1] * (len(shape) - 2)
    tensors = {"lora_A.weight": numbers(rank, *shape[1:]), "lora_B.weight": numbers(shape[0], rank, *ones)}
    return Layer(component, path, tensors, alpha, rank)


def change(layer: Layer) -> torch.Tensor:
    """What a LoRA layer adds to its weight, as a matrix (out, in), float64; of the inputs only up to 32, spread over all."""
    up, down = layer.tensors["lora_B.weight"].flatten(1).double(), layer.tensors["lora_A.weight"].flatten(1).double()
    return up @ down[:, :: max(1, down.shape[1] // 32)] * (layer.alpha / layer.rank)
