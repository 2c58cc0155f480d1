"""The adapted networks of a run: adds adapters to a family's networks, and writes and reads them under the names that other tools use.

Why not diffusers' own exporter: it writes alpha = rank whatever was trained, leaves UNet keys unrenamed once a text encoder is in the file,
and drops the ``text_model`` level that ComfyUI looks for. Everything here is exact: a reload gives the same numbers.
"""

import json
from collections.abc import Mapping
from typing import Any

import torch

from assetforge.errors import UsageError
from assetforge_diffusers.draws import key
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.keys import Layer, from_kohya
from assetforge_diffusers.keys import to_kohya as named_for_kohya
from assetforge_diffusers.networks import ADAPTER, adapt, adapter_layers, denoiser_config, load_layers, text_config
from assetforge_diffusers.params import LoraTrainerParams

__all__ = [
    "ADAPTER",
    "adapter_config_json",
    "adapter_state",
    "add_adapters",
    "layers_in",
    "load_adapter_state",
    "load_kohya",
    "to_diffusers",
    "to_kohya",
    "trainable",
]

Modules = Mapping[str, torch.nn.Module]


def add_adapters(family: Family, params: LoraTrainerParams, seed: int) -> dict[str, Any]:
    """Add fp32 adapters without any effect yet, initialised by ``seed``; return the adapted networks by component name.

    Raises:
        UsageError: This family or network cannot be adapted so.
    """
    if params.network == "dora" and family.denoiser_name != "unet":
        raise UsageError(
            f"No other tool reads DoRA layers of a {family.name} model as they were trained.",
            hint="Set network to lora, loha or lokr.",
        )
    modules: dict[str, Any] = {family.denoiser_name: family.denoiser}
    if params.text_encoder:
        modules.update(family.text_encoders)
    torch.manual_seed(key(seed, "init", 0))
    for name, module in modules.items():
        config = denoiser_config if name == family.denoiser_name else text_config
        adapt(module, config(family.layers, params))
    return modules


def trainable(modules: Modules) -> dict[str, torch.nn.Parameter]:
    """The adapters' parameters by ``component.path``, in module order."""
    return {
        f"{component}.{name}": parameter
        for component, module in modules.items()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def adapter_state(modules: Modules) -> dict[str, torch.Tensor]:
    """Copies of the adapters' weights on the CPU, by ``component.path``."""
    return {name: parameter.detach().cpu().contiguous().clone() for name, parameter in trainable(modules).items()}


@torch.no_grad()
def load_adapter_state(modules: Modules, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what :func:`adapter_state` gave.

    Raises:
        UsageError: The names do not fit these networks.
    """
    own = trainable(modules)
    if own.keys() != tensors.keys():
        raise UsageError(
            f"The LoRA weights do not fit: {len(own.keys() ^ tensors.keys())} layers differ.",
            hint="The targets or the base model have changed.",
        )
    for name, parameter in own.items():
        parameter.copy_(tensors[name])


def to_kohya(family: Family, modules: Modules) -> dict[str, torch.Tensor]:
    """The adapters under the names of kohya's scripts, with the alpha that was trained."""
    return named_for_kohya(family.name, adapter_layers(modules))


def layers_in(family: Family, modules: Modules, tensors: Mapping[str, torch.Tensor]) -> list[Layer]:
    """The layers in a file in kohya's form.

    Raises:
        UsageError: The file holds others than those that are adapted here.
    """
    known: dict[str, list[str]] = {}
    for layer in adapter_layers(modules):
        known.setdefault(layer.component, []).append(layer.path)
    return from_kohya(family.name, tensors, known)


def load_kohya(family: Family, modules: Modules, tensors: Mapping[str, torch.Tensor]) -> None:
    """Continue from a file in kohya's format; another alpha is folded into the weights.

    Raises:
        UsageError: Layers, kinds of network or ranks differ from what is being trained.
    """
    load_layers(modules, layers_in(family, modules, tensors))


def to_diffusers(modules: Modules) -> dict[str, torch.Tensor]:
    """A LoRA under the names that diffusers reads, all in peft's form; alpha travels in :func:`adapter_config_json`.

    One form throughout, because diffusers decides by the first key of a file whether any of its keys need renaming.
    """
    tensors: dict[str, torch.Tensor] = {}
    for layer in adapter_layers(modules):
        inner = layer.component.startswith("text_encoder") and not layer.path.startswith("text_model.")
        stem = f"{layer.component}.{'text_model.' if inner else ''}{layer.path}"
        tensors |= {f"{stem}.{name}": tensor for name, tensor in layer.tensors.items()}
    return tensors


def adapter_config_json(modules: Any) -> str:
    """The value of the ``lora_adapter_metadata`` key: every component's LoRA settings, as diffusers reads them.

    Dropout is left out: diffusers loads it in training mode, and every picture would be disturbed by it.
    """
    settings: dict[str, Any] = {}
    for component, module in modules.items():
        for name, value in {**module.peft_config[ADAPTER].to_dict(), "lora_dropout": 0.0}.items():
            settings[f"{component}.{name}"] = sorted(value) if isinstance(value, set) else value
    return json.dumps(settings, indent=2, sort_keys=True)
