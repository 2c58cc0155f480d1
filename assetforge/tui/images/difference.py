"""Where two pictures differ, as a third one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from assetforge.tui.images.halfcells import GROUND, Rgb, flattened

__all__ = ["Difference", "blended", "difference_map"]

_AMBER: Rgb = (230, 162, 60)
_WHITE: Rgb = (255, 250, 240)
_AMBER_AT = 0.6
"""Where on the way from no difference to the largest the ramp is amber; white is kept for the largest."""

_MOST_GAIN = 16.0
"""Differences are not made larger than this, so that two pictures that differ by rounding alone do not look different."""

_SHOWN = 99.5
"""Percentile of the differences that is shown as the largest; a few single pixels do not make the rest invisible."""

_CHROMA = 0.5


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two pictures differ.

    Attributes:
        picture: As large as the first; dark where they are equal, then amber, then white.
        gain: How much the differences were enlarged, 1 to 16; 1 where there are none.
        mean: Mean difference, 0 to 1, before the gain.
        changed: Share of the pixels that differ by more than 2 of 255, 0 to 1.
    """

    picture: Pillow.Image
    gain: float
    mean: float
    changed: float


def difference_map(a: Pillow.Image, b: Pillow.Image, *, ground: Rgb = GROUND) -> Difference:
    """The absolute difference of two pictures in brightness and colour.

    Args:
        a: Of any mode; the result is as large.
        b: Of any mode; scaled to the size of ``a`` where it differs.
        ground: What equal places look like, and what both stand on where they are transparent; dark also in a light theme, since the ramp ends in white.
    """
    first, second = _pair(a, b, ground)
    apart = np.abs(_luma_chroma(first) - _luma_chroma(second))
    amount = np.minimum(apart[..., 0] + _CHROMA * (apart[..., 1] + apart[..., 2]), 255.0) / 255.0
    top = float(np.percentile(amount, _SHOWN)) or float(amount.max())
    gain = min(_MOST_GAIN, max(1.0, 1.0 / top)) if top > 0 else 1.0
    levels = np.clip(amount * gain * 255.0 + 0.5, 0, 255).astype(np.uint8)
    picture = Pillow.fromarray(_ramp(ground)[levels])
    return Difference(picture, gain, float(amount.mean()), float((amount > 2 / 255).mean()))


def blended(a: Pillow.Image, b: Pillow.Image, share: float = 0.5, *, ground: Rgb = GROUND) -> Pillow.Image:
    """One picture laid over the other.

    Args:
        a: Of any mode; the result is as large.
        b: Of any mode; scaled to the size of ``a`` where it differs.
        share: How much of ``b``, 0 to 1.
        ground: What both stand on where they are transparent.
    """
    return Pillow.blend(*_pair(a, b, ground), min(1.0, max(0.0, share)))


def _pair(a: Pillow.Image, b: Pillow.Image, ground: Rgb) -> tuple[Pillow.Image, Pillow.Image]:
    first, second = flattened(a, ground), flattened(b, ground)
    if second.size != first.size:
        second = second.resize(first.size, Pillow.Resampling.LANCZOS)
    return first, second


def _luma_chroma(picture: Pillow.Image) -> NDArray[np.float32]:
    return np.asarray(picture.convert("YCbCr")).astype(np.float32)


def _ramp(ground: Rgb) -> NDArray[np.uint8]:
    """256 colours from ``ground`` over amber to white."""
    at = np.linspace(0.0, 1.0, 256)
    stops = (0.0, _AMBER_AT, 1.0)
    channels = [np.interp(at, stops, values) for values in zip(ground, _AMBER, _WHITE, strict=True)]
    return np.stack(channels, axis=1).round().astype(np.uint8)
