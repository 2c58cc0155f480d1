"""Aspect-ratio buckets: pictures of many shapes become few sizes, so that they can share a batch without being squeezed into squares.

A resolution is the side of a square; a bucket of that resolution has at most its area, sides that are multiples of a step, and an aspect ratio between
1:2 and 2:1 (the idea is NovelAI's, 2022; every trainer since has it). A picture is scaled to cover its bucket and cut at the edges. Without enlarging,
a picture goes into the buckets of every resolution it fills; one that fills none gets a bucket of its own size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Fit", "Size", "bucket_sizes", "cover", "fit", "fits"]

Size = tuple[int, int]
"""Width and height in pixels."""

_WIDEST = 2.0


@dataclass(frozen=True, slots=True)
class Fit:
    """How a picture is shown.

    Attributes:
        bucket: Width and height of what is shown.
        resized: Width and height the picture is scaled to before it is cut; covers the bucket.
        left: Pixels cut off at the left of the resized picture.
        top: Pixels cut off at its top.
        enlarged: The picture was too small and is scaled up.
    """

    bucket: Size
    resized: Size
    left: int
    top: int
    enlarged: bool

    @property
    def lost(self) -> float:
        """Share of the picture's area that is cut off, 0 to 1."""
        width, height = self.resized
        return 1.0 - (self.bucket[0] * self.bucket[1]) / (width * height)


@lru_cache(maxsize=256)
def bucket_sizes(resolution: int, step: int) -> tuple[Size, ...]:
    """All sizes of a resolution: per width the tallest of at most its area, and the same turned, sorted.

    Args:
        resolution: Side of the square with the same area, in pixels.
        step: What both sides are multiples of, in pixels.

    Raises:
        ValueError: The resolution is smaller than the step.
    """
    if resolution < step:
        raise ValueError(f"a resolution of {resolution} has no multiple of {step} pixels")
    square = resolution // step * step
    sizes = {(square, square)}
    for width in range(step, 2 * resolution + 1, step):
        height = resolution * resolution // width // step * step
        if height >= step and max(width, height) <= _WIDEST * min(width, height):
            sizes |= {(width, height), (height, width)}
    return tuple(sorted(sizes))


def fit(size: Size, resolution: int, step: int, *, enlarge: bool = False) -> Fit:
    """Where a picture goes at one resolution.

    The bucket whose aspect ratio is nearest is taken; when the picture cannot fill it and may not be enlarged, the largest bucket of the picture's
    own shape that it fills.

    Args:
        size: Width and height of the picture (of its crop, when it has one).
        resolution: Side of the square with the same area, in pixels.
        step: What both sides are multiples of, in pixels.
        enlarge: Scale small pictures up instead.
    """
    width, height = size
    aspect = width / height
    nearest = min(
        bucket_sizes(resolution, step), key=lambda bucket: (_distance(aspect, bucket), -bucket[0] * bucket[1])
    )
    if not enlarge and not _fills(size, nearest):
        own = (min(width, nearest[0]) // step * step, min(height, nearest[1]) // step * step)
        if min(own) > 0:
            nearest = own
    return cover(size, nearest)


def fits(size: Size, resolutions: Sequence[int], step: int, *, enlarge: bool = False) -> tuple[Fit, ...]:
    """Where a picture goes at several resolutions at once: in each that it fills, and at least in one; each bucket once."""
    found: dict[Size, Fit] = {}
    for resolution in sorted(resolutions):
        one = fit(size, resolution, step, enlarge=enlarge)
        full = one.bucket in bucket_sizes(resolution, step)
        if not found or (full and not one.enlarged) or enlarge:
            found.setdefault(one.bucket, one)
    return tuple(found.values())


def cover(size: Size, bucket: Size) -> Fit:
    """How a picture fills exactly that size: scaled to cover it, cut at the edges, the middle kept."""
    scale = max(bucket[0] / size[0], bucket[1] / size[1])
    resized = (max(bucket[0], round(size[0] * scale)), max(bucket[1], round(size[1] * scale)))
    return Fit(bucket, resized, (resized[0] - bucket[0]) // 2, (resized[1] - bucket[1]) // 2, scale > 1.0)


def _distance(aspect: float, bucket: Size) -> float:
    ratio = aspect * bucket[1] / bucket[0]
    return max(ratio, 1.0 / ratio)


def _fills(size: Size, bucket: Size) -> bool:
    return size[0] >= bucket[0] and size[1] >= bucket[1]
