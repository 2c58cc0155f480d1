"""Curves over the steps of a run in braille dots: a band of what was measured, its smoothed line, dotted what was validated; few dim labels, no frame.

Our own, since plotext 6.1 takes 120 ms for 2,000 points and has one figure for the whole program, while this has to be redrawn four times a second.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from assetforge.tui.widgets.fitting import fitted
from assetforge.tui.words import number

__all__ = ["RunChart", "figure", "smoothed"]

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille cell by line and column of its dots."""

_BLANK = 0x2800
_BAND, _DOTTED, _LINE = "run-chart--band", "run-chart--dotted", "run-chart--line"
_OUTLIERS = 0.02
"""Share of the measured values at either end that may lie outside: one spike must not flatten the curve."""

_SMOOTH_SHARE = 40
_DASH = 3
_LEAST_DRAWN = 8
_LABEL_GAP = 2
_TALL_TICKS = 4


class _Range(NamedTuple):
    """Values that the lowest and the highest dot stand for."""

    low: float
    high: float

    def dots(self, values: Sequence[float], dots: int) -> list[int]:
        """The lines of dots of values, from the top; outside of the chart for those that are outside of the range."""
        high, factor = self.high, (dots - 1) / (self.high - self.low)
        return [round((high - value) * factor) for value in values]


