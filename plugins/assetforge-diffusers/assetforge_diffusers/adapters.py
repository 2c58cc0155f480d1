"""Adds LoRA layers to a family's networks, and writes and reads them under the names that other tools use.

Why not diffusers' own exporter: it writes alpha = rank whatever was trained, leaves UNet keys unrenamed once a text encoder is in the file,
and drops the ``text_model`` level that ComfyUI looks for. Everything here is exact: a reload gives the same numbers.
"""

import json
from collections.abc import Mapping
from typing import Any, cast

import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

from assetforge.errors import UsageError
from assetforge_diffusers.draws import key
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.params import LoraTrainerParams

__all__ = [
    "ADAPTER",
    "adapter_config_json",
    "adapter_state",
    "add_adapters",
    "load_adapter_state",
    "load_kohya",
    "to_diffusers",
    "to_kohya",
    "trainable",
]

ADAPTER = "default"
_PREFIXES = {"unet": "lora_unet", "text_encoder": "lora_te"}
Modules = Mapping[str, torch.nn.Module]


def add_adapters(family: Family, params: LoraTrainerParams, seed: int) -> dict[str, Any]:
    """Add fp32 LoRA layers, initialised by ``seed``; return the adapted networks by component name."""
    modules: dict[str, Any] = {family.denoiser_name: family.denoiser}
    if params.text_encoder:
        modules.update(family.text_encoders)
    torch.manual_seed(key(seed, "init", 0))
    for name, module in modules.items():
        config = _denoiser_config(family, params) if name == family.denoiser_name else _text_config(family, params)
        module.add_adapter(config)
    for parameter in trainable(modules).values():
        parameter.data = parameter.data.float()
    return modules


def _denoiser_config(family: Family, params: LoraTrainerParams) -> LoraConfig:
    layers = [*family.layers["attention"], *(family.layers["ff"] if params.targets == "attention+ff" else ())]
    rank_pattern, alpha_pattern = {}, {}
    if params.conv_rank:
        convolutions = family.layers["conv"]
        pattern = "|".join(convolutions)
        layers += convolutions
        rank_pattern = {pattern: params.conv_rank}
        alpha_pattern = {pattern: params.conv_alpha or params.alpha / params.rank * params.conv_rank}
    return LoraConfig(
        r=params.rank,
        lora_alpha=cast("int", params.alpha),  # annotated as int, meant and used as a number
        lora_dropout=params.dropout,
        target_modules=layers,
        rank_pattern=rank_pattern,
        alpha_pattern=alpha_pattern,
    )


def _text_config(family: Family, params: LoraTrainerParams) -> LoraConfig:
    layers = list(family.layers["text"])
    return LoraConfig(
        r=params.rank, lora_alpha=cast("int", params.alpha), lora_dropout=params.dropout, target_modules=layers
    )


def trainable(modules: Modules) -> dict[str, torch.nn.Parameter]:
    """The LoRA parameters by ``component.path``, in module order."""
    return {
        f"{component}.{name}": parameter
        for component, module in modules.items()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def adapter_state(modules: Modules) -> dict[str, torch.Tensor]:
    """Copies of the LoRA weights on the CPU, by ``component.path``."""
    return {
        f"{component}.{name}": tensor.detach().cpu().contiguous().clone()
        for component, module in modules.items()
        for name, tensor in get_peft_model_state_dict(module, adapter_name=ADAPTER, save_embedding_layers=False).items()
    }


def load_adapter_state(modules: Modules, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what :func:`adapter_state` gave.

    Raises:
        UsageError: The names do not fit these networks.
    """
    expected = {
        f"{component}.{name}"
        for component, module in modules.items()
        for name in get_peft_model_state_dict(module, adapter_name=ADAPTER, save_embedding_layers=False)
    }
    if expected != set(tensors):
        raise UsageError(
            f"The LoRA weights do not fit: {len(expected ^ set(tensors))} layers differ.",
            hint="The targets or the base model have changed.",
        )
    for component, module in modules.items():
        part = {
            name.removeprefix(f"{component}."): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"{component}.")
        }
        set_peft_model_state_dict(module, part, adapter_name=ADAPTER)


def _kohya_stem(prefix: str, component: str, path: str) -> str:
    if component.startswith("text_encoder") and not path.startswith("text_model."):
        path = f"text_model.{path}"
    return f"{prefix}_{path.replace('.', '_')}"


def to_kohya(family: Family, modules: Modules) -> dict[str, torch.Tensor]:
    """The LoRA under the names of kohya's scripts, with the alpha that was trained."""
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in adapter_state(modules).items():
        component, _, rest = name.partition(".")
        path, _, part = rest.rpartition(".lora_")
        stem = _kohya_stem(_PREFIXES[component], component, path)
        layer: Any = modules[component].get_submodule(path)
        tensors[f"{stem}.{'lora_down' if part.startswith('A') else 'lora_up'}.weight"] = tensor
        tensors[f"{stem}.alpha"] = torch.tensor(float(layer.lora_alpha[ADAPTER]))
    return tensors


def load_kohya(family: Family, modules: Modules, tensors: Mapping[str, torch.Tensor]) -> None:
    """Continue from a file in kohya's format; another alpha is folded into the weights.

    Raises:
        UsageError: Layers or ranks differ from what is being trained.
    """
    state: dict[str, torch.Tensor] = {}
    used: set[str] = set()
    for name, fresh in adapter_state(modules).items():
        component, _, rest = name.partition(".")
        path, _, part = rest.rpartition(".lora_")
        stem = _kohya_stem(_PREFIXES[component], component, path)
        source = f"{stem}.{'lora_down' if part.startswith('A') else 'lora_up'}.weight"
        if source not in tensors or tensors[source].shape != fresh.shape:
            raise UsageError(
                f"The weights to continue from do not fit at {stem}.",
                hint="Use the rank, targets and text encoder setting they were trained with.",
            )
        used.add(source)
        tensor = tensors[source].float()
        if part.startswith("B") and f"{stem}.alpha" in tensors:
            layer: Any = modules[component].get_submodule(path)
            tensor = tensor * (float(tensors[f"{stem}.alpha"]) / float(layer.lora_alpha[ADAPTER]))
        state[name] = tensor
    left = [name for name in tensors if not name.endswith(".alpha") and name not in used]
    if left:
        raise UsageError(
            f"The weights to continue from have {len(left)} tensors more, such as {left[0]}.",
            hint="Use the targets they were trained with.",
        )
    load_adapter_state(modules, state)


def to_diffusers(modules: Modules) -> dict[str, torch.Tensor]:
    """The LoRA under the names that diffusers reads, all in peft's form; alpha travels in :func:`adapter_config_json`.

    One form throughout, because diffusers decides by the first key of a file whether any of its keys need renaming.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in adapter_state(modules).items():
        component, _, path = name.partition(".")
        level = "text_model." if component.startswith("text_encoder") and not path.startswith("text_model.") else ""
        tensors[f"{component}.{level}{path}"] = tensor
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
