"""Copies of training pictures by perceptual hash."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from assetforge.domain.phash import SIDE, perceptual_hash

if TYPE_CHECKING:
    from assetforge.api.protocols import ImageArray

__all__ = ["PhashCopy"]


class PhashCopy:
    """The 64 bits of :mod:`assetforge.domain.phash` as +1/8 and -1/8: vectors of length 1, whose cosine is 1 - 2 * distance / 64."""

    def embed(self, images: "Sequence[ImageArray]") -> NDArray[np.float32]:
        """Shape (n, 64)."""
        hashes = np.array([self._hash(image) for image in images], dtype=">u8")
        bits = np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1).astype(np.float32)
        return (bits * 2 - 1) / np.float32(8)

    @staticmethod
    def _hash(image: "ImageArray") -> int:
        from PIL import Image

        # The same reduction as where references are looked at.
        tiny = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
        return perceptual_hash(np.asarray(tiny))
