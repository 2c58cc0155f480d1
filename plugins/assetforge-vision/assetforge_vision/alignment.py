"""Faces as a recognition network of the ArcFace kind wants them: 112 pixels a side, with eyes, nose and mouth in their places."""

import numpy as np
from numpy.typing import NDArray

from assetforge_vision.pictures import Floats, Pixels

__all__ = ["PLACES", "SIDE", "aligned", "similarity"]

SIDE = 112

PLACES = np.asarray(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float64,
)
"""Where ArcFace was trained to find left eye, right eye, nose, and the corners of the mouth."""


def similarity(points: NDArray[np.floating], places: NDArray[np.floating] = PLACES) -> NDArray[np.float64] | None:
    """The turn, scale and shift that bring points nearest to places, by least squares: shape (2, 3); ``None`` when all points are one.

    As complex numbers, with both sides centred, the best factor is the sum of conj(point) * place over the sum of squared lengths of the points.
    """
    given = points[:, 0].astype(np.float64) + 1j * points[:, 1].astype(np.float64)
    wanted = places[:, 0].astype(np.float64) + 1j * places[:, 1].astype(np.float64)
    centred = given - given.mean()
    size = float((np.abs(centred) ** 2).sum())
    if size <= 1e-9:
        return None
    factor = complex((np.conj(centred) * (wanted - wanted.mean())).sum() / size)
    shift = complex(wanted.mean() - factor * given.mean())
    return np.asarray(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]], dtype=np.float64
    )


def aligned(picture: Pixels, points: Floats) -> Pixels | None:
    """The face in its place, shape (112, 112, 3), black where the picture ends; ``None`` when the points say nothing."""
    forward = similarity(points)
    if forward is None or abs(np.linalg.det(forward[:, :2])) <= 1e-12:
        return None
    back = np.linalg.inv(forward[:, :2])
    y, x = np.mgrid[:SIDE, :SIDE]
    there = np.stack([x, y], axis=-1) - forward[:, 2]
    return _sampled(picture, there @ back.T)


def _sampled(picture: Pixels, places: NDArray[np.float64]) -> Pixels:
    """Bilinear values at places (..., x and y); outside is black."""
    height, width = picture.shape[:2]
    corner = np.floor(places).astype(np.int64)
    share = places - corner
    total = np.zeros((*places.shape[:-1], 3), dtype=np.float64)
    for down in (0, 1):
        for across in (0, 1):
            x, y = corner[..., 0] + across, corner[..., 1] + down
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            weight = (share[..., 0] if across else 1 - share[..., 0]) * (share[..., 1] if down else 1 - share[..., 1])
            values = picture[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
            total += values * (weight * inside)[..., None]
    return np.rint(total).clip(0, 255).astype(np.uint8)
