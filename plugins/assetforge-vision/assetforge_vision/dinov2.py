"""DINOv2: what a picture shows, by self-supervised features; by default of its subject alone.

Backgrounds dominate whole-picture features (NearID, arXiv 2604.01973; CUTE, arXiv 2311.00750), so the subject is found first (:mod:`assetforge_vision.subject`), everything else
painted in the mean colour, the box around it padded to a square, and the class vector of that is the embedding. A picture without a subject that stands out is
taken whole, padded to a square likewise: every vector is a class vector, so the two kinds can be compared.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoModel

from assetforge_vision.machine import Machine
from assetforge_vision.params import Dinov2Params
from assetforge_vision.pictures import (
    IMAGENET_COLOURS,
    Floats,
    Pixels,
    as_input,
    centre_crop,
    in_batches,
    padded_square,
    short_side,
    squeezed,
    unit_rows,
)
from assetforge_vision.subject import subject_box, subject_mask
from assetforge_vision.towers import open_network
from assetforge_vision.weights import fingerprint, locate

if TYPE_CHECKING:
    from assetforge.api.context import JobContext

__all__ = ["Dinov2"]

_TYPES = ("dinov2", "dinov2_with_registers")
_NEUTRAL = tuple(round(255 * value) for value in IMAGENET_COLOURS.mean)
_LONGEST = 3
"""A picture is looked at up to so many times as long as wide; beyond, it is squeezed."""


class Dinov2:
    """The metric ``dinov2``."""

    def __init__(self, params: Dinov2Params | None = None, context: "JobContext | None" = None) -> None:
        self.params = params or Dinov2Params()
        self._machine = Machine(self.params, context)

    def fingerprint(self) -> str:
        """What tells its weights from others."""
        return fingerprint("dinov2", self.params.weights)

    @cached_property
    def folder(self) -> Path:
        """Where the model lies."""
        return locate("dinov2", self.params.weights)["config.json"].parent

    @cached_property
    def network(self) -> Any:
        """The model."""
        return self._machine.place(open_network(self.folder, AutoModel, _TYPES))

    def embed(self, images: Sequence[Pixels]) -> Floats:
        """One unit vector per picture."""
        if self.params.subject:
            shown = [padded_square(image, _NEUTRAL) for image in self.subjects(images)]
            inputs = [as_input(squeezed(image, self._side, self._side), IMAGENET_COLOURS) for image in shown]
        else:
            # As it was trained and as figures for DINO are made: resized to 256 for a crop of 224.
            resized = [short_side(image, self._side * 8 // 7) for image in images]
            inputs = [as_input(centre_crop(image, self._side), IMAGENET_COLOURS) for image in resized]
        rows = in_batches(inputs, self.params.batch_size, self._machine.runner(lambda batch: self._tokens(batch)[:, 0]))
        return unit_rows(rows, int(self.network.config.hidden_size))

    def subjects(self, images: Sequence[Pixels]) -> list[Pixels]:
        """The subject of every picture, cut out and with everything else in the mean colour; the whole picture where none stands out."""
        inputs = [as_input(squeezed(image, *self._grid_size(image)), IMAGENET_COLOURS) for image in images]
        skipped = 1 + int(getattr(self.network.config, "num_register_tokens", 0))
        run = self._machine.runner(lambda batch: self._tokens(batch)[:, skipped:])
        patches = in_batches(inputs, self.params.batch_size, run)
        return [
            self._cut_out(image, one.reshape(shown.shape[1] // self._patch, shown.shape[2] // self._patch, -1))
            for image, shown, one in zip(images, inputs, patches, strict=True)
        ]

    def _cut_out(self, image: Pixels, patches: Floats) -> Pixels:
        mask = subject_mask(patches)
        if mask is None:
            return image
        pixels, box = subject_box(mask, *image.shape[:2])
        return np.where(pixels[..., None], image, np.asarray(_NEUTRAL, dtype=np.uint8))[box]

    def _tokens(self, batch: torch.Tensor) -> torch.Tensor:
        tokens: torch.Tensor = self.network(pixel_values=batch).last_hidden_state
        return tokens

    def _grid_size(self, image: Pixels) -> tuple[int, int]:
        """Width and height of whole patches, in about the picture's own proportions."""
        height, width = image.shape[:2]
        scale = self._side / min(height, width)
        most = _LONGEST * self._side // self._patch
        across, down = (min(most, max(1, round(side * scale / self._patch))) for side in (width, height))
        return across * self._patch, down * self._patch

    @property
    def _patch(self) -> int:
        return int(self.network.config.patch_size)

    @property
    def _side(self) -> int:
        return max(1, self.params.side // self._patch) * self._patch
