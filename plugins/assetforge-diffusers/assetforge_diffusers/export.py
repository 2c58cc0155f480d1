"""Writes the trained LoRA in kohya's and in diffusers' form, and proves that both give back the model that was trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from assetforge.errors import JobError
from assetforge_diffusers.adapters import adapter_config_json, to_diffusers, to_kohya
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.loading import align_weights, read_tensors
from assetforge_diffusers.machine import Machine
from assetforge_diffusers.metadata import hashes_of

__all__ = ["verify_exports", "write_exports"]

_GPU_TOLERANCE = 1e-3
"""Other devices than the CPU may choose another kernel for the same numbers; a wrong alpha or a lost layer is far above it."""


def write_exports(
    folder: Path, name: str, family: Family, modules: Mapping[str, torch.nn.Module], metadata: Mapping[str, str]
) -> tuple[Path, Path, str]:
    """Write ``<name>.safetensors`` (kohya) and ``<name>.diffusers.safetensors``.

    Returns:
        Both files, and the hash of the kohya file's data section.
    """
    kohya_tensors = to_kohya(family, modules)
    described = {**metadata, **hashes_of(kohya_tensors, metadata), "format": "pt"}
    kohya = folder / f"{name}.safetensors"
    save_file(kohya_tensors, kohya, described)
    diffusers = folder / f"{name}.diffusers.safetensors"
    save_file(to_diffusers(modules), diffusers, {**described, "lora_adapter_metadata": adapter_config_json(modules)})
    return kohya, diffusers, described["sshs_model_hash"]


def verify_exports(
    base: Path,
    family: Family,
    machine: Machine,
    adapted: Sequence[str],
    files: Sequence[Path],
    captions: Sequence[str],
    side: int,
) -> float:
    """Reload every file into a fresh pipeline and compare its outputs with the trained model's.

    Args:
        base: Folder of the base model.
        family: The trained model; it is moved to the CPU afterwards.
        machine: Where and in which number format it was trained; compared in fp32, on base weights that went through that format.
        adapted: Components that wear LoRA layers.
        files: LoRA files.
        captions: What the probes are told.
        side: Pixels.

    Returns:
        Largest difference of any output; exactly 0.0 on a CPU.

    Raises:
        JobError: A file does not give back the trained model.
    """
    for component in adapted:
        getattr(family.pipeline, component).eval()
    trained = _probe(family, machine.device, captions, side)
    family.pipeline.to("cpu")
    fresh = type(family).open(base)
    for component in adapted:
        getattr(fresh.pipeline, component).to(machine.dtype).to(torch.float32)
    worst, device = 0.0, machine.device
    for file in files:
        read_tensors(file)
        fresh.pipeline.load_lora_weights(
            file.parent, weight_name=file.name, adapter_name="export", local_files_only=True, use_safetensors=True
        )
        reloaded = _probe(fresh, device, captions, side)
        difference = max(float((reloaded[name] - trained[name]).abs().max()) for name in trained)
        allowed = (
            0.0
            if device.type == "cpu"
            else _GPU_TOLERANCE * max(float(tensor.abs().max()) for tensor in trained.values())
        )
        if not difference <= allowed:
            raise JobError(
                f"{file.name} was written but does not give back the trained model: its outputs differ by {difference:.3g}.",
                hint="Nothing was registered. Please report the recipe and the versions of diffusers and peft.",
            )
        worst = max(worst, difference)
        fresh.pipeline.unload_lora_weights()
    return worst


def _probe(family: Family, device: torch.device, captions: Sequence[str], side: int) -> dict[str, torch.Tensor]:
    for module in (family.denoiser, *family.text_encoders.values()):
        module.to(device, torch.float32)
        align_weights(module)
    return family.probe(captions, side)
