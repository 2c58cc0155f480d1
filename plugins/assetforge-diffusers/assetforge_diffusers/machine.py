"""The device and number format that work runs in, and the record of what ran."""

import os
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import psutil
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from assetforge.errors import UsageError
from assetforge_diffusers.params import Network, Precision

__all__ = ["Machine", "choose_attention", "engine_record", "memory_mb", "take_machine"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Machine:
    """What accelerate gave us.

    Attributes:
        accelerator: Owns device, autocast and loss scaling.
        precision: ``fp32``, ``bf16`` or ``fp16``.
    """

    accelerator: Accelerator
    precision: str

    @property
    def device(self) -> torch.device:
        """Where tensors live."""
        device: torch.device = self.accelerator.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of frozen weights."""
        return _DTYPES[self.precision]

    def computing(self, network: Network) -> AbstractContextManager[Any]:
        """What steps run under: adapters of this kind are kept in fp32, and all but LoRA's need autocast to meet a base in half precision.

        Autocast has a price: every normalisation answers in fp32, which is written, kept and read again at twice the size.
        """
        return nullcontext() if network == "lora" else self.accelerator.autocast()


def choose_attention(denoiser: str) -> None:
    """Which libraries of a GPU attention is learnt with, in this process from now on.

    cuDNN's is the fastest there is for UNets. Through attention of FLUX.1 (4,608 tokens, 24 heads of 128 numbers) its backward pass reads memory that is not its own, on an
    H200 with PyTorch 2.11; a mask can make it answer NaN (PyTorch issue 196678). Transformers therefore do without.

    Args:
        denoiser: Component name of what is trained, ``unet`` or ``transformer``.
    """
    torch.backends.cuda.enable_cudnn_sdp(denoiser == "unet")


def take_machine(device: str, threads: int, precision: Precision, *, training: bool) -> Machine:
    """Choose device and number format for this process.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        threads: CPU threads; 0 keeps torch's own choice.
        precision: Number format.
        training: Training prefers bf16 on a GPU, rendering fp16.

    Raises:
        UsageError: The device is not there, or cannot compute in that format.
    """
    if threads:
        torch.set_num_threads(threads)
    kind = device.partition(":")[0]
    if (kind == "cuda" and not torch.cuda.is_available()) or (kind == "mps" and not torch.backends.mps.is_available()):
        raise UsageError(
            f"There is no {kind} device here.", hint="Run on another machine, or set the device to auto or cpu."
        )
    if kind == "cuda" and ":" in device:
        torch.cuda.set_device(torch.device(device))
        os.environ["ACCELERATE_TORCH_DEVICE"] = device
    chosen = _choose_device(kind)
    name = _choose_precision(chosen, precision, training=training)
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001 - a process may train and render in turn, and accelerate keeps one state per process
    accelerator = Accelerator(cpu=chosen == "cpu", mixed_precision="no" if name == "fp32" else name)
    return Machine(accelerator, name)


def _choose_device(kind: str) -> str:
    if kind != "auto":
        return kind
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _choose_precision(device: str, precision: Precision, *, training: bool) -> str:
    if precision == "auto":
        if device != "cuda":
            return "fp32"
        return "bf16" if training and torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if precision == "fp16" and device != "cuda":
        raise UsageError(
            f"fp16 is only for NVIDIA and AMD GPUs, and this runs on {device}.",
            hint="Set precision to auto, fp32 or bf16.",
        )
    return precision


def memory_mb(device: torch.device) -> float:
    """MiB in use: the GPU's peak where there is one, else the process's resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if device.type == "mps":
        return torch.mps.current_allocated_memory() / 2**20
    return float(psutil.Process().memory_info().rss) / 2**20


def engine_record(machine: Machine) -> dict[str, Any]:
    """Versions, device and number format: what can change numbers."""
    device = machine.device
    return {
        **{
            name: version(name)
            for name in ("torch", "diffusers", "transformers", "peft", "accelerate", "assetforge-diffusers")
        },
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or platform.machine(),
        "cuda": str(torch.version.cuda or torch.version.hip or ""),
        "dtype": machine.precision,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
    }
