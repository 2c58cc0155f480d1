"""Perceptual hash of a picture, and which pictures are nearly the same by it.

The hash is the classic 64-bit DCT hash: the luma is reduced to 32 x 32, the 8 x 8 lowest coefficients of its two-dimensional DCT-II are compared with their
median (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010). Two pictures are near when at most :data:`NEAR_BITS` bits differ.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["NEAR_BITS", "SIDE", "hamming", "near_pairs", "perceptual_hash", "signed", "unsigned"]

NEAR_BITS = 8
"""Largest Hamming distance, of 64 bits, at which two pictures count as near-duplicates."""

SIDE = 32
"""Side in pixels of the luma that is hashed."""

_KEPT = 8
_BLOCK = 4_000_000


def _dct_rows() -> NDArray[np.float64]:
    positions = np.arange(SIDE) + 0.5
    return np.cos(np.pi / SIDE * np.outer(np.arange(_KEPT), positions))


_DCT = _dct_rows()


def perceptual_hash(luma: NDArray[np.uint8]) -> int:
    """The hash of a picture as an unsigned 64-bit number.

    Args:
        luma: Shape (32, 32), the picture reduced with antialiasing.

    Raises:
        ValueError: The array has another shape.
    """
    if luma.shape != (SIDE, SIDE):
        raise ValueError(f"the luma must have the shape ({SIDE}, {SIDE}), not {luma.shape}")
    # Not a matrix product: for so few numbers, waking the threads of the linear algebra library costs more than the work.
    rows = np.einsum("ki,ij->kj", _DCT, luma.astype(np.float64))
    # Rounding takes away the noise of the transform, so that flat pictures hash alike everywhere.
    coefficients = np.round(np.einsum("kj,lj->kl", rows, _DCT), 3).ravel()
    # The median of an odd number of values is the middle one.
    middle = _KEPT * _KEPT // 2 - 1
    bits = coefficients > np.partition(coefficients[1:], middle)[middle]
    bits[0] = luma.mean() > 127.5
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def signed(value: int) -> int:
    """The same 64 bits as SQLite stores them."""
    return value - (1 << 64) if value >= 1 << 63 else value


def unsigned(value: int) -> int:
    """The reverse of :func:`signed`."""
    return value + (1 << 64) if value < 0 else value


def hamming(first: int, second: int) -> int:
    """How many of the 64 bits differ; either form of the hashes will do."""
    return ((first ^ second) & ((1 << 64) - 1)).bit_count()


def near_pairs(new: Sequence[int], known: Sequence[int], *, bits: int = NEAR_BITS) -> Iterator[tuple[int, int, int]]:
    """Pairs of near-duplicates among new pictures, and between new and known ones; known pictures are not compared with each other.

    Args:
        new: Hashes, signed or unsigned.
        known: Hashes, signed or unsigned.
        bits: Largest distance.

    Yields:
        (index into ``new``, index into ``known + new``, distance); every pair once.
    """
    if not new:
        return
    mask = (1 << 64) - 1
    everything = np.fromiter((value & mask for value in (*known, *new)), dtype=np.uint64, count=len(known) + len(new))
    offset = len(known)
    step = max(1, _BLOCK // len(everything))
    for start in range(0, len(new), step):
        block = everything[offset + start : offset + start + step]
        reach = offset + start + len(block)
        distances = np.bitwise_count(block[:, None] ^ everything[None, :reach])
        for row, column in np.argwhere(distances <= bits):
            if column < offset + start + row:
                yield int(start + row), int(column), int(distances[row, column])
