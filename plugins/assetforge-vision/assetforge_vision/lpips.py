"""LPIPS (Zhang et al. 2018, arXiv 1801.03924), version 0.1 with AlexNet: weighted squared distances between normalised feature maps of two pictures."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from assetforge.errors import UsageError
from assetforge_vision.machine import Machine, fill, read_weights
from assetforge_vision.params import VisionParams
from assetforge_vision.pictures import HALF_COLOURS, Floats, Pixels, as_input, in_batches
from assetforge_vision.weights import fingerprint, locate

if TYPE_CHECKING:
    from assetforge.api.context import JobContext

__all__ = ["DriftNetwork", "Lpips", "open_drift_network"]

_SMALLEST = 31
"""Pixels; below, the last maps of AlexNet have no place left."""

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_CONVOLUTIONS = (
    (0, 3, 64, 11, 4, 2),
    (3, 64, 192, 5, 1, 2),
    (6, 192, 384, 3, 1, 1),
    (8, 384, 256, 3, 1, 1),
    (10, 256, 256, 3, 1, 1),
)
"""Of AlexNet as torchvision has it: place in ``features``, channels in and out, kernel, stride, padding."""

_POOLED_BEFORE = (1, 2)
_ROUNDING = 1e-10


class DriftNetwork(nn.Module):
    """AlexNet's five feature maps and a weight per channel of each."""

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inside, outside, kernel, stride=stride, padding=padding)
            for _, inside, outside, kernel, stride, padding in _CONVOLUTIONS
        )
        self.weights = nn.ParameterList(torch.zeros(outside) for _, _, outside, *_ in _CONVOLUTIONS)
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None], persistent=False)

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        """Distances of pairs (n, 2, 3, h, w) with values in -1 to 1: shape (n,), 0 for equal pictures."""
        total = torch.zeros(len(pairs), device=pairs.device)
        maps = zip(self._maps(pairs[:, 0]), self._maps(pairs[:, 1]), self.weights, strict=True)
        for first, second, weight in maps:
            difference = (first - second) ** 2
            total = total + (difference * weight[:, None, None]).sum(dim=1).mean(dim=(1, 2))
        return total

    def _maps(self, pictures: torch.Tensor) -> Iterator[torch.Tensor]:
        x = (pictures - self.shift) / self.scale
        for number, convolution in enumerate(self.convolutions):
            if number in _POOLED_BEFORE:
                x = nn.functional.max_pool2d(x, 3, stride=2)
            x = torch.relu(convolution(x))
            yield x / (x.pow(2).sum(dim=1, keepdim=True).sqrt() + _ROUNDING)


def open_drift_network(file: Path) -> DriftNetwork:
    """The network of a converted file: the state of ``lpips.LPIPS(net="alex")``.

    Raises:
        NotFoundError: There is no such file.
        UsageError: It is no LPIPS with AlexNet.
    """
    tensors, renamed = read_weights(file), {}
    for number, (place, *_) in enumerate(_CONVOLUTIONS):
        for ending in ("weight", "bias"):
            name = f"net.slice{number + 1}.{place}.{ending}"
            if name in tensors:
                renamed[f"convolutions.{number}.{ending}"] = tensors[name]
        linear = tensors.get(f"lin{number}.model.1.weight")
        if linear is not None:
            renamed[f"weights.{number}"] = linear.flatten()
    network = DriftNetwork()
    fill(network, renamed, file, "LPIPS with AlexNet")
    return network


class Lpips:
    """The metric ``lpips``."""

    def __init__(self, params: VisionParams | None = None, context: "JobContext | None" = None) -> None:
        self.params = params or VisionParams()
        self._machine = Machine(self.params, context)

    def fingerprint(self) -> str:
        """What tells its weights from others."""
        return fingerprint("lpips", self.params.weights)

    @cached_property
    def network(self) -> Any:
        """The network."""
        (file,) = locate("lpips", self.params.weights).values()
        return self._machine.place(open_drift_network(file))

    def compare(self, pairs: Sequence[tuple[Pixels, Pixels]]) -> list[float]:
        """The distance of every pair, 0 when both are equal; nothing is resized.

        Raises:
            UsageError: A pair differs in size, or is smaller than 31 pixels.
        """
        inputs = [self._input(first, second) for first, second in pairs]
        return [float(one) for one in in_batches(inputs, self.params.batch_size, self._machine.runner(self.network))]

    def _input(self, first: Pixels, second: Pixels) -> Floats:
        if first.shape != second.shape or min(first.shape[:2]) < _SMALLEST:
            sizes = " and ".join(f"{picture.shape[1]} x {picture.shape[0]}" for picture in (first, second))
            raise UsageError(
                f"LPIPS cannot compare pictures of {sizes} pixels.",
                hint=f"Both must have one size, at least {_SMALLEST} pixels a side; nothing is resized.",
            )
        return np.stack([as_input(first, HALF_COLOURS), as_input(second, HALF_COLOURS)])
