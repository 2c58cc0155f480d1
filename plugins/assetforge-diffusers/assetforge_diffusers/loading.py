"""Opens base models and LoRA files from disk: safetensors only, never a pickle, never the network."""

from pathlib import Path

import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError, safe_open
from transformers.utils import logging as transformers_logging

from assetforge.errors import NotFoundError, UsageError

__all__ = ["align_weights", "check_weights_file", "read_tensors", "weights_variant"]

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


def align_weights(module: torch.nn.Module) -> None:
    """Copy weights on the CPU that do not start at a multiple of 64 bytes to memory that does.

    Weights mapped from a file start wherever its header ends, and matrix kernels sum unaligned rows in another order: equal weights
    from two files would give outputs that differ in the last bits (up to 1e-6 were seen).
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % _ALIGNMENT:
            tensor.data = tensor.data.clone()


def weights_variant(folder: Path, component: str) -> str | None:
    """Middle part of the names of a component's weight files, such as ``fp16``; ``None`` for the plain ones.

    Raises:
        NotFoundError: There are no weights.
        UsageError: They are pickled, or damaged.
    """
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
