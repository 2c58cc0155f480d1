"""What is written to terminals that show real pixels: kitty's graphics protocol with placeholders, and sixels a line of cells at a time.

Placeholders are characters of the private use area whose colour is the number of a picture and whose marks are row and column: text like any other, which keeps its
place, is covered and comes back as text does. What they are and which marks count is set down in kitty's documentation ("Unicode placeholders").

Sixels are no text: they are painted over it and gone where something is written. So every line of cells has its own, which is written whenever that line is, over
half cells that are left standing where sixels cannot be.
"""

import base64
import io
from itertools import count
from secrets import randbelow

from PIL import Image as Pillow
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from assetforge.tui.images.halfcells import Rgb

__all__ = ["MOST_PLACEHOLDERS", "free_picture", "new_number", "placeholder_strips", "send_picture", "sixel_lines"]

_PLACEHOLDER = "\U0010eeee"
_MARK_RANGES = """
305 30d-30e 310 312 33d-33f 346 34a-34c 350-352 357 35b 363-36f 483-487 592-595 597-599 59c-5a1 5a8-5a9 5ab-5ac 5af 5c4 610-617 657-65b 65d-65e 6d6-6dc 6df-6e2 6e4
6e7-6e8 6eb-6ec 730 732-733 735-736 73a 73d 73f-741 743 745 747 749-74a 7eb-7f1 7f3 816-819 81b-823 825-827 829-82d 951 953-954 f82-f83 f86-f87 135d-135f 17dd 193a
1a17 1a75-1a7c 1b6b 1b6d-1b73 1cd0-1cd2 1cda-1cdb 1ce0 1dc0-1dc1 1dc3-1dc9 1dcb-1dcc 1dd1-1de6 1dfe 20d0-20d1 20d4-20d7 20db-20dc 20e1 20e7 20e9 20f0 2cef-2cf1
2de0-2dff a66f a67c-a67d a6f0-a6f1 a8e0-a8f1 aab0 aab2-aab3 aab7-aab8 aabe-aabf aac1 fe20-fe26 10a0f 10a38 1d185-1d189 1d1aa-1d1ad 1d242-1d244
"""
"""The combining characters that mean 0, 1, 2 ... as a row or column, in hexadecimal."""


def _marks() -> str:
    marks = []
    for one in _MARK_RANGES.split():
        first, _, last = one.partition("-")
        marks += [chr(code) for code in range(int(first, 16), int(last or first, 16) + 1)]
    return "".join(marks)


_MARKS = _marks()

MOST_PLACEHOLDERS = len(_MARKS)
"""Largest width and height of a picture in cells."""

_CHUNK = 4096
_NUMBERS = 1 << 24
_FIRST = 1 << 16
# The number of a picture is the colour of its placeholders; other programs of the same terminal take numbers too, hence a start by chance.
_number = count(randbelow(_NUMBERS - _FIRST))


def new_number() -> int:
    """A number for a picture in the terminal that is not taken yet, as far as can be known; 65536 to 16777215."""
    return _FIRST + next(_number) % (_NUMBERS - _FIRST)


def send_picture(number: int, picture: Pillow.Image, columns: int, rows: int) -> str:
    """What hands a picture to the terminal, to be shown at placeholders.

    Args:
        number: From :func:`new_number`.
        picture: ``RGB``, of the shape of the cells.
        columns: Width in cells, 1 to :data:`MOST_PLACEHOLDERS`.
        rows: Height in cells, 1 to :data:`MOST_PLACEHOLDERS`.
    """
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    pieces = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    head = f"a=T,U=1,f=100,t=d,i={number},c={columns},r={rows},q=2,"
    messages = []
    for index, piece in enumerate(pieces):
        more = int(index + 1 < len(pieces))
        messages.append(f"\x1b_G{head if index == 0 else 'q=2,'}m={more};{piece}\x1b\\")
    return "".join(messages)


def free_picture(number: int) -> str:
    """What makes the terminal forget a picture."""
    return f"\x1b_Ga=d,d=I,i={number},q=2\x1b\\"


def placeholder_strips(number: int, columns: int, rows: int, ground: Rgb) -> list[Strip]:
    """The text at which the terminal shows a picture; its colours must reach the terminal unchanged.

    Args:
        number: From :func:`new_number`.
        columns: As in :func:`send_picture`.
        rows: As in :func:`send_picture`.
        ground: The colour behind it.
    """
    style = Style(color=Color.from_rgb(number >> 16, number >> 8 & 255, number & 255), bgcolor=Color.from_rgb(*ground))
    lines = []
    for row in range(rows):
        text = "".join(f"{_PLACEHOLDER}{_MARKS[row]}{_MARKS[column]}" for column in range(columns))
        lines.append(Strip([Segment(text, style)], columns))
    return lines


def sixel_lines(picture: Pillow.Image, cell_height: int) -> list[str]:
    """A picture as sixels, one sequence for each line of cells.

    Args:
        picture: ``RGB``; its height a multiple of ``cell_height``.
        cell_height: Pixels.

    Returns:
        Sequences that leave what they do not paint as it is; empty where there is no encoder.
    """
    try:
        # The packages above it ask the terminal when they are imported; this one is only arithmetic.
        from textual_image._sixel import image_to_sixels
    except ImportError:
        return []
    # One palette for the whole, so that no seams are seen between lines.
    reduced = picture.quantize(colors=256, method=Pillow.Quantize.FASTOCTREE)
    lines = []
    for top in range(0, picture.height, cell_height):
        sequence = image_to_sixels(reduced.crop((0, top, picture.width, top + cell_height)))
        lines.append(sequence.replace("\x1bP0;0;0q", "\x1bP0;1;0q", 1))
    return lines
