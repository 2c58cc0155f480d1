"""Where everything of the comparison screen goes, so that the pictures come out as large as the terminal allows."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Arrangement", "arrange", "picture_cells"]

NARROW = 100
"""Below so many cells the list of cells gives way to one line."""

_LOW = 26
"""Below so many lines the figures give way."""

_GAP = 2
_CAPTION = 1
_WORDS = 3
"""Lines below the pictures: prompt, seed, strengths."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What is shown where.

    Attributes:
        left: Cells of the list; 0 shows one line instead.
        aside: Where the figures stand.
        aside_size: Their width at the side, their height below; 0 when they are hidden.
        words: Lines below the pictures.
        stage: Cells and lines for the pictures.
    """

    left: int
    aside: Literal["side", "below", "none"]
    aside_size: int
    words: int
    stage: tuple[int, int]


def picture_cells(
    picture: tuple[int, int], room: tuple[int, int], count: int, cell_aspect: float = 2.0
) -> tuple[int, int]:
    """Cells of one of several equal pictures beside each other, without its line of text.

    Args:
        picture: Its width and height in pixels.
        room: Cells and lines for all of them.
        count: How many, at least 1.
        cell_aspect: Height of a cell in widths.
    """
    columns = max(1, (room[0] - _GAP * (count - 1)) // count)
    lines = max(1, room[1] - _CAPTION)
    scale = min(columns / picture[0], lines * cell_aspect / picture[1])
    return max(1, min(columns, round(picture[0] * scale))), max(1, min(lines, round(picture[1] * scale / cell_aspect)))


def arrange(
    width: int,
    height: int,
    picture: tuple[int, int],
    *,
    bars: int,
    cell_aspect: float = 2.0,
    whole: bool = False,
) -> Arrangement:
    """The arrangement in which two pictures become largest: figures at the side or below.

    Args:
        width: Cells for everything.
        height: Lines for everything.
        picture: Width and height of the pictures in pixels.
        bars: Lines that the figures need when they stand below.
        cell_aspect: Height of a cell in widths.
        whole: One picture takes all the room: the figures are hidden.
    """
    if width < NARROW or height < _LOW:
        left = 0 if width < NARROW else 27
        words = 0 if left == 0 else 2
        return Arrangement(
            left, "none", 0, words, (width - left - (1 if left else 0), height - words - (0 if left else 1))
        )
    left = 38 if width >= 160 else 30 if width >= 130 else 28
    room = width - left - _GAP
    if whole:
        return Arrangement(left, "none", 0, 2, (room, height - 2))
    side = 40 if width >= 160 else 30
    below = min(max(6, bars), max(6, height // 4))
    beside = Arrangement(left, "side", side, _WORDS, (room - side - _GAP, height - _WORDS))
    under = Arrangement(left, "below", below, _WORDS, (room, height - _WORDS - below - 1))
    areas = []
    for one in (beside, under):
        cells = picture_cells(picture, one.stage, 2, cell_aspect)
        areas.append(cells[0] * cells[1])
    return beside if areas[0] >= areas[1] else under
