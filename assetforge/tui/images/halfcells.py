"""A picture as text: in every cell an upper half block, whose own colour is the upper pixel and whose ground is the lower one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from rich.segment import Segment
from textual.strip import Strip

from assetforge.store.pixels import has_alpha, shrink, to_srgb
from assetforge.tui.images.cells import CellStrip

__all__ = ["GROUND", "Rgb", "fit_box", "flattened", "halfcell_strips", "letterboxed", "scaled"]

Rgb = tuple[int, int, int]

GROUND: Rgb = (18, 16, 16)
"""What is around a picture where nothing else is said: the ground of the dark theme."""

_SHADES = np.array(list(" ░▒▓█"))
_LUMA = np.array([0.2126, 0.7152, 0.0722])

_TINY = 128
"""Up to this longer side in pixels a picture is enlarged into hard squares: it was made pixel by pixel, and blurring it says nothing."""


def fit_box(image_size: tuple[int, int], cells: tuple[int, int], cell_aspect: float = 2.0) -> tuple[int, int]:
    """The cells that a picture takes when it fills a box as far as its shape allows.

    Args:
        image_size: Width and height in pixels, at least 1 each.
        cells: Width and height of the box, at least 1 each.
        cell_aspect: Height of a cell in widths.

    Returns:
        Width and height, 1 to those of the box.
    """
    (width, height), (columns, rows) = image_size, cells
    scale = min(columns / width, rows * cell_aspect / height)
    return max(1, min(columns, round(width * scale))), max(1, min(rows, round(height * scale / cell_aspect)))


def scaled(picture: Pillow.Image, size: tuple[int, int]) -> Pillow.Image:
    """A picture of any mode at exactly ``size`` pixels: shrunk smoothly, tiny ones enlarged into hard squares, others softly."""
    picture = shrink(picture, max(picture.size))
    if picture.size == size:
        return picture
    if size[0] < picture.width or size[1] < picture.height:
        return picture.resize(size, Pillow.Resampling.LANCZOS, reducing_gap=2.0)
    tiny = max(picture.size) <= _TINY
    return picture.resize(size, Pillow.Resampling.NEAREST if tiny else Pillow.Resampling.BICUBIC)


def flattened(picture: Pillow.Image, ground: Rgb) -> Pillow.Image:
    """A picture of any mode as 8-bit sRGB, what is transparent on ``ground``."""
    if not has_alpha(picture):
        return to_srgb(picture, b"")
    picture = shrink(picture, max(picture.size))
    if not has_alpha(picture):
        return to_srgb(picture, b"")
    layer = picture.convert("RGBA")
    flat = Pillow.new("RGB", picture.size, ground)
    flat.paste(layer, mask=layer.getchannel("A"))
    return flat


def letterboxed(picture: Pillow.Image, size: tuple[int, int], ground: Rgb, pixel_aspect: float = 1.0) -> Pillow.Image:
    """A picture of any mode whole and in the middle of exactly ``size`` pixels.

    Args:
        picture: Of at least 1 x 1 pixels.
        size: Width and height in pixels, at least 1 each.
        ground: The colour around it and behind what is transparent.
        pixel_aspect: Height of a pixel of the result in widths.
    """
    width, height = fit_box(picture.size, size, pixel_aspect)
    inner = flattened(scaled(picture, (width, height)), ground)
    if inner.size == size:
        return inner
    whole = Pillow.new("RGB", size, ground)
    whole.paste(inner, ((size[0] - width) // 2, (size[1] - height) // 2))
    return whole


def halfcell_strips(
    picture: Pillow.Image,
    width: int,
    height: int,
    *,
    ground: Rgb = GROUND,
    cell_aspect: float = 2.0,
    colours: bool = True,
) -> list[Strip]:
    """A picture of any mode in a box of cells, whole and in the middle.

    Args:
        picture: Of at least 1 x 1 pixels.
        width: Cells, at least 0.
        height: Cells, at least 0.
        ground: The colour around it and behind what is transparent.
        cell_aspect: Height of a cell in widths.
        colours: Without them the cells are shades of a light text colour on dark.

    Returns:
        ``height`` strips of ``width`` cells.
    """
    if width < 1 or height < 1:
        return [Strip([], 0)] * max(0, height)
    pixels = np.asarray(letterboxed(picture, (width, height * 2), ground, cell_aspect / 2))
    if not colours:
        return _shades(pixels)
    return [
        CellStrip(upper.tobytes() + lower.tobytes(), width)
        for upper, lower in zip(pixels[0::2], pixels[1::2], strict=True)
    ]


def _shades(pixels: NDArray[np.uint8]) -> list[Strip]:
    luma = (pixels @ _LUMA).reshape(pixels.shape[0] // 2, 2, pixels.shape[1]).mean(axis=1)
    # A row of five shades of equal width; 255 is the last of them.
    shade = np.minimum((luma * len(_SHADES) / 255).astype(int), len(_SHADES) - 1)
    rows: Sequence[str] = ["".join(row) for row in _SHADES[shade]]
    return [Strip([Segment(row)], len(row)) for row in rows]
