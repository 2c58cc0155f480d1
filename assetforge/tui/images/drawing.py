"""A picture made ready for one place on the screen, in whatever way the terminal shows it; all of the work that may be done in a thread."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image as Pillow
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from assetforge.errors import AssetForgeError
from assetforge.tui.images.escapes import (
    MOST_PLACEHOLDERS,
    new_number,
    placeholder_strips,
    send_picture,
    sixel_lines,
)
from assetforge.tui.images.frame import Drawing, Frame, Source
from assetforge.tui.images.halfcells import Rgb, fit_box, flattened, halfcell_strips, letterboxed
from assetforge.tui.images.thumbnails import broken_strips

if TYPE_CHECKING:
    from assetforge.tui.images.thumbnails import Thumbnails

__all__ = ["draw"]

_MOST_PIXELS = 1_500_000
"""A picture of more is handed over smaller and enlarged by the terminal, where it can: nobody waits for pixels that are not seen."""

_MOST_SIXELS = 3_000_000
"""A place of more pixels gets half cells: sixels cannot be enlarged, and so many take seconds."""

_ERRORS = (AssetForgeError, OSError, ValueError, SyntaxError, MemoryError)


def draw(source: Source, frame: Frame, pictures: "Thumbnails | None") -> Drawing:
    """Make a picture ready; one that cannot be read becomes a tile that says so. Blocks while it is read and encoded.

    Args:
        source: What.
        frame: Where.
        pictures: Where blobs are loaded from.
    """
    try:
        picture = _picture(source, frame, pictures)
        if picture is None:
            return Drawing(frame, broken_strips(frame.width, frame.height, frame.ground), readable=False)
        return _drawn(picture, frame)
    except _ERRORS:
        # A picture that was handed over opened but not decoded shows only now that it is damaged.
        return Drawing(frame, broken_strips(frame.width, frame.height, frame.ground), readable=False)


def _picture(source: Source, frame: Frame, pictures: "Thumbnails | None") -> Pillow.Image | None:
    if source.image is not None:
        source.image.load()
        return source.image
    if pictures is None:
        return None
    if frame.protocol == "halfcell":
        return pictures.load(source.sha256, max(frame.width, frame.height * 2) * 2)
    return pictures.load(source.sha256, max(frame.width * frame.cell_width, frame.height * frame.cell_height))


def _drawn(picture: Pillow.Image, frame: Frame) -> Drawing:
    aspect = frame.cell_height / frame.cell_width
    box = frame.width, frame.height
    drawing = Drawing(frame, halfcell_strips(picture, *box, ground=frame.ground, cell_aspect=aspect))
    if frame.protocol == "halfcell":
        return drawing
    columns, rows = fit_box(picture.size, box, aspect)
    left, top = (frame.width - columns) // 2, (frame.height - rows) // 2
    size = columns * frame.cell_width, rows * frame.cell_height
    if frame.protocol == "tgp" and max(columns, rows) <= MOST_PLACEHOLDERS:
        shrink = min(1.0, (_MOST_PIXELS / (size[0] * size[1])) ** 0.5)
        smaller = max(1, int(size[0] * shrink)), max(1, int(size[1] * shrink))
        drawing.number = new_number()
        real = letterboxed(flattened(picture, frame.ground), smaller, frame.ground)
        drawing.message = send_picture(drawing.number, real, columns, rows)
        drawing.placeholders = _in_frame(
            placeholder_strips(drawing.number, columns, rows, frame.ground), left, top, frame
        )
    elif frame.protocol == "sixel" and size[0] * size[1] <= _MOST_SIXELS:
        drawing.left, drawing.top = left, top
        drawing.sixels = sixel_lines(letterboxed(picture, size, frame.ground), frame.cell_height)
    return drawing


def _in_frame(strips: Sequence[Strip], left: int, top: int, frame: Frame) -> list[Strip]:
    style = Style(bgcolor=_colour(frame.ground))
    blank = Strip.blank(frame.width, style)
    right = frame.width - left - strips[0].cell_length
    sides = [[Segment(" " * width, style)] if width else [] for width in (left, right)]
    lines = [Strip([*sides[0], *strip, *sides[1]], frame.width) for strip in strips]
    return [blank] * top + lines + [blank] * (frame.height - top - len(lines))


def _colour(rgb: Rgb) -> Color:
    return Color.from_rgb(*rgb)