class RunChart(Widget):
    """A chart of one figure.

    Args:
        title: What the figure is, for the line above.
        smooth: Whether a smoothed line is drawn over what was measured; otherwise what was measured is the line.
        from_zero: The scale begins at zero.
        empty: What is said before the first value.
    """

    DEFAULT_CSS = """
    RunChart {
        width: 1fr; height: 1fr; background: $background; color: $foreground;
        & > .run-chart--title { text-style: bold; }
        & > .run-chart--label { color: $dim; }
        & > .run-chart--band { color: $scrollbar-hover; }
        & > .run-chart--line { color: $primary; }
        & > .run-chart--dotted { color: $secondary; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"run-chart--title", "run-chart--label", _BAND, _DOTTED, _LINE}
    ALLOW_SELECT = False

    def __init__(
        self, title: str, *, smooth: bool = True, from_zero: bool = False, empty: str = "", id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.title = title
        self._smooth, self._from_zero, self._empty = smooth, from_zero, empty
        self._steps: Sequence[int] = ()
        self._values: Sequence[float] = ()
        self._line: Sequence[float] = ()
        self._other: tuple[Sequence[int], Sequence[float]] = ((), ())
        self._other_title, self._total = "", 0
        self._last: float | None = None
        self._drawn: list[Strip] = []
        self._styles: dict[str, Style] = {}

    def show(
        self,
        steps: Sequence[int],
        values: Sequence[float],
        *,
        last: float | None = None,
        total: int = 0,
        dotted: tuple[Sequence[int], Sequence[float]] = ((), ()),
        dotted_title: str = "",
    ) -> None:
        """Show a curve.

        Args:
            steps: Where, ascending.
            values: What; as many, all finite.
            last: The newest value, for the line above; by default the last one.
            total: Steps there will be; 0 while that is unknown.
            dotted: A second curve, in steps and values.
            dotted_title: What that one is.
        """
        self._steps, self._values, self._total = steps, values, total
        self._other, self._other_title = dotted, dotted_title
        self._last = last if last is not None else values[-1] if values else None
        self._line = smoothed(values) if self._smooth else values
        self._redraw()

    @property
    def has_nothing(self) -> bool:
        """Whether there is nothing to draw."""
        return not self._values and not self._other[1]

    def _redraw(self) -> None:
        self._drawn = []
        self.refresh()

    def on_resize(self) -> None:
        """Draw it as large as there is room."""
        self._redraw()

    def notify_style_update(self) -> None:
        """Another theme: draw it in its colours."""
        super().notify_style_update()
        self._drawn, self._styles = [], {}

    def render_line(self, y: int) -> Strip:
        """A line of it."""
        if not self._drawn:
            self._drawn = self._draw()
        return self._drawn[y] if y < len(self._drawn) else Strip.blank(self.size.width, self._ground())

    # drawing

    def _ground(self, component: str = "") -> Style:
        """The style of a part; looked up once, since that costs more than drawing."""
        if component not in self._styles:
            self._styles[component] = self._mixed(component)
        return self._styles[component]

    def _mixed(self, component: str) -> Style:
        ground = Style(bgcolor=self.background_colors[1].rich_color, color=self.rich_style.color)
        return ground + self.get_component_rich_style(component, partial=True) if component else ground

    def _draw(self) -> list[Strip]:
        width, height = self.size
        if width < 1 or height < 1:
            return []
        if self.has_nothing or width < _LEAST_DRAWN:
            return self._nothing(width, height)
        lines = [self._head(width)] if height > 1 else []
        foot = height >= _TALL_TICKS + 1
        rows = height - len(lines) - foot
        if rows < 1:
            return lines
        scale = self._scale()
        labels = _ticks(scale, rows)
        left = max((len(text) for text in labels.values()), default=0) + _LABEL_GAP - 1
        if left > width // 2:
            labels, left = {}, 1
        first, last = self._span()
        cells = self._cells(width - left, rows, scale, first, last)
        label = self._ground("run-chart--label")
        styles = {name: self._ground(name) for name in ("", _BAND, _DOTTED, _LINE)}
        for row in range(rows):
            text = labels.get(row, "")
            lines.append(
                Strip([Segment(text.rjust(left - 1) + " ", label), *self._segments(cells[row], styles)], width)
            )
        if foot:
            lines.append(Strip([Segment(" " * left + _foot(first, last, width - left), label)], width))
        return lines

    def _nothing(self, width: int, height: int) -> list[Strip]:
        label, ground = self._ground("run-chart--label"), self._ground()
        lines = [Strip.blank(width, ground)] * height
        if self._empty:
            lines[(height - 1) // 2] = Strip([Segment(fitted(self._empty, width, "center"), label)], width)
        return lines

    def _head(self, width: int) -> Strip:
        """Title and newest value; the second curve in its own colour."""
        label = self._ground("run-chart--label")
        parts = [Segment(self.title, self._ground("run-chart--title"))]
        if self._last is not None:
            parts.append(Segment(f"  {figure(self._last)}", self._ground()))
        if self._other[1]:
            parts.append(Segment(f"   {self._other_title} ", label))
            parts.append(Segment("· · · ", self._ground(_DOTTED)))
            parts.append(Segment(figure(self._other[1][-1]), self._ground()))
        used = sum(part.cell_length for part in parts)
        return Strip([*parts, Segment(" " * max(0, width - used), label)]).crop(0, width)

    def _span(self) -> tuple[int, int]:
        """First and last step of the axis: what is still to come has room too, but never more than half of it."""
        known = [*self._steps[:1], *self._other[0][:1]]
        now = max([*self._steps[-1:], *self._other[0][-1:]])
        last = max(now, self._total)
        while last // 2 > now:
            last //= 2
        first = min(known)
        return (0 if first < last / 4 else first), max(last, first + 1)

    def _scale(self) -> _Range:
        inside = sorted(self._values)
        cut = int(len(inside) * _OUTLIERS)
        # The smoothed line begins at the first value, which is often the worst by far; it may leave the chart there.
        after = self._line[len(self._line) // _SMOOTH_SHARE :]
        seen = [*inside[cut : len(inside) - cut], *after, *self._other[1]]
        low, high = min(seen), max(seen)
        if self._from_zero:
            low = min(low, 0.0)
        if high - low <= abs(high) * 1e-9:
            half = abs(high) * 0.1 or 1.0
            return _Range(low - half, high + half)
        spare = (high - low) * 0.04
        return _Range(low if self._from_zero else low - spare, high + spare)

    def _cells(self, width: int, rows: int, scale: _Range, first: int, last: int) -> list[list[tuple[int, str]]]:
        """Dots and colour of every cell. A finer curve covers a coarser one: dots of both in one cell would be neither."""
        dots, factor = rows * 4, (width * 2 - 1) / (last - first)
        places = [round((step - first) * factor) for step in self._steps]
        others = [round((step - first) * factor) for step in self._other[0]]
        layers: list[tuple[str, dict[tuple[int, int], int]]] = []
        if self._smooth:
            layers.append((_BAND, _band(places, scale.dots(self._values, dots), dots)))
        path = _path(others, scale.dots(self._other[1], dots))
        measured = set(others)
        layers.append((_DOTTED, _marks([(x, y) for x, y in path if x % _DASH == 0 or x in measured], dots)))
        layers.append((_LINE, _marks(_path(places, scale.dots(self._line, dots)), dots)))
        cells = [[(0, "")] * width for _ in range(rows)]
        for name, marks in layers:
            for (row, at), bits in marks.items():
                cells[row][at] = (bits, name)
        return cells

    def _segments(self, cells: Iterable[tuple[int, str]], styles: Mapping[str, Style]) -> list[Segment]:
        parts: list[Segment] = []
        run, before = "", ""
        for bits, name in cells:
            if name != before and run:
                parts.append(Segment(run, styles[before]))
                run = ""
            before = name
            run += chr(_BLANK + bits) if bits else " "
        return [*parts, Segment(run, styles[before])]


def smoothed(values: Sequence[float]) -> list[float]:
    """A moving average that forgets slower the more values there are, and begins without a bias to the first; few are left as they are."""
    keep = 1 - 1 / max(1.0, len(values) / _SMOOTH_SHARE)
    average, weight, found = 0.0, 0.0, []
    for value in values:
        average = average * keep + value * (1 - keep)
        weight = weight * keep + (1 - keep)
        found.append(average / weight)
    return found


def figure(value: float) -> str:
    """A figure in about four characters: ``0.0812``, ``1.5e-3``, ``12.4``."""
    size = abs(value)
    if size and (size < 0.01 or size >= 100_000):
        factor, _, power = f"{value:.1e}".partition("e")
        return f"{factor.removesuffix('.0')}e{int(power)}".replace("-", "−")
    digits = 4 if size < 1 else 3 if size < 10 else 1 if size < 1000 else 0
    return f"{value:.{digits}f}".replace("-", "−")


def _band(places: Sequence[int], values: Sequence[int], dots: int) -> dict[tuple[int, int], int]:
    """From the lowest to the highest value of every column."""
    lows: dict[int, int] = {}
    highs: dict[int, int] = {}
    for x, y in zip(places, values, strict=True):
        if y < lows.get(x, dots):
            lows[x] = y
        if y > highs.get(x, -1):
            highs[x] = y
    found: dict[tuple[int, int], int] = {}
    for x, highest in highs.items():
        low, high = max(0, lows.get(x, dots)), min(dots - 1, highest)
        bits = [line[x % 2] for line in _DOTS]
        for row in range(low // 4, high // 4 + 1):
            part = sum(bits[max(0, low - row * 4) : high - row * 4 + 1])
            if part:
                cell = (row, x // 2)
                found[cell] = found.get(cell, 0) | part
    return found


def _path(places: Sequence[int], values: Sequence[int]) -> list[tuple[int, int]]:
    """A line without gaps through the mean of every column."""
    sums: dict[int, tuple[int, int]] = {}
    for x, y in zip(places, values, strict=True):
        total, count = sums.get(x, (0, 0))
        sums[x] = (total + y, count + 1)
    points = [(x, total / count) for x, (total, count) in sums.items()]
    found: list[tuple[int, int]] = []
    for (left, high), (right, low) in pairwise(points):
        before = round(high)
        for at in range(left, right):
            now = round(high + (low - high) * (at + 1 - left) / (right - left))
            rows = range(before, now) if now > before else range(before, now, -1)
            found += [(at, row) for row in rows or (before,)]
            before = now
    if points:
        found.append((points[-1][0], round(points[-1][1])))
    return found


def _marks(points: Iterable[tuple[int, int]], dots: int) -> dict[tuple[int, int], int]:
    """Bits by row and column of the cell."""
    found: dict[tuple[int, int], int] = {}
    for x, y in points:
        if 0 <= y < dots:
            cell = (y // 4, x // 2)
            found[cell] = found.get(cell, 0) | _DOTS[y % 4][x % 2]
    return found


def _nice(span: float, most: int) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that divides a span into at most so many parts."""
    rough = span / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= rough * (1 - 1e-9))


