"""Reads LoRA files into layers of an opened base, whichever tool wrote them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import convert_state_dict_to_diffusers, convert_unet_state_dict_to_peft
from diffusers.utils.state_dict_utils import convert_state_dict_to_peft
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError, safe_open
from safetensors.torch import load

from assetforge.errors import UsageError
from assetforge_diffusers.keys import Layer, from_kohya
from assetforge_diffusers.loading import check_weights_file

__all__ = ["adaptable_paths", "read_layers"]

_METADATA = "lora_adapter_metadata"
_ADAPTABLE = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)

Known = Mapping[str, Sequence[str]]
"""Module paths that a LoRA may change, by component."""


def adaptable_paths(modules: Mapping[str, torch.nn.Module]) -> Known:
    """The linear and convolution layers of each network."""
    return {
        component: [path for path, layer in module.named_modules() if isinstance(layer, _ADAPTABLE)]
        for component, module in modules.items()
    }


def read_layers(file: Path, family: str, known: Known, pipeline: Any) -> list[Layer]:
    """The layers in a file.

    Forms that only diffusers knows are converted by it first.

    Args:
        file: A safetensors file in kohya's, LyCORIS', peft's or diffusers' form, or any form that diffusers converts.
        family: Name of the base's family.
        known: Layers of the base.
        pipeline: The base's reference pipeline.

    Raises:
        NotFoundError: There is no such file.
        UsageError: It is a pickle, damaged, or holds something else than layers of this base.
    """
    tensors, metadata = _read(file)
    try:
        layers = from_kohya(family, tensors, known)
    except UsageError:
        converted = _converted(pipeline, tensors)
        if converted is None:
            raise
        layers = from_kohya(family, converted, known)
    settings = json.loads(metadata[_METADATA]) if _METADATA in metadata else {}
    return [_scaled(layer, settings) for layer in layers] if settings else layers


def _read(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata; from one read of the file, which is several times as fast as asking for each of its many small tensors."""
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
        tensors = load(file.read_bytes())
    except (SafetensorError, OSError):
        check_weights_file(file)  # says what is wrong with it
        raise
    return {name: _aligned(tensor) for name, tensor in tensors.items()}, metadata


def _scaled(layer: Layer, settings: Mapping[str, Any]) -> Layer:
    """With the alpha and rank of peft's settings, which diffusers keeps beside the tensors."""
    own = {
        name.removeprefix(f"{layer.component}."): value
        for name, value in settings.items()
        if name.startswith(f"{layer.component}.")
    }
    if "r" not in own:
        return layer
    rank = _by_pattern(own.get("rank_pattern") or {}, layer.path, own["r"])
    alpha = _by_pattern(own.get("alpha_pattern") or {}, layer.path, own.get("lora_alpha", own.get("alpha", rank)))
    return replace(layer, rank=rank, alpha=float(alpha) * (sqrt(rank) if own.get("use_rslora") else 1.0))


def _aligned(tensor: torch.Tensor) -> torch.Tensor:
    """Where matrix kernels sum as they do over any tensor, see :func:`assetforge_diffusers.loading.align_weights`."""
    return tensor.clone() if tensor.data_ptr() % 64 else tensor


def _by_pattern(pattern: Mapping[str, Any], path: str, otherwise: Any) -> Any:
    return pattern.get(get_pattern_key(pattern.keys(), path), otherwise)


def _converted(pipeline: Any, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """The tensors under the names that diffusers gives them; ``None`` when it does not know the form either."""
    options = {"unet_config": pipeline.unet.config} if hasattr(pipeline, "unet") else {}
    try:
        found = pipeline.lora_state_dict(dict(tensors), **options)
    except (ValueError, RuntimeError, KeyError, TypeError, IndexError, AttributeError):
        return None
    state, alphas = found if isinstance(found, tuple) else (found, None)
    named: dict[str, torch.Tensor] = {}
    for component in dict.fromkeys(name.partition(".")[0] for name in state):
        part = {name: tensor for name, tensor in state.items() if name.startswith(f"{component}.")}
        if component.startswith("text_encoder"):
            part = convert_state_dict_to_peft(convert_state_dict_to_diffusers(part))
        elif component == "unet":
            part = convert_unet_state_dict_to_peft(part)
        named |= part
    for name, alpha in (alphas or {}).items():
        named[name if name.endswith(".alpha") else f"{name}.alpha"] = torch.tensor(float(alpha))
    return named
