"""Statistics of whole pictures as embeddings: colours, and edges and textures. They tell palettes and ways of drawing apart, never who is in a picture.

Both embeddings are put together from parts of length 1, such as the square roots of a histogram's shares, whose product for two pictures is their Bhattacharyya
coefficient. So the cosine of two pictures is the mean agreement of the parts: 1 for equal statistics, 0 where nothing agrees.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from assetforge.builtin.pixel_metrics import lab, luma

if TYPE_CHECKING:
    from assetforge.api.protocols import ImageArray

__all__ = ["LabStatistics", "TextureStatistics"]

_Floats: TypeAlias = NDArray[np.float64]

_SIDE = 256
"""Pictures whose shorter side is longer are averaged down to about it: strokes and surfaces count, not the grain."""

_CENTRES, _REACH = np.array([50.0, 0.0, 0.0]), np.array([50.0, 60.0, 60.0])
_BINS = 8
_MEAN_RIGHT_ANGLE, _SPREAD_RIGHT_ANGLE = 60.0, 30.0
"""Differences in Lab units at which two means or spreads agree by 0."""

_EVEN, _EDGE = 2.0, 4.0
"""Levels per pixel up to which a surface is even, and from which on a slope has a direction worth counting."""

_STEP = 3.0
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


class LabStatistics:
    """Colours as 12 + 24 numbers, L*, a* and b* alike: mean and standard deviation as angles, and a histogram of 8 bins that flow into each other.

    L* is binned from 0 to 100, a* and b* from -60 to 60, beyond which the outermost bins take all. A quarter turn of a mean is 60 units, of a standard
    deviation 30, so that small shifts cost little: the cosine of two values is the cosine of the angle between them.
    """

    def embed(self, images: "Sequence[ImageArray]") -> NDArray[np.float32]:
        """Shape (n, 36), rows of length 1."""
        return np.stack([_joined(_colour_parts(_averaged_down(image))) for image in images])


class TextureStatistics:
    """Edges and textures of the luma as 36 numbers.

    Directions of edges over half a turn (8 bins that flow into each other, by strength), strengths of edges (8 bins, doubling from 2 levels a pixel), and local binary patterns at one
    and two pixels (10 each: uniform patterns whatever their rotation, after Ojala et al. 2002; a neighbour counts as brighter from 3 levels on, so that even
    surfaces stay even).
    """

    def embed(self, images: "Sequence[ImageArray]") -> NDArray[np.float32]:
        """Shape (n, 36), rows of length 1."""
        return np.stack([_joined(_texture_parts(luma(_averaged_down(image)))) for image in images])


def _averaged_down(image: "ImageArray") -> "ImageArray":
    factor = max(1, round(min(image.shape[:2]) / _SIDE))
    if factor == 1:
        return image
    height, width = (side // factor * factor for side in image.shape[:2])
    blocks = image[:height, :width].reshape(height // factor, factor, width // factor, factor, 3)
    # Sums of bytes in integers are several times as fast as means in floating point.
    summed = blocks.sum(axis=3, dtype=np.uint32).sum(axis=1)
    means: ImageArray = ((summed + factor * factor // 2) // (factor * factor)).astype(np.uint8)
    return means


def _joined(parts: Sequence[_Floats]) -> NDArray[np.float32]:
    vector = np.concatenate(parts)
    length = float(np.linalg.norm(vector))
    return (vector / length).astype(np.float32)


def _colour_parts(image: "ImageArray") -> list[_Floats]:
    values = lab(image).reshape(-1, 3)
    means = np.clip(values.mean(axis=0) - _CENTRES, -_REACH, _REACH) / _MEAN_RIGHT_ANGLE
    spreads = np.minimum(values.std(axis=0), 2 * _SPREAD_RIGHT_ANGLE) / _SPREAD_RIGHT_ANGLE
    angles = np.concatenate([means, spreads]) * np.pi / 2
    places = (values - _CENTRES + _REACH) / (2 * _REACH) * _BINS - 0.5
    histograms = [_histogram(np.clip(column, 0.0, _BINS - 1.0), _BINS) for column in places.T]
    return [np.cos(angles), np.sin(angles), *histograms]


def _texture_parts(values: _Floats) -> list[_Floats]:
    if min(values.shape) < 5:
        values = np.pad(values, [(0, max(0, 5 - side)) for side in values.shape], mode="edge")
    down, right = values[2:, 1:-1] - values[:-2, 1:-1], values[1:-1, 2:] - values[1:-1, :-2]
    strength = np.hypot(down, right).ravel() / 2
    edges = strength >= _EDGE
    turns = np.arctan2(down, right).ravel()[edges] / np.pi * _BINS % _BINS
    levels = np.log2(np.maximum(strength, _EVEN) / _EVEN)
    return [
        _histogram(turns, _BINS, strength[edges], around=True),
        _histogram(levels, _BINS),
        _patterns(values, 1),
        _patterns(values, 2),
    ]


def _histogram(places: _Floats, bins: int, weights: _Floats | None = None, *, around: bool = False) -> _Floats:
    """Square roots of the shares of bins; each value is divided between the two bins it lies between. All zero without values.

    Args:
        places: 0 is the middle of the first bin, bins - 1 that of the last.
        bins: How many.
        weights: Of the values.
        around: The last bin is a neighbour of the first.
    """
    low = np.floor(places).astype(np.int64)
    above = places - low
    given = np.ones_like(places) if weights is None else weights
    high = (low + 1) % bins if around else np.minimum(low + 1, bins - 1)
    low = low % bins
    counts = np.bincount(low, (1 - above) * given, bins) + np.bincount(high, above * given, bins)
    roots: _Floats = np.sqrt(counts / max(float(counts.sum()), 1e-12))
    return roots


def _patterns(values: _Floats, radius: int) -> _Floats:
    """Square roots of the shares of local binary patterns: by the number of brighter neighbours where they lie side by side, else the last."""
    height, width = values.shape
    middle = values[radius : height - radius, radius : width - radius] + _STEP
    brighter = [
        values[radius + radius * y : height - radius + radius * y, radius + radius * x : width - radius + radius * x]
        >= middle
        for y, x in _AROUND
    ]
    number = sum(one.astype(np.uint8) for one in brighter)
    changes = sum((one != brighter[place - 1]).astype(np.uint8) for place, one in enumerate(brighter))
    counts = np.bincount(np.where(changes <= 2, number, 9).ravel(), minlength=10)
    roots: _Floats = np.sqrt(counts / counts.sum())
    return roots
