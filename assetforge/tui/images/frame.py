"""What is shown, where, and the picture made ready for that. Light, so that the screen can name it before any picture library is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from textual.strip import Strip

from assetforge.tui.images.protocol import Protocol

if TYPE_CHECKING:
    from PIL import Image as Pillow

__all__ = ["Drawing", "Frame", "Source"]


class Source(NamedTuple):
    """What is to be shown.

    Attributes:
        key: Tells it from others.
        sha256: A blob of the film, or empty.
        image: The picture itself, or ``None``.
    """

    key: str
    sha256: str = ""
    image: "Pillow.Image | None" = None


class Frame(NamedTuple):
    """Where and how.

    Attributes:
        width: Cells, at least 1.
        height: Cells, at least 1.
        ground: The colour around the picture.
        protocol: ``tgp``, ``sixel`` or ``halfcell``.
        cell_width: Pixels.
        cell_height: Pixels.
    """

    width: int
    height: int
    ground: tuple[int, int, int]
    protocol: Protocol
    cell_width: int
    cell_height: int


@dataclass(slots=True)
class Drawing:
    """A picture made ready.

    Attributes:
        frame: For what place.
        strips: As half cells, exactly as large as the frame.
        readable: False when it is a tile that says that it is not.
        placeholders: As text at which the terminal shows it, exactly as large as the frame; or nothing.
        number: What the terminal calls it; 0 where it knows nothing of it.
        message: What hands it over; emptied when that is done.
        left: The column where sixels begin.
        top: The line where they begin.
        sixels: A sequence for each line, or nothing.
    """

    frame: Frame
    strips: Sequence[Strip]
    readable: bool = True
    placeholders: Sequence[Strip] = ()
    number: int = 0
    message: str = ""
    left: int = 0
    top: int = 0
    sixels: Sequence[str] = ()
