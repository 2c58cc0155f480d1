"""Verdicts as pictures made of text: an interval per metric on an axis with no change and the margin marked, and what every prompt gained or lost.

Places on an axis are given in percent of its width, as the report's plots give them, so that both draw the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from assetforge.tui.widgets.fitting import fitted

__all__ = ["Bar", "IntervalBars", "LikenessLine", "Mark", "PromptBars", "bar_line"]

_LOOKS = {
    "pass": ("●", "$success"),
    "clear": ("●", "$success"),
    "regressed": ("▲", "$error"),
    "veto": ("▲", "$error"),
    "inconclusive": ("◐", "$warning"),
    "suspect": ("◐", "$warning"),
    "open": ("◐", "$secondary"),
}
"""Glyph and colour of what a metric or a guard rail says."""

_WIDE = 58
"""From so many cells on, title, bar and figures stand on one line."""

_DIM = "$dim"
_MARGIN = "−margin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A metric or a guard rail, with where it lies and its figures as text.

    Attributes:
        title: What was measured.
        says: What it says, in one word.
        at: Place of the effect, 0 to 100; ``None`` when it was not measured.
        low: Place of the lower end of its interval.
        high: Place of the upper end.
        beyond_left: The interval goes on to the left of the axis.
        beyond_right: And to the right.
        bounded: It has a margin, which lies at the edge.
        value: The effect.
        interval: The interval.
        margin: The largest loss that is tolerated.
    """

    title: str
    says: str
    at: float | None = None
    low: float | None = None
    high: float | None = None
    beyond_left: bool = False
    beyond_right: bool = False
    bounded: bool = True
    value: str = ""
    interval: str = ""
    margin: str = ""


def _look(says: str) -> tuple[str, str]:
    return _LOOKS.get(says, ("○", _DIM))


def _cell(place: float, width: int) -> int:
    return min(width - 1, max(0, round(place / 100 * (width - 1))))


def bar_line(bar: Bar, width: int, zero: float = 50.0, edge: float | None = None) -> Content:
    """``├──●──┤`` in exactly so many cells, with ``│`` at no change and ``┊`` at the margin.

    Args:
        bar: What is drawn.
        width: Cells, from 1.
        zero: Place of no change, 0 to 100.
        edge: Place of the margin; ``None`` for none.
    """
    cells: list[tuple[str, str]] = [(" ", "")] * width
    middle = _cell(zero, width)
    cells[middle] = ("│", _DIM)
    if edge is not None and bar.bounded:
        cells[_cell(edge, width)] = ("┊", "$error")
    style = _look(bar.says)[1]
    if bar.at is not None:
        if bar.low is not None and bar.high is not None:
            first, last = _cell(bar.low, width), _cell(bar.high, width)
            for at in range(first, last + 1):
                cells[at] = ("┼" if at == middle else "─", style)
            cells[first] = ("◀" if bar.beyond_left else "├", style)
            cells[last] = ("▶" if bar.beyond_right else "┤", style)
        cells[_cell(bar.at, width)] = ("●", f"bold {style}")
    return Content.assemble(*cells)


class IntervalBars(Widget):
    """One row a metric: name, interval, figures. Two lines each where it is narrow; what does not fit is counted, never silently left out."""

    DEFAULT_CSS = """
    IntervalBars { height: auto; }
    """

    ALLOW_SELECT = False

    def __init__(self, *, most: int = 0, id: str | None = None) -> None:
        """Shows nothing yet.

        Args:
            most: Lines at most; 0 for as many as there are.
            id: As of every widget.
        """
        super().__init__(id=id)
        self._bars: tuple[Bar, ...] = ()
        self._edge: float | None = None
        self._most = most
        self._missing: tuple[str, ...] = ()

    def show(self, bars: Sequence[Bar], edge: float | None = None, missing: Sequence[str] = ()) -> None:
        """Show these.

        Args:
            bars: In their order, the one that decides first.
            edge: Place of the margin, 0 to 100.
            missing: What was not measured.
        """
        self._bars, self._edge, self._missing = tuple(bars), edge, tuple(missing)
        self.refresh(layout=True)

    def limit(self, most: int) -> None:
        """Use at most so many lines; 0 for as many as there are."""
        if most != self._most:
            self._most = most
            self.refresh(layout=True)

    def lines(self, width: int) -> list[Content]:
        """What is shown at a width in cells."""
        if width < 1 or not (self._bars or self._missing):
            return []
        each = self._wide_line if width >= _WIDE else self._narrow_lines
        rows = [each(bar, width) for bar in self._bars]
        axis = [self._axis(width)] if self._bars else []
        missing = (
            [Content.styled(fitted(f"not measured: {', '.join(self._missing)}", width), _DIM)] if self._missing else []
        )
        room = self._most - len(axis) - len(missing) if self._most else 0
        shown: list[Content] = []
        for number, row in enumerate(rows):
            left = len(rows) - number
            if self._most and len(shown) + len(row) + (1 if left > 1 else 0) > room and left > 0 and shown:
                shown.append(Content.styled(fitted(f"… {left} more", width), _DIM))
                break
            shown += row
        return [*shown, *axis, *missing]

    def _wide_line(self, bar: Bar, width: int) -> list[Content]:
        glyph, style = _look(bar.says)
        title, bar_width, figures = _wide_columns(width)
        if bar.at is None:
            # Without a bar the name has its room too.
            name = fitted(bar.title, title + 1 + bar_width)
            return [Content.assemble((f"{glyph} ", style), name, " ", fitted(bar.says, figures, "right"))]
        value = f"{bar.value:>7} {bar.interval:>18}"
        return [
            Content.assemble(
                (f"{glyph} ", style),
                fitted(bar.title, title),
                " ",
                bar_line(bar, bar_width, edge=self._edge),
                " ",
                (fitted(value, figures, "right"), ""),
            )
        ]

    def _narrow_lines(self, bar: Bar, width: int) -> list[Content]:
        glyph, style = _look(bar.says)
        value = bar.value if bar.at is not None else bar.says
        title = max(1, width - 3 - len(value))
        head = Content.assemble((f"{glyph} ", style), fitted(bar.title, title), " ", (value, "bold"))
        return [head, bar_line(bar, width, edge=self._edge)] if bar.at is not None else [head]

    def _axis(self, width: int) -> Content:
        """Where no change and the margin are: the name of the margin ends below its mark, in the room of the titles where it has to."""
        indent, wide = (0, width) if width < _WIDE else (_wide_columns(width)[0] + 3, _wide_columns(width)[1])
        cells = [" "] * width
        cells[indent + _cell(50.0, wide)] = "0"
        if self._edge is not None:
            last = indent + _cell(self._edge, wide)
            first = max(0, last - len(_MARGIN) + 1)
            cells[first : last + 1] = _MARGIN[len(_MARGIN) - 1 - (last - first) :]
        return Content.styled("".join(cells), _DIM)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """As many lines as there are."""
        return len(self.lines(width))

    def render(self) -> Content:
        """All of them."""
        return Content("\n").join(self.lines(self.size.width))


