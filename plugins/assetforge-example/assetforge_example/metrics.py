"""A metric: compares the colours of two pictures."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["PaletteDistance"]

_BINS = 4


class PaletteDistance:
    """Fits :class:`assetforge.api.protocols.Metric` with ``kind="pair"``."""

    def compare(self, pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> list[float]:
        """One distance per pair of uint8 pictures of shape (height, width, 3); 0 same colours, 1 none in common."""
        return [float(np.abs(_histogram(one) - _histogram(other)).sum() / 2) for one, other in pairs]


def _histogram(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of the pixels in each of 64 boxes of the RGB cube; shape (64,), sums to 1."""
    boxes = picture.reshape(-1, 3).astype(np.int64) * _BINS // 256
    index = boxes @ np.array([_BINS * _BINS, _BINS, 1])
    return np.bincount(index, minlength=_BINS**3) / len(index)
