"""Lines of a terminal that cost little to keep: half cells as pixels and escapes instead of hundreds of styled segments, and lines put together without taking them apart."""

from collections.abc import Iterable, Iterator, Sequence

from rich.color import Color, ColorType
from rich.color_triplet import ColorTriplet
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.color import Color as Ground
from textual.filter import ANSIToTruecolor, LineFilter
from textual.strip import Strip

from assetforge.tui.letting_go import FORGETS

__all__ = ["CellStrip", "JoinedStrip", "LightStrip", "joined"]

_UPPER_HALF = "▀"
_RESET = "\x1b[0m"


class LightStrip(Strip):
    """A line that keeps what it was rendered to and nothing else.

    Textual's has seven caches of its own, each an object that every garbage collection looks at, and lists have hundreds of lines.
    """

    __slots__ = ()

    _divide_cache = _crop_cache = _style_cache = _filter_cache = FORGETS
    _line_length_cache = _crop_extend_cache = _offsets_cache = FORGETS

    def __init__(
        self, segments: Iterable[Segment], cell_length: int
    ) -> None:  # not Textual's: that one makes the caches
        """Takes what is in the line.

        Args:
            segments: The parts, in order.
            cell_length: How many cells they take.
        """
        self._segments = list(segments)
        self._begin(cell_length)

    def _begin(self, cell_length: int) -> None:
        self._cell_length = cell_length
        self._render_cache = None
        self._link_ids = None
        self._cell_count = None

    def apply_filter(self, filter: LineFilter, background: Ground) -> Strip:  # noqa: A002 - Textual's signature
        """The line as a filter leaves it.

        Args:
            filter: Of the program.
            background: What lies under the line.
        """
        return LightStrip(filter.apply(self._segments, background), self.cell_length)


class CellStrip(LightStrip):
    """A line of half cells, as pixels: a photograph has a style of its own in nearly every cell, and a segment with one takes a thousand bytes.

    Segments are made when they are asked for, and not kept.
    """

    __slots__ = ("_pixels",)

    def __init__(self, pixels: bytes, width: int) -> None:
        """Takes the colours.

        Args:
            pixels: Red, green and blue of the upper pixels, then of the lower ones.
            width: Cells; ``len(pixels)`` is six times that.
        """
        self._pixels = pixels
        self._begin(width)

    def _runs(self) -> Iterator[tuple[bytes, bytes, int]]:
        """Upper colour, lower colour and length of neighbours that are alike."""
        pixels, half = self._pixels, len(self._pixels) // 2
        before, length = (pixels[:3], pixels[half : half + 3]), 0
        for at in range(0, half, 3):
            now = pixels[at : at + 3], pixels[half + at : half + at + 3]
            if now == before:
                length += 1
            else:
                yield *before, length
                before, length = now, 1
        if length:
            yield *before, length

    @property
    def _segments(self) -> list[Segment]:  # type: ignore[override]
        return [
            Segment(" " * length, Style.from_color(None, _colour(lower)))
            if upper == lower
            else Segment(_UPPER_HALF * length, Style.from_color(_colour(upper), _colour(lower)))
            for upper, lower, length in self._runs()
        ]

    def render(self, console: Console) -> str:
        """As escapes; said again only where a colour changes.

        Args:
            console: The program's.
        """
        if self._render_cache is None and console.color_system in ("truecolor", None):
            self._render_cache = self._escapes()
        return super().render(console)

    def _escapes(self) -> str:
        parts, ink, ground = [], b"", b""
        for upper, lower, length in self._runs():
            codes = []
            if upper not in (lower, ink):
                ink = upper
                codes.append("38;2;{};{};{}".format(*upper))
            if lower != ground:
                ground = lower
                codes.append("48;2;{};{};{}".format(*lower))
            if codes:
                parts.append(f"\x1b[{';'.join(codes)}m")
            parts.append((" " if upper == lower else _UPPER_HALF) * length)
        return "".join((*parts, _RESET)) if parts else ""

    def apply_filter(self, filter: LineFilter, background: Ground) -> Strip:  # noqa: A002 - Textual's signature
        """The line as a filter leaves it; one that makes true colours has nothing to do here.

        Args:
            filter: Of the program.
            background: What lies under the line.
        """
        return self if isinstance(filter, ANSIToTruecolor) else super().apply_filter(filter, background)


class JoinedStrip(LightStrip):
    """A line of other lines, which stay what they are."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[Strip], cell_length: int) -> None:
        """Takes the lines.

        Args:
            parts: In order.
            cell_length: How many cells they take together.
        """
        self._parts = parts
        self._begin(cell_length)

    @property
    def _segments(self) -> list[Segment]:  # type: ignore[override]
        return [segment for part in self._parts for segment in part]

    def render(self, console: Console) -> str:
        """As escapes; the parts keep theirs.

        Args:
            console: The program's.
        """
        return "".join(part.render(console) for part in self._parts)

    def apply_filter(self, filter: LineFilter, background: Ground) -> Strip:  # noqa: A002 - Textual's signature
        """The line as a filter leaves it.

        Args:
            filter: Of the program.
            background: What lies under the line.
        """
        return JoinedStrip([part.apply_filter(filter, background) for part in self._parts], self.cell_length)


def joined(parts: Sequence[Segment | Strip], width: int) -> Strip:
    """One line; parts that are lines themselves stay whole.

    Args:
        parts: In order.
        width: How many cells they take together.
    """
    runs: list[Strip | list[Segment]] = []
    for part in parts:
        if isinstance(part, Strip):
            runs.append(part)
        elif runs and isinstance(runs[-1], list):
            runs[-1].append(part)
        else:
            runs.append([part])
    if len(runs) == 1 and isinstance(runs[0], list):
        return LightStrip(runs[0], width)
    lines = [run if isinstance(run, Strip) else LightStrip(run, Segment.get_line_length(run)) for run in runs]
    return JoinedStrip(lines, width)


def _colour(rgb: bytes) -> Color:
    # Without the name in hexadecimal, which costs more than all the rest.
    return Color("", ColorType.TRUECOLOR, None, ColorTriplet(*rgb))
