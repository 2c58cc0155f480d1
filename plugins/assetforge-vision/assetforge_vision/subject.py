"""Where the subject of a picture is, from features of its patches alone.

DINOv2 (Oquab et al. 2023, arXiv 2304.07193, section 7.4) found that the first principal component of patch features tells foreground from background by its sign. A
component has no sign of its own; here the side that keeps away from the edge of the picture is the subject. There is no subject when the patches hardly differ, when
neither side keeps away from the edge, or when the side that does is next to nothing or next to everything.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["subject_box", "subject_mask"]

_FEWEST, _MOST = 0.02, 0.9
"""Shares of the picture that a subject may fill."""

_FLAT = 1e-3
"""Below this share of their mean square length, differences between patches are noise."""

_DISTINCT = 0.1
"""Share of the patches' differences that the first component must explain."""


def subject_mask(patches: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Which patches show the subject.

    Args:
        patches: Features, shape (rows, columns, d).

    Returns:
        Shape (rows, columns); ``None`` when no subject stands out.
    """
    rows, columns, width = patches.shape
    features = patches.reshape(-1, width).astype(np.float64)
    centred = features - features.mean(axis=0)
    spread, size = float((centred**2).mean()), float((features**2).mean())
    if min(rows, columns) < 3 or spread <= _FLAT * size:
        return None
    left, strengths, _ = np.linalg.svd(centred, full_matrices=False)
    if strengths[0] ** 2 < _DISTINCT * (strengths**2).sum():
        return None
    side = (left[:, 0] > 0).reshape(rows, columns)
    edge = np.ones((rows, columns), dtype=bool)
    edge[1:-1, 1:-1] = False
    share = float(side[edge].mean())
    if share == 0.5:
        return None
    mask = side if share < 0.5 else ~side
    inside = float(mask[~edge].mean())
    if inside <= float(mask[edge].mean()) or not _FEWEST <= float(mask.mean()) <= _MOST:
        return None
    found: NDArray[np.bool_] = mask
    return found


def subject_box(mask: NDArray[np.bool_], height: int, width: int) -> tuple[NDArray[np.bool_], tuple[slice, slice]]:
    """The subject in pixels: a mask of the picture, grown by one patch so that outlines stay whole, and the box around it.

    Args:
        mask: Patches of the subject, at least one.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
    """
    grown = np.pad(mask, 1)
    rows, columns = mask.shape
    grown = np.any([grown[y : y + rows, x : x + columns] for y in range(3) for x in range(3)], axis=0)
    pixels = grown[np.arange(height) * rows // height][:, np.arange(width) * columns // width]
    there_y, there_x = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return pixels, (slice(int(there_y[0]), int(there_y[-1]) + 1), slice(int(there_x[0]), int(there_x[-1]) + 1))
