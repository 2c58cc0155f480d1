"""The small convolutional network that the probe and the measuring reader are built on."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; halves the picture when `stride` is 2."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.first_norm = nn.GroupNorm(8, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.second_norm = nn.GroupNorm(8, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        y = nn.functional.silu(self.first_norm(self.first(x)))
        return nn.functional.silu(self.second_norm(self.second(y)) + self.shortcut(x))


class Trunk(nn.Module):
    """Feature maps of a 64 x 64 picture at half, quarter and eighth size."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1)
        self.to_half = Residual(16, widths[0], 2)
        self.to_quarter = Residual(widths[0], widths[1], 2)
        self.to_eighth = Residual(widths[1], widths[2], 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Map pictures (n, 3, 64, 64) from -1 to 1 to maps of 32, 16 and 8 pixels."""
        half = self.to_half(nn.functional.silu(self.stem(x)))
        quarter = self.to_quarter(half)
        return half, quarter, self.to_eighth(quarter)


def picture_batch(pictures: list[np.ndarray]) -> torch.Tensor:
    """Turn uint8 pictures (h, w, 3) of any sizes into one tensor (n, 3, 64, 64) from -1 to 1, by area averaging."""
    rows = []
    for picture in pictures:
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()[None] / 127.5 - 1.0
        if x.shape[-2:] != (64, 64):
            x = nn.functional.interpolate(x, (64, 64), mode="area")
        rows.append(x)
    return torch.cat(rows)
