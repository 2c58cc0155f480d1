"""SCRFD (Guo et al. 2021, arXiv 2105.04714): from the numbers of the detector to faces. Pure arithmetic.

The network looks at a square at three strides. At every place of every stride stand two anchors; for each it gives a score, the distances of the four sides of a box
and the offsets of five points (eyes, nose, corners of the mouth), all in units of the stride.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assetforge_vision.pictures import BILINEAR, Colours, Floats, Pixels, as_input, squeezed

__all__ = ["Face", "anchors", "decode", "largest_face", "letterboxed", "suppress"]

STRIDES = (8, 16, 32)
_ANCHORS = 2
_POINTS = 5
_OVERLAP = 0.4
_COLOURS = Colours((0.5, 0.5, 0.5), (128 / 255, 128 / 255, 128 / 255))
"""(value - 127.5) / 128."""


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face that was found.

    Attributes:
        score: How sure the detector is, 0 to 1.
        box: Left, top, right, bottom in pixels of the picture.
        points: Left eye, right eye, nose, left and right corner of the mouth as the picture shows them; shape (5, 2), x and y.
    """

    score: float
    box: Floats
    points: Floats

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        left, top, right, bottom = (float(value) for value in self.box)
        return max(0.0, right - left) * max(0.0, bottom - top)


def letterboxed(picture: Pixels, side: int) -> tuple[Floats, float]:
    """The picture in the upper left corner of a black square as the detector takes it, shape (3, side, side), and the scale it has there."""
    height, width = picture.shape[:2]
    if height > width:
        new_height, new_width = side, max(1, int(side * width / height))
    else:
        new_height, new_width = max(1, int(side * height / width)), side
    square = np.zeros((side, side, 3), dtype=np.uint8)
    square[:new_height, :new_width] = squeezed(picture, new_width, new_height, BILINEAR)
    return as_input(square, _COLOURS), side / max(height, width)


def anchors(side: int, stride: int) -> Floats:
    """Where the anchors of a stride stand, row by row, each place twice: shape (2 * (side / stride)^2, 2), x and y."""
    count = side // stride
    y, x = np.mgrid[:count, :count]
    places = np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32) * stride
    return np.repeat(places, _ANCHORS, axis=0)


def decode(outputs: Sequence[Floats], side: int, min_confidence: float) -> list[Face]:
    """The faces of one picture, surest first, in pixels of the square.

    Args:
        outputs: What the network gave, in its order: scores, boxes and points, for each the strides 8, 16, 32. With or without a first dimension of 1.
        side: Of the square.
        min_confidence: Faces below it are left out.

    Raises:
        ValueError: The outputs are not those of SCRFD with points.
    """
    kinds = {
        width: [one.reshape(-1, width) for one in outputs if one.shape[-1] == width] for width in (1, 4, 2 * _POINTS)
    }
    expected = [_ANCHORS * (side // stride) ** 2 for stride in STRIDES]
    if any([len(one) for one in group] != expected for group in kinds.values()):
        raise ValueError("these are not the outputs of SCRFD with five points")
    faces = []
    for stride, scores, boxes, points in zip(STRIDES, kinds[1], kinds[4], kinds[2 * _POINTS], strict=True):
        places = anchors(side, stride)
        for index in np.flatnonzero(scores[:, 0] >= min_confidence):
            place, (left, top, right, bottom) = places[index], boxes[index] * stride
            box = np.asarray([place[0] - left, place[1] - top, place[0] + right, place[1] + bottom], dtype=np.float32)
            faces.append(Face(float(scores[index, 0]), box, place + points[index].reshape(_POINTS, 2) * stride))
    return suppress(faces)


def suppress(faces: Sequence[Face], overlap: float = _OVERLAP) -> list[Face]:
    """The faces without those that share more than ``overlap`` of their common area with a surer one; surest first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda one: -one.score):
        if all(_shared(face.box, other.box) <= overlap for other in kept):
            kept.append(face)
    return kept


def largest_face(faces: Sequence[Face], scale: float) -> Face | None:
    """The face with the largest box, in pixels of the picture; ``None`` when there is none.

    Args:
        faces: In pixels of the square.
        scale: Of the picture in the square.
    """
    if not faces:
        return None
    face = max(faces, key=lambda one: one.area)
    return Face(face.score, face.box / np.float32(scale), face.points / np.float32(scale))


def _shared(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Intersection over union, with pixels counted from edge to edge as the detector was trained."""
    left, top = np.maximum(first[:2], second[:2])
    right, bottom = np.minimum(first[2:], second[2:])
    common = max(0.0, float(right - left) + 1.0) * max(0.0, float(bottom - top) + 1.0)
    areas = [float(box[2] - box[0] + 1.0) * float(box[3] - box[1] + 1.0) for box in (first, second)]
    return common / (sum(areas) - common)
