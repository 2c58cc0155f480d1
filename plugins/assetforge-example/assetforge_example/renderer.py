"""A renderer: loads a base once, swaps LoRAs, renders cells."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assetforge.api import JobContext
from assetforge.api.job import BaseRef, Cell, LoraRef, RenderSettings
from assetforge_example import __version__
from assetforge_example.model import INPUTS, NOISE_INPUTS, PIXELS, Floats, inputs_of, load_base, load_lora, to_picture

__all__ = ["LinearRenderer"]


class LinearRenderer:
    """Fits :class:`assetforge.api.protocols.Renderer`."""

    def __init__(self) -> None:
        self._base: Floats = np.zeros((PIXELS, INPUTS))
        self._worn: Floats = self._base
        self._workdir = Path()
        self._size = (0, 0)

    def open(self, base: BaseRef, settings: RenderSettings, context: JobContext) -> Mapping[str, Any]:
        """Load the base model; return the engine record: whatever changes pixels."""
        self._base = self._worn = load_base(context.base_path(base))
        self._workdir = context.workdir
        self._size = (settings.width, settings.height)
        return {
            "renderer": "example-linear",
            "assetforge-example": __version__,
            "numpy": np.__version__,
            "base": base.digest,
            "size": [settings.width, settings.height],
            "device": "cpu",
            "dtype": "float64",
        }

    def use(self, loras: Sequence[tuple[LoraRef, float]]) -> None:
        """Wear exactly these LoRAs; nothing, or strength 0, is the bare base bit for bit."""
        worn = self._base
        for lora, strength in loras:
            if strength:
                worn = worn + load_lora(self._workdir / lora.file).matrix(strength)
        self._worn = worn

    def render(self, cells: Sequence[Cell]) -> Iterator[NDArray[np.uint8]]:
        """One picture per cell; each has its own seed, so that nothing depends on its neighbours."""
        for cell in cells:
            noise = np.random.default_rng(cell.seed).standard_normal(NOISE_INPUTS)
            yield to_picture(0.5 + self._worn @ inputs_of(cell.prompt, noise), *self._size)

    def close(self) -> None:
        """Free what ``open`` took."""
        self._base = self._worn = np.zeros((PIXELS, INPUTS))
