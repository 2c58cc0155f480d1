"""Opens base models and LoRA files from disk: safetensors only, never a pickle, never the network."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError, safe_open
from transformers.utils import logging as transformers_logging

from assetforge.errors import NotFoundError, UsageError

__all__ = ["align_weights", "check_weights_file", "component_digest", "open_pipeline", "read_tensors"]

for _logging in (diffusers_logging, transformers_logging):  # they advise about things that are checked or chosen here
    _logging.set_verbosity_error()
    _logging.disable_progress_bar()

_ALIGNMENT = 64
_PICKLES = {".bin", ".ckpt", ".pt", ".pth", ".pkl"}
_CONVERT = "Convert it to safetensors with the tool that made it."


def check_weights_file(file: Path) -> Path:
    """Return ``file`` when it is a readable safetensors file.

    Raises:
        NotFoundError: It does not exist.
        UsageError: It is a pickle, or damaged.
    """
    if not file.is_file():
        raise NotFoundError(f"The weights {file} do not exist.", hint="Check the path, or restore the file.")
    if file.suffix.lower() in _PICKLES:
        raise UsageError(
            f"{file.name} is a pickle, which can run code when it is loaded; only safetensors are opened.",
            hint=_CONVERT,
        )
    try:
        with safe_open(file, framework="pt") as opened:
            opened.keys()
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"{file.name} is not a readable safetensors file ({error}).",
            hint=f"It is damaged or another format. {_CONVERT}",
        ) from error
    return file


def read_tensors(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file, on the CPU."""
    with safe_open(check_weights_file(file), framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, dict(opened.metadata() or {})  # noqa: SIM118 - not a dict


def open_pipeline(kind: Any, folder: Path, dtype: torch.dtype, components: tuple[str, ...]) -> Any:
    """Open a pipeline folder on the CPU, without safety checker.

    Args:
        kind: Pipeline class of diffusers.
        folder: A folder with ``model_index.json``.
        dtype: Number format of all weights.
        components: Sub-folders that must hold weights.

    Raises:
        NotFoundError: The folder or a component is missing.
        UsageError: A component has only pickled weights, or the base is a single file.
    """
    if folder.is_file():
        raise UsageError(
            f"The base model {folder.name} is a single file; this plugin opens pipeline folders.",
            hint="Convert it to a diffusers folder.",
        )
    if not (folder / "model_index.json").is_file():
        raise NotFoundError(
            f"{folder} is not a pipeline folder: it has no model_index.json.",
            hint="Point the base model at a diffusers folder.",
        )
    variants = {_weights_variant(folder, component) for component in components}
    if len(variants) > 1:
        raise UsageError(
            f"The components of {folder} are stored in different variants.",
            hint="Keep either the plain or the fp16 files of every component.",
        )
    pipeline = kind.from_pretrained(
        folder,
        dtype=dtype,
        variant=variants.pop(),
        use_safetensors=True,
        local_files_only=True,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for component in components:
        align_weights(getattr(pipeline, component))
    return pipeline


def align_weights(module: torch.nn.Module) -> None:
    """Copy weights on the CPU that do not start at a multiple of 64 bytes to memory that does.

    Weights mapped from a file start wherever its header ends, and matrix kernels sum unaligned rows in another order: equal weights
    from two files would give outputs that differ in the last bits (up to 1e-6 were seen).
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % _ALIGNMENT:
            tensor.data = tensor.data.clone()


def _weights_variant(folder: Path, component: str) -> str | None:
    files = sorted((folder / component).glob("*.safetensors"))
    if not files:
        pickles = [file for file in sorted((folder / component).glob("*")) if file.suffix in _PICKLES]
        if pickles:
            raise UsageError(
                f"{pickles[0]} is a pickle, which can run code when it is loaded; only safetensors are opened.",
                hint=_CONVERT,
            )
        raise NotFoundError(f"{folder} has no weights for its {component}.", hint="Copy the whole base model again.")
    for file in files:
        check_weights_file(file)
    return (
        None
        if any(file.name.count(".") == 1 or "-of-" in file.name.split(".")[0] for file in files)
        else files[0].name.split(".")[-2]
    )


def component_digest(module: torch.nn.Module, config: Any) -> str:
    """SHA-256 over a network's settings and the bytes of its tensors."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, tensor in sorted(module.state_dict().items()):
        data = tensor.detach().cpu().contiguous()
        digest.update(f"{name}/{data.dtype}/{tuple(data.shape)}/".encode())
        digest.update(data.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