def _wide_columns(width: int) -> tuple[int, int, int]:
    """Title, bar and figures of a line."""
    figures = 26
    title = min(30, max(14, (width - figures) * 5 // 9))
    return title, max(8, width - figures - title - 4), figures


@dataclass(frozen=True, slots=True)
class Mark:
    """A place on a line from the bare base to the references.

    Attributes:
        name: What lies there.
        at: 0 to 100.
        value: As text.
        style: A theme token.
    """

    name: str
    at: float
    value: str
    style: str = ""


class LikenessLine(Widget):
    """How far a version is on the way from the bare base to the references themselves."""

    DEFAULT_CSS = """
    LikenessLine { height: auto; }
    """

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None) -> None:
        """Shows nothing yet."""
        super().__init__(id=id)
        self._marks: tuple[Mark, ...] = ()

    def show(self, marks: Sequence[Mark]) -> None:
        """Show these."""
        self._marks = tuple(marks)
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """The line, then one for each mark."""
        return len(self._marks) + 1 if self._marks else 0

    def render(self) -> Content:
        """The line, then the marks with their figures."""
        width = self.size.width
        if not self._marks or width < 1:
            return Content("")
        cells: list[tuple[str, str]] = [("─", _DIM)] * width
        for mark in self._marks:
            cells[_cell(mark.at, width)] = ("●", mark.style)
        rows = [Content.assemble(*cells)]
        for mark in self._marks:
            name = fitted(mark.name, max(1, width - len(mark.value) - 3))
            rows.append(Content.assemble(("● ", mark.style), name, " ", (mark.value, _DIM)))
        return Content("\n").join(rows)


class PromptBars(Widget):
    """What each prompt gained or lost, the worst first: a column a prompt, up for better and down for worse, ``▁`` to ``█``."""

    DEFAULT_CSS = """
    PromptBars { height: 4; }
    """

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None) -> None:
        """Shows nothing yet."""
        super().__init__(id=id)
        self._changes: tuple[float, ...] = ()
        self._margin = 0.0

    def show(self, changes: Sequence[float], margin: float = 0.0) -> None:
        """Show these, in any order.

        Args:
            changes: Mean change of each prompt.
            margin: Losses beyond it are told apart; 0 for none.
        """
        self._changes, self._margin = tuple(sorted(changes)), margin
        self.refresh()

    def render(self) -> Content:
        """Half of the lines above no change, half below."""
        width, height = self.size
        if not self._changes or width < 1 or height < 1:
            return Content("")
        values = _columns(self._changes, width)
        up, down = (
            (height, 0) if values[0] >= 0 else (0, height) if values[-1] <= 0 else (height - height // 2, height // 2)
        )
        reach = max(abs(values[0]), abs(values[-1])) or 1.0
        tallest = max(up, down)
        above = [
            Content.assemble(*(_part(value / reach * tallest - row, "$success") for value in values))
            for row in range(up - 1, -1, -1)
        ]
        below = [
            Content.assemble(*(_part_below(-value / reach * tallest - row, self._loss(value)) for value in values))
            for row in range(down)
        ]
        return Content("\n").join([*above, *below])

    def _loss(self, value: float) -> str:
        """The colour of a loss: beyond the margin or not."""
        return "$error" if self._margin and value < -self._margin else "$warning"


def _columns(changes: Sequence[float], width: int) -> list[float]:
    """A column a prompt; where there are more prompts than columns each column shows its worst."""
    if len(changes) <= width:
        wide = width // len(changes) if len(changes) * 2 <= width else 1
        return [value for value in changes for _ in range(min(wide, 3))]
    return [changes[at * len(changes) // width] for at in range(width)]


def _part(filled: float, style: str) -> tuple[str, str]:
    """The part of a column in one line, which grows from the ground of the line; 1 fills it."""
    eighths = round(min(1.0, max(0.0, filled)) * 8)
    return (" ▁▂▃▄▅▆▇█"[eighths], style)


def _part_below(filled: float, style: str) -> tuple[str, str]:
    """The same, growing from its ceiling."""
    eighths = round(min(1.0, max(0.0, filled)) * 8)
    return (" ", "") if not eighths else (" ▁▂▃▄▅▆▇█"[8 - eighths], f"reverse {style}")
