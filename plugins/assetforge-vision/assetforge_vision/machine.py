"""Networks in torch: the device, the number format, weights from safetensors."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from assetforge.errors import UsageError
from assetforge_vision.params import NetworkParams, VisionParams
from assetforge_vision.pictures import Floats
from assetforge_vision.weights import check_file

if TYPE_CHECKING:
    from assetforge.api.context import JobContext

__all__ = ["Machine", "fill", "read_weights"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Machine:
    """Where a metric computes, and in which numbers.

    Args:
        params: What the user set.
        context: The job, whose device is taken unless the user named one.

    Raises:
        UsageError: The device is not there, or cannot compute in that format.
    """

    def __init__(self, params: VisionParams, context: "JobContext | None") -> None:
        asked = params.device if params.device != "auto" or context is None else context.device
        self.device = torch.device(_chosen(asked))
        precision = params.precision if isinstance(params, NetworkParams) else "fp32"
        if precision == "fp16" and self.device.type == "cpu":
            raise UsageError("fp16 is only for GPUs, and this runs on cpu.", hint="Set precision to fp32 or bf16.")
        self.dtype = _DTYPES[precision]
        if context is not None and context.threads:
            torch.set_num_threads(context.threads)

    def place(self, network: nn.Module) -> nn.Module:
        """The network, frozen, where and as it computes."""
        return network.requires_grad_(requires_grad=False).eval().to(self.device, self.dtype)

    def runner(self, forward: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Floats], Floats]:
        """``forward`` from array to array."""

        def run(batch: Floats) -> Floats:
            with torch.inference_mode():
                out = forward(torch.from_numpy(batch).to(self.device, self.dtype))
            result: Floats = out.float().cpu().numpy().astype(np.float32)
            return result

        return run


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, in fp32 and on the CPU, without the prefix that data-parallel training leaves.

    Raises:
        NotFoundError: There is no such file.
        UsageError: It is a pickle, TorchScript, or damaged.
    """
    tensors = load_file(check_file(file))
    return {name.removeprefix("module."): tensor.float() for name, tensor in tensors.items()}


def fill(network: nn.Module, tensors: dict[str, torch.Tensor], file: Path, what: str) -> None:
    """Put weights into a network that has exactly these.

    Args:
        network: The network.
        tensors: Its weights by name.
        file: Where they come from, for the error.
        what: What the network is, for the error.

    Raises:
        UsageError: Weights are missing, or have another shape.
    """
    wanted = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    missing = sorted(wanted - tensors.keys())
    known: dict[str, Any] = {name: tensors[name] for name in wanted & tensors.keys()}
    try:
        network.load_state_dict(known, strict=False)
    except RuntimeError as error:
        raise UsageError(
            f"{file} has weights of other shapes than {what} has.", hint="Take the published weights."
        ) from error
    if missing:
        raise UsageError(
            f"{file} is not {what}: it lacks {missing[0]} and {len(missing) - 1} other weights.",
            hint="Take the published weights.",
        )


def _chosen(asked: str) -> str:
    kind = asked.partition(":")[0]
    if kind == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    if (kind == "cuda" and not torch.cuda.is_available()) or (kind == "mps" and not torch.backends.mps.is_available()):
        raise UsageError(f"There is no {kind} device here.", hint="Set the device to auto or cpu.")
    return asked
