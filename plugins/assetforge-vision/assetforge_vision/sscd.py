"""SSCD (Pizzi et al. 2022, arXiv 2202.10261): a ResNet50 whose generalised mean over the picture, through one linear layer, is a fingerprint that copies share."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from assetforge.errors import UsageError
from assetforge_vision.machine import Machine, fill, read_weights
from assetforge_vision.params import NetworkParams
from assetforge_vision.pictures import (
    BILINEAR,
    IMAGENET_COLOURS,
    Floats,
    Pixels,
    as_input,
    in_batches,
    short_side,
    unit_rows,
)
from assetforge_vision.weights import fingerprint, locate

if TYPE_CHECKING:
    from assetforge.api.context import JobContext

__all__ = ["CopyNetwork", "Sscd", "generalised_mean", "open_copy_network"]

_SIDE = 288
"""Shorter side, as the authors recommend; the limit for copies was found with it."""

_POWER = 3.0
_EXPANSION = 4

# The authors trained with Classy Vision, whose names are these; their files for torchvision have the names of this module.
_CLASSY_BLOCK = re.compile(r"blocks\.(\d+)\.(?:block\d+-)?(\d+)\.(?:_module\.)?(.+)\.([a-z_]+)\Z")
_CLASSY_PARTS = {
    "convolutional_block.0": "conv1",
    "convolutional_block.1": "bn1",
    "convolutional_block.3": "conv2",
    "convolutional_block.4": "bn2",
    "convolutional_block.6": "conv3",
    "bn": "bn3",
    "downsample.0": "downsample.0",
    "downsample.1": "downsample.1",
}
_CLASSY_OUTSIDE = {"initial_block._module.0": "conv1", "initial_block._module.1": "bn1", "embeddings.1": "fc"}


def generalised_mean(maps: torch.Tensor, power: float) -> torch.Tensor:
    """The power mean over the places of feature maps (n, c, h, w): shape (n, c). Power 1 is the mean, a great one nears the maximum; values count from 1e-6 up."""
    return maps.clamp(min=1e-6).pow(power).mean(dim=(2, 3)).pow(1.0 / power)


class _Block(nn.Module):
    """A bottleneck with its shortcut; the stride is in the middle."""

    def __init__(self, inside: int, outside: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outside, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outside)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride=stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One step of the trunk."""
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        shortcut: torch.Tensor = self.downsample(x)
        return torch.relu(self.bn3(self.conv3(out)) + shortcut)


class CopyNetwork(nn.Module):
    """The trunk of a ResNet with bottlenecks, the generalised mean, and the linear layer; names as in torchvision.

    Args:
        stem: Channels after the first convolution; 64 in ResNet50.
        blocks: Bottlenecks per stage; (3, 4, 6, 3) in ResNet50.
        width: Dimension of the fingerprint.
    """

    def __init__(self, stem: int = 64, blocks: Sequence[int] = (3, 4, 6, 3), width: int = 512) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inside, stages = stem, []
        for number, count in enumerate(blocks):
            narrow, stage = stem * 2**number, []
            for place in range(count):
                stage.append(_Block(inside, narrow * _EXPANSION, narrow, 2 if number and not place else 1))
                inside = narrow * _EXPANSION
            stages.append(nn.Sequential(*stage))
        self.stages = len(stages)
        for number, part in enumerate(stages, start=1):
            self.add_module(f"layer{number}", part)
        self.fc = nn.Linear(inside, width)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Fingerprints, shape (n, width), not yet of length 1."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(pictures))))
        for number in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{number}")(x)
        out: torch.Tensor = self.fc(generalised_mean(x, _POWER))
        return out


def open_copy_network(file: Path) -> CopyNetwork:
    """The network of a converted file; its size follows from the weights.

    Raises:
        NotFoundError: There is no such file.
        UsageError: It is no SSCD with a ResNet trunk.
    """
    tensors = _renamed({name.removeprefix("backbone."): one for name, one in read_weights(file).items()})
    counts: dict[int, int] = {}
    for name in tensors:
        match = re.match(r"layer(\d+)\.(\d+)\.", name)
        if match is not None:
            counts[int(match[1])] = max(counts.get(int(match[1]), 0), int(match[2]) + 1)
    if (
        "conv1.weight" not in tensors
        or "fc.weight" not in tensors
        or sorted(counts) != list(range(1, len(counts) + 1))
        or not counts
    ):
        raise UsageError(
            f"{file} is no SSCD with a ResNet trunk.",
            hint="Convert sscd_disc_mixup.torchvision.pt, as the README says.",
        )
    blocks = [counts[number] for number in sorted(counts)]
    network = CopyNetwork(int(tensors["conv1.weight"].shape[0]), blocks, int(tensors["fc.weight"].shape[0]))
    fill(network, tensors, file, "SSCD with a ResNet50 trunk")
    return network


def _renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names of Classy Vision as those of torchvision; the latter stay."""
    renamed = {}
    for name, tensor in tensors.items():
        match, (head, _, tail) = _CLASSY_BLOCK.match(name), name.rpartition(".")
        if match is not None and match[3] in _CLASSY_PARTS:
            renamed[f"layer{int(match[1]) + 1}.{match[2]}.{_CLASSY_PARTS[match[3]]}.{match[4]}"] = tensor
        else:
            renamed[f"{_CLASSY_OUTSIDE.get(head, head)}.{tail}"] = tensor
    return renamed


class Sscd:
    """The metric ``sscd``."""

    def __init__(self, params: NetworkParams | None = None, context: "JobContext | None" = None) -> None:
        self.params = params or NetworkParams()
        self._machine = Machine(self.params, context)

    def fingerprint(self) -> str:
        """What tells its weights from others."""
        return fingerprint("sscd", self.params.weights)

    @cached_property
    def network(self) -> Any:
        """The network."""
        (file,) = locate("sscd", self.params.weights).values()
        return self._machine.place(open_copy_network(file))

    def embed(self, images: Sequence[Pixels]) -> Floats:
        """One unit vector per picture."""
        inputs = [as_input(short_side(image, _SIDE, BILINEAR), IMAGENET_COLOURS) for image in images]
        rows = in_batches(inputs, self.params.batch_size, self._machine.runner(self.network))
        return unit_rows(rows, int(self.network.fc.out_features))