def _ticks(scale: _Range, rows: int) -> dict[int, str]:
    """Labels by row."""
    span = scale.high - scale.low
    step = _nice(span, 2 if rows < _TALL_TICKS * 2 else 4)
    found: dict[int, str] = {}
    value = math.ceil(scale.low / step) * step
    while value <= scale.high:
        row = scale.dots([value], rows * 4)[0] // 4
        if row not in found:
            found[row] = _label(value, step)
        value += step
    return found


def _label(value: float, step: float) -> str:
    if abs(value) < step / 2:
        return "0"
    if step < 0.001 or abs(value) >= 100_000:
        return figure(value)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{digits}f}".replace("-", "−")


def _foot(first: int, last: int, width: int) -> str:
    """Labels of steps below the chart, at round numbers and no nearer than they can be read."""
    step = max(1, int(_nice(last - first, max(1, width // 12))))
    marks = list(range(-(-first // step) * step, last + 1, step))
    line = [" "] * width
    free = 0
    for at in marks:
        place = round((at - first) / (last - first) * (width - 1))
        text = number(at) + (" steps" if at == marks[0] else "")
        begin = max(0, min(place - (len(text) - 1 if place > width * 0.9 else len(number(at)) // 2), width - len(text)))
        if begin >= free and begin + len(text) <= width:
            line[begin : begin + len(text)] = text
            free = begin + len(text) + _LABEL_GAP
    return "".join(line)
