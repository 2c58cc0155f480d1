"""Writes the trained LoRA in the form of kohya's scripts and in diffusers' form, and proves that both give back the model that was trained."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from assetforge.errors import JobError
from assetforge_diffusers.adapters import ADAPTER, adapter_config_json, layers_in, to_diffusers, to_kohya
from assetforge_diffusers.draws import generator
from assetforge_diffusers.families.base import Family, Told
from assetforge_diffusers.loading import align_weights, read_tensors
from assetforge_diffusers.loop import TrainingLoop
from assetforge_diffusers.metadata import hashes_of
from assetforge_diffusers.networks import adapter_layers, follow_inputs

__all__ = ["Exports", "verify_exports", "write_exports"]

_EXPORT = "export"
_PROBE_TIMES = (0.05, 0.5, 0.95)
_GPU_TOLERANCE = 1e-3
"""Other devices than the CPU may choose another kernel for the same numbers; a wrong alpha or a lost layer is far above it."""


@dataclass(frozen=True, slots=True)
class Exports:
    """The files of one export.

    Attributes:
        kohya: In the form of kohya's scripts.
        diffusers: In diffusers' form; ``None`` for other networks than LoRA, which it does not read as they were trained.
        identity: Hash of the data section of the first.
    """

    kohya: Path
    diffusers: Path | None
    identity: str


def write_exports(folder: Path, name: str, loop: TrainingLoop, metadata: Mapping[str, str]) -> Exports:
    """Write ``<name>.safetensors`` (kohya) and, for LoRA, ``<name>.diffusers.safetensors``."""
    tensors = to_kohya(loop.family, loop.modules)
    described = {**metadata, **hashes_of(tensors, metadata), "format": "pt"}
    kohya = folder / f"{name}.safetensors"
    save_file(tensors, kohya, described)
    diffusers = None
    if loop.params.network == "lora":
        diffusers = folder / f"{name}.diffusers.safetensors"
        settings = {"lora_adapter_metadata": adapter_config_json(loop.modules)}
        save_file(to_diffusers(loop.modules), diffusers, {**described, **settings})
    return Exports(kohya, diffusers, described["sshs_model_hash"])


def verify_exports(loop: TrainingLoop, exports: Exports) -> float:
    """Prove that the files give back what was trained.

    Every layer of the kohya file is read back and compared, its scale included. LoRA files that diffusers reads are loaded by its
    loader beside what was trained, and the networks' answers are compared.

    Args:
        loop: The trained run; its networks are in evaluation mode afterwards.
        exports: Its files.

    Returns:
        Largest difference of any output; exactly 0.0 on a CPU.

    Raises:
        JobError: A file does not give back the trained model.
    """
    for module in loop.modules.values():
        module.eval()
    _refuse(exports.kohya, _layers_differ(loop, exports.kohya), allowed=0.0)
    if exports.diffusers is None:
        return 0.0
    # Of joined layers, as transformers have them in kohya's form, diffusers' converter knows the published sizes alone; they were compared above.
    kohya = [exports.kohya] if loop.family.denoiser_name == "unet" else []
    return _answers_differ(loop, [*kohya, exports.diffusers])


def _refuse(file: Path, difference: float, allowed: float) -> None:
    if not difference <= allowed:
        raise JobError(
            f"{file.name} was written but does not give back the trained model: it differs by {difference:.3g}.",
            hint="Nothing was registered. Please report the recipe and the versions of diffusers and peft.",
        )


def _layers_differ(loop: TrainingLoop, file: Path) -> float:
    """Largest difference of any tensor or scale between the file's layers and the trained ones."""
    written = {(one.component, one.path): one for one in layers_in(loop.family, loop.modules, read_tensors(file)[0])}
    trained = {(one.component, one.path): one for one in adapter_layers(loop.modules)}
    if written.keys() != trained.keys():
        return float("inf")
    worst = 0.0
    for place, own in trained.items():
        other = written[place]
        if own.tensors.keys() != other.tensors.keys():
            return float("inf")
        differences = [float((own.tensors[name] - other.tensors[name]).abs().max()) for name in own.tensors]
        worst = max(worst, *differences, abs(own.alpha / own.rank - other.alpha / other.rank))
    return worst


@torch.no_grad()
def _answers_differ(loop: TrainingLoop, files: Sequence[Path]) -> float:
    family, modules, device = loop.family, loop.modules, loop.machine.device
    trained = _answers(loop)
    largest = max(float(tensor.abs().max()) for tensor in trained.values())
    shell, worst = family.base.pipeline(only=tuple(modules)), 0.0
    for file in files:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Already found a `peft_config`"
            )  # the trained one stays beside it
            shell.load_lora_weights(
                file.parent, weight_name=file.name, adapter_name=_EXPORT, local_files_only=True, use_safetensors=True
            )
        for module in modules.values():
            _activate(module, _EXPORT)
        reloaded = _answers(loop)
        for module in modules.values():
            _activate(module, ADAPTER)
            if _EXPORT in module.peft_config:
                _delete(module, _EXPORT)
        difference = max(float((reloaded[name] - trained[name]).abs().max()) for name in trained)
        _refuse(file, difference, allowed=0.0 if device.type == "cpu" else _GPU_TOLERANCE * largest)
        worst = max(worst, difference)
    return worst


def _activate(module: Any, adapter: str) -> None:
    """Let a network wear that adapter alone; the file may hold nothing for it."""
    if adapter not in module.peft_config:
        module.disable_adapters()
        return
    module.enable_adapters()
    module.set_adapter(adapter)
    for name, parameter in module.named_parameters():
        if f".{adapter}." in name or name.endswith(f".{adapter}"):
            parameter.data = parameter.data.float()
            parameter.requires_grad_(requires_grad=adapter == ADAPTER)
    follow_inputs(module, adapter)
    align_weights(module)


def _delete(module: Any, adapter: str) -> None:
    """Networks of diffusers and of transformers name this differently."""
    delete = getattr(module, "delete_adapters", None) or module.delete_adapter
    delete(adapter)


def _answers(loop: TrainingLoop) -> dict[str, torch.Tensor]:
    """What the adapted networks say about the first and the empty caption, at three noise levels."""
    family, material, device = loop.family, loop.material, loop.machine.device
    bucket, outputs = material.buckets[0], {}
    shape = material.latent_shape(bucket.entries[0], 1)
    geometry = bucket.geometry[:1].to(device)
    for row in (0, -1):
        told = _told(family, loop, row, device)
        outputs |= {f"{name} {row}": tensor.float().cpu() for name, tensor in told.items()}
        noise = torch.randn(shape, generator=generator(0, "probe", row)).to(device)
        for time in _PROBE_TIMES:
            with loop.machine.computing(loop.params.network):
                answer = family.predict(noise, family.time_at(time, device), told, geometry)
            outputs[f"{row} at {time}"] = answer.float().cpu()
    return outputs


def _told(family: Family, loop: TrainingLoop, row: int, device: torch.device) -> Told:
    texts = loop.material.texts
    rows = slice(row, row + 1 or None)
    if texts.told is not None:
        return {name: tensor[rows].to(device) for name, tensor in texts.told.items()}
    return family.encode_tokens({name: ids[rows].to(device) for name, ids in texts.tokens.items()})
