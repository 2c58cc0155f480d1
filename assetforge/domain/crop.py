"""The part of a picture that is trained on, written as ``left,top,right,bottom`` in pixels of the upright picture."""

import re

from assetforge.errors import UsageError

__all__ = ["Box", "checked_crop", "parse_crop"]

Box = tuple[int, int, int, int]
"""Left, top, right, bottom; the right column and the bottom row are the first ones outside."""

_CROP = re.compile(r"\s*(-?\d{1,9})\s*,\s*(-?\d{1,9})\s*,\s*(-?\d{1,9})\s*,\s*(-?\d{1,9})\s*", re.ASCII)
_NONE = "none"


def parse_crop(text: str) -> Box | None:
    """The box that a stored crop says; ``None`` for an empty one, which is the whole picture.

    Raises:
        UsageError: It is not four numbers.
    """
    if not text:
        return None
    match = _CROP.fullmatch(text)
    if not match:
        raise UsageError(
            f"{text!r} is not a crop.",
            hint="Write it as LEFT,TOP,RIGHT,BOTTOM in pixels, such as 0,40,640,680, or none for the whole picture.",
        )
    left, top, right, bottom = (int(number) for number in match.groups())
    return left, top, right, bottom


def checked_crop(text: str, *, width: int, height: int, of: str) -> str:
    """A crop as it is stored: empty when it leaves nothing away, so that equal training material has one form.

    Args:
        text: ``left,top,right,bottom``; empty or ``none`` is the whole picture.
        width: Pixels of the upright picture.
        height: Pixels of the upright picture.
        of: Address of the picture, for the message.

    Raises:
        UsageError: It is not four numbers, reaches beyond the picture, or holds no pixel.
    """
    box = parse_crop("" if text.strip().lower() == _NONE else text)
    if box is None or box == (0, 0, width, height):
        return ""
    left, top, right, bottom = box
    shown = ",".join(str(edge) for edge in box)
    if left < 0 or top < 0 or right > width or bottom > height:
        raise UsageError(
            f"The crop {shown} reaches beyond {of}, which is {width}x{height} pixels.",
            hint=f"All edges lie from 0,0 to {width},{height}, counted in the upright picture.",
        )
    if right <= left or bottom <= top:
        raise UsageError(
            f"The crop {shown} of {of} holds no pixel.", hint="RIGHT is greater than LEFT, and BOTTOM than TOP."
        )
    return shown
