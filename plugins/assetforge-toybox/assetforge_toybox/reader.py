"""Reads the attributes of a scene back from a picture, independently of the model that drew it.

Subject, place, style and position come from a small classifier trained on drawn pictures only. The main colour is read
from the pixels: the classifier says where the coloured part of the subject is, and the hue found there is compared
with the hues of the world's colours.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from assetforge_toybox.backbone import Trunk, picture_batch
from assetforge_toybox.locate import DATA
from assetforge_toybox.places import PLACES
from assetforge_toybox.styles import STYLES
from assetforge_toybox.subjects import SUBJECTS
from assetforge_toybox.world import COLOURS, POSITIONS

WEIGHTS = DATA / "reader.safetensors"
ATTRIBUTES: dict[str, list[str]] = {
    "subject": list(SUBJECTS),
    "place": list(PLACES),
    "style": list(STYLES),
    "position": list(POSITIONS),
}
BATCH = 50
PALE = 0.12
"""Saturation below which a pixel has no hue worth counting."""


@dataclass(frozen=True)
class Reading:
    """What a picture shows; `colour` is None where no coloured part was found."""

    subject: str
    colour: str | None
    place: str
    style: str
    position: str


class ReaderNetwork(nn.Module):
    """A trunk with one classifier per attribute and a map of the subject's coloured part."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk((24, 48, 96))
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(96 * 16, 64), nn.SiLU(), nn.Linear(64, len(values)))
                for name, values in ATTRIBUTES.items()
            }
        )
        self.coarse = nn.Conv2d(96, 32, 1)
        self.middle = nn.Conv2d(48, 32, 1)
        self.fine = nn.Conv2d(24, 32, 1)
        self.join = nn.Conv2d(32, 32, 3, 1, 1)
        self.mask = nn.Conv2d(32, 1, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Map pictures (n, 3, 64, 64) to logits per attribute and mask logits (n, 32, 32)."""
        half, quarter, eighth = self.trunk(x)
        flat = nn.functional.adaptive_avg_pool2d(eighth, 4).flatten(1)
        up = nn.functional.interpolate(self.coarse(eighth), scale_factor=2.0) + self.middle(quarter)
        up = nn.functional.interpolate(nn.functional.silu(up), scale_factor=2.0) + self.fine(half)
        mask = self.mask(nn.functional.silu(self.join(nn.functional.silu(up))))
        return {name: head(flat) for name, head in self.heads.items()}, mask[:, 0]


def nearest_colour(pixels: np.ndarray) -> str | None:
    """Name the world's colour nearest in hue to pixels (n, 3) uint8, each counting by its saturation."""
    hues = {name: colorsys.rgb_to_hsv(*(c / 255 for c in rgb))[0] for name, rgb in COLOURS.items()}
    votes = dict.fromkeys(hues, 0.0)
    for red, green, blue in pixels / 255.0:
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        if saturation < PALE or value < 0.15:
            continue
        distance = {name: abs((hue - own + 0.5) % 1.0 - 0.5) for name, own in hues.items()}
        votes[min(distance, key=lambda name: distance[name])] += saturation * value
    best = max(votes, key=lambda name: votes[name])
    return best if votes[best] > 0 else None


class Reader:
    """Reads attributes with the shipped weights."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        self._network = ReaderNetwork()
        self._network.load_state_dict({name: t.float() for name, t in load_file(weights).items()})
        self._network.eval()

    @torch.no_grad()
    def read(self, images: list[np.ndarray]) -> list[Reading]:
        """Read uint8 pictures (64, 64, 3)."""
        readings = []
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            logits, masks = self._network(picture_batch(part))
            sure = nn.functional.interpolate(masks.sigmoid()[:, None], (64, 64), mode="bilinear")[:, 0].numpy()
            for index, picture in enumerate(part):
                named = {name: values[int(logits[name][index].argmax())] for name, values in ATTRIBUTES.items()}
                level = min(0.7, float(sure[index].max()) * 0.9)
                readings.append(Reading(colour=nearest_colour(picture[sure[index] >= level]), **named))
        return readings
