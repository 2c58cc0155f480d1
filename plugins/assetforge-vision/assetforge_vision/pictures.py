"""Pictures on their way into a network: sizes as torchvision and Pillow make them, colours as the network saw them in training, batches of one size."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = [
    "CLIP_COLOURS",
    "HALF_COLOURS",
    "IMAGENET_COLOURS",
    "Colours",
    "Floats",
    "Pixels",
    "as_input",
    "centre_crop",
    "in_batches",
    "padded_square",
    "short_side",
    "squeezed",
    "unit_rows",
]

Pixels: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Colours:
    """What is taken from red, green and blue between 0 and 1, and what the rest is divided by."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


CLIP_COLOURS = Colours((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET_COLOURS = Colours((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF_COLOURS = Colours((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR


def short_side(picture: Pixels, side: int, resampling: Image.Resampling = BICUBIC) -> Pixels:
    """The picture with its shorter side at ``side``; the longer one is rounded down, as torchvision does."""
    height, width = picture.shape[:2]
    shorter = min(height, width)
    return _resized(picture, side * width // shorter, side * height // shorter, resampling)


def squeezed(picture: Pixels, width: int, height: int, resampling: Image.Resampling = BICUBIC) -> Pixels:
    """The picture at exactly that size, whatever its proportions were."""
    return _resized(picture, width, height, resampling)


def centre_crop(picture: Pixels, side: int) -> Pixels:
    """The square in the middle of a picture that is at least that large."""
    height, width = picture.shape[:2]
    top, left = (height - side) // 2, (width - side) // 2
    return picture[top : top + side, left : left + side]


def padded_square(picture: Pixels, fill: Sequence[int]) -> Pixels:
    """The whole picture in the middle of a square of the colour ``fill``."""
    height, width = picture.shape[:2]
    side = max(height, width)
    square = np.empty((side, side, 3), dtype=np.uint8)
    square[:] = fill
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    return square


def as_input(picture: Pixels, colours: Colours) -> Floats:
    """The picture as a network takes it: shape (3, height, width), normalised."""
    mean, std = np.asarray(colours.mean, np.float32), np.asarray(colours.std, np.float32)
    values = (picture.astype(np.float32) / np.float32(255.0) - mean) / std
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def in_batches(inputs: Sequence[Floats], size: int, run: Callable[[Floats], Floats]) -> list[Floats]:
    """One result per input, in order; inputs of one shape are computed together, at most ``size`` at once."""
    results: list[Floats | None] = [None] * len(inputs)
    for places in _batches(inputs, size):
        for place, result in zip(places, run(np.stack([inputs[place] for place in places])), strict=True):
            results[place] = result
    return [result for result in results if result is not None]


def unit_rows(rows: Sequence[Floats], width: int) -> Floats:
    """Vectors at length 1, shape (n, d); one of length 0 stays, and says that there was nothing to measure.

    Args:
        rows: The vectors.
        width: Their dimension, for the case that there are none.
    """
    if not rows:
        return np.zeros((0, width), dtype=np.float32)
    table = np.stack(rows).astype(np.float64)
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    return (table / np.where(lengths == 0.0, 1.0, lengths)).astype(np.float32)


def _batches(inputs: Sequence[Floats], size: int) -> Iterator[list[int]]:
    shapes: dict[tuple[int, ...], list[int]] = {}
    for place, one in enumerate(inputs):
        shapes.setdefault(one.shape, []).append(place)
    for places in shapes.values():
        for start in range(0, len(places), size):
            yield places[start : start + size]


def _resized(picture: Pixels, width: int, height: int, resampling: Image.Resampling) -> Pixels:
    if (height, width) == picture.shape[:2]:
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), resampling))
