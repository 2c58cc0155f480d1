"""Pixel metrics on numpy alone. Pictures are ``uint8`` arrays of shape (height, width, 3) in sRGB."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from assetforge.api.protocols import ImageArray

__all__ = ["BlackShare", "ClippedShare", "Contrast", "LabDifference", "Sharpness", "Ssim", "lab", "luma", "ssim"]

_Floats: TypeAlias = NDArray[np.float64]

_BLACK_LUMA = 6.0
_REC601 = np.array([0.299, 0.587, 0.114])
_SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_D65 = np.array([0.95047, 1.0, 1.08883])


def luma(image: "ImageArray") -> _Floats:
    """Rec. 601 luma, shape (height, width), 0 to 255."""
    values: _Floats = image.astype(np.float64) @ _REC601
    return values


def lab(image: "ImageArray") -> _Floats:
    """CIE 1976 L*a*b* for D65, shape (height, width, 3); L* from 0 to 100 (formulas: IEC 61966-2-1 for sRGB, CIE 15 for Lab)."""
    table = np.arange(256) / 255.0
    linear = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)[image]
    ratio = (linear @ _SRGB_TO_XYZ.T) / _D65
    delta = 6 / 29
    f = np.where(ratio > delta**3, np.cbrt(ratio), ratio / (3 * delta**2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def ssim(first: "ImageArray", second: "ImageArray") -> float:
    """Mean structural similarity of luma, -1 to 1, 1 for equal pictures.

    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to structural similarity", IEEE Transactions on
    Image Processing 13(4), 2004: Gaussian window of 11 x 11 with a standard deviation of 1.5, K1 = 0.01, K2 = 0.03, L = 255, only windows that lie wholly
    inside; pictures are first averaged down by round(shorter side / 256), as the authors advise. Pictures with a side under 11 pixels get a smaller window.

    Raises:
        ValueError: The pictures differ in size.
    """
    if first.shape != second.shape:
        raise ValueError(f"SSIM needs pictures of one size, got {first.shape[1::-1]} and {second.shape[1::-1]}")
    a, b = _shrink(luma(first)), _shrink(luma(second))
    window = _gaussian(min(11, *a.shape))
    mean_a, mean_b = _filter(a, window), _filter(b, window)
    variance_a = _filter(a * a, window) - mean_a**2
    variance_b = _filter(b * b, window) - mean_b**2
    covariance = _filter(a * b, window) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    )
    return float(similarity.mean())


def _shrink(values: _Floats) -> _Floats:
    factor = max(1, round(min(values.shape) / 256))
    if factor == 1:
        return values
    height, width = (side // factor * factor for side in values.shape)
    shrunk: _Floats = (
        values[:height, :width].reshape(height // factor, factor, width // factor, factor).mean(axis=(1, 3))
    )
    return shrunk


def _gaussian(size: int) -> _Floats:
    offsets = np.arange(size) - (size - 1) / 2
    weights: _Floats = np.exp(-(offsets**2) / (2 * 1.5**2))
    normalised: _Floats = weights / weights.sum()
    return normalised


def _filter(values: _Floats, window: _Floats) -> _Floats:
    """Separable filter over windows that lie wholly inside."""
    size = len(window)
    height, width = values.shape
    rows = np.zeros((height - size + 1, width))
    for offset, weight in enumerate(window):
        rows += weight * values[offset : offset + height - size + 1]
    out = np.zeros((height - size + 1, width - size + 1))
    for offset, weight in enumerate(window):
        out += weight * rows[:, offset : offset + width - size + 1]
    return out


class BlackShare:
    """Share of nearly black pixels, 0 to 1."""

    def score(self, images: "Sequence[ImageArray]") -> Sequence[float]:
        """One share per picture."""
        return [float((luma(image) <= _BLACK_LUMA).mean()) for image in images]


class ClippedShare:
    """Share of pixels with a channel at either end of its range, 0 to 1."""

    def score(self, images: "Sequence[ImageArray]") -> Sequence[float]:
        """One share per picture."""
        return [float(((image == 0) | (image == 255)).any(axis=-1).mean()) for image in images]


class Contrast:
    """Standard deviation of L*, 0 to 50; under about 1 a picture is flat."""

    def score(self, images: "Sequence[ImageArray]") -> Sequence[float]:
        """One value per picture."""
        return [float(lab(image)[..., 0].std()) for image in images]


class Sharpness:
    """Variance of the 4-neighbour Laplacian of luma; unbounded above, comparable only between pictures of one size and scene."""

    def score(self, images: "Sequence[ImageArray]") -> Sequence[float]:
        """One value per picture; 0 for pictures under 3 x 3 pixels."""
        return [self._one(luma(image)) for image in images]

    @staticmethod
    def _one(values: _Floats) -> float:
        if min(values.shape) < 3:
            return 0.0
        laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * values[1:-1, 1:-1]
        return float(laplacian.var())


class LabDifference:
    """Mean CIE 1976 colour difference between the pixels of two pictures, 0 for equal ones; about 2.3 is just noticeable."""

    def compare(self, pairs: "Sequence[tuple[ImageArray, ImageArray]]") -> Sequence[float]:
        """One value per pair of equally sized pictures."""
        return [float(np.linalg.norm(lab(a) - lab(b), axis=-1).mean()) for a, b in pairs]


class Ssim:
    """See :func:`ssim`."""

    def compare(self, pairs: "Sequence[tuple[ImageArray, ImageArray]]") -> Sequence[float]:
        """One value per pair of equally sized pictures."""
        return [ssim(a, b) for a, b in pairs]
