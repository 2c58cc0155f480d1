"""A table of any length: one line per item, columns that give way when it is narrow, a header that asks for another order."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.style import Style

from assetforge.tui.widgets.fitting import Line
from assetforge.tui.widgets.items import CURSOR_GLYPH, MARK_GLYPH, VirtualItems

__all__ = ["Column", "VirtualTable"]

T = TypeVar("T")

# The cursor's glyph, the mark's glyph, a space.
_GUTTER = 3
# Blank cells between columns, and at least after the last.
_GAP = 2
_RIGHT = 1
# A column without a width that has so many cells leaves some of the rest to the gaps, so that the eye finds the way across.
_ROOMY = 48
_WIDER = 4
# What a column without a width needs at least when it does not say so itself.
_LEAST = 8


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        key: Its name in messages and in ``sort``.
        title: What the header says; the arrow of the order takes two more cells.
        width: Cells; 0 takes what is left, shared by all columns with 0.
        align: Where its text stands.
        sortable: Whether one can ask for an order by it.
        minimum: Cells down to which it shrinks before columns are left out; 0 for its width.
        priority: Columns with the highest number are left out first when the table is too narrow; among equals the one furthest right.
    """

    key: str
    title: str
    width: int
    align: Literal["left", "right"] = "left"
    sortable: bool = True
    minimum: int = 0
    priority: int = 0

    @property
    def least(self) -> int:
        """Cells that it cannot do without."""
        return self.minimum or self.width or _LEAST


class _Place(NamedTuple):
    """A column that fits: which one, its cells, and the blank cells after it, which after the last reach the end of the line."""

    column: int
    cells: int
    gap: int


def _placed(columns: Sequence[Column], width: int) -> list[_Place]:
    """The columns that fit."""
    room = max(1, width - _GUTTER - _RIGHT)
    shown = list(range(len(columns)))

    def needed() -> int:
        return sum(columns[index].least for index in shown) + _GAP * (len(shown) - 1)

    while len(shown) > 1 and needed() > room:
        shown.remove(max(shown, key=lambda index: (columns[index].priority, index)))
    spare = room - needed()
    cells = {index: columns[index].least for index in shown}
    if spare < 0:
        # One column is left, and even that does not fit.
        return [_Place(shown[0], room, _RIGHT)]
    for index in shown:
        more = min(spare, max(0, columns[index].width - cells[index]))
        cells[index] += more
        spare -= more
    stretching = [index for index in shown if not columns[index].width]
    ample = spare - sum(max(0, _ROOMY - cells[index]) for index in stretching)
    wider = min(_WIDER, max(0, ample) // max(1, len(shown) - 1)) if stretching else 0
    spare -= wider * (len(shown) - 1)
    for place, index in enumerate(stretching):
        cells[index] += spare // len(stretching) + (place < spare % len(stretching))
    gap = _GAP + wider
    last = max(_RIGHT, width - _GUTTER - sum(cells.values()) - gap * (len(shown) - 1))
    return [_Place(index, cells[index], last if index == shown[-1] else gap) for index in shown]


class VirtualTable(VirtualItems[T]):
    """A table over an item source.

    Attributes:
        sort: Key of the column by which the items are in order, and whether descending; shown in the header. The owner sets it after it has sorted.
    """

    DEFAULT_CSS = """
    VirtualTable {
        & > .virtual-table--header { color: $text-muted; }
        & > .virtual-table--sorted { color: $foreground; text-style: bold; }
    }
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"virtual-table--header", "virtual-table--sorted"}

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort_next", "Sort", show=False, id="list.sort"),
        Binding("S", "sort_back", "Reverse", show=False, id="list.reverse"),
    ]

    sort: reactive[tuple[str, bool]] = reactive(("", False))

    class SortRequested(Message):
        """Somebody wants another order.

        Attributes:
            column: Key of the column.
            descending: Largest first.
        """

        def __init__(self, control: "VirtualTable[Any]", column: str, descending: bool) -> None:
            super().__init__()
            self.table = control
            self.column = column
            self.descending = descending

        @property
        def control(self) -> "VirtualTable[Any]":
            """The table."""
            return self.table

    def __init__(
        self,
        columns: Sequence[Column],
        cells: Callable[[T], Sequence[Line]],
        *,
        empty: str = "Nothing here.",
        opening: str = "Opening …",
        dim: Callable[[T], bool] | None = None,
        marking: bool = True,
        leave: Collection[str] = (),
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
        disabled: bool = False,
    ) -> None:
        """Has no items yet.

        Args:
            columns: At least one.
            cells: What an item shows in each column, also in those that may be left out; text is never markup.
            empty: What is said when there is nothing.
            opening: What is said before the first source.
            dim: Which items are only there for completeness.
            marking: Whether items can be marked.
            leave: Keys that the screen wants for itself.
            name: As of every widget.
            id: As of every widget.
            classes: As of every widget.
            disabled: As of every widget.
        """
        super().__init__(
            empty=empty,
            opening=opening,
            marking=marking,
            leave=leave,
            name=name,
            id=id,
            classes=classes,
            disabled=disabled,
        )
        self._columns = tuple(columns)
        self._cells = cells
        self._dim = dim
        self._places: list[_Place] = []
        # Cells of a line; more than there are in a table of a few cells.
        self._used = 0

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, also those that are left out now."""
        return self._columns

    @columns.setter
    def columns(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)
        self.lay_out_again()

    @property
    def shown(self) -> list[str]:
        """Keys of the columns that fit now."""
        return [self._columns[place.column].key for place in self._places]

    @property
    def _header(self) -> int:
        return 1

    def _measure(self, width: int) -> tuple[int, int]:
        self._places = _placed(self._columns, width)
        self._used = _GUTTER + sum(place.cells + place.gap for place in self._places)
        return 1, 1

    def _index_at(self, x: int, row: int, line: int) -> int | None:  # noqa: ARG002
        return row

    # drawing

    def _header_line(self) -> Strip:
        ground = self._ground("virtual-table--header")
        by, descending = self.sort
        parts = [Segment(" " * _GUTTER, ground.rich_style)]
        for index, width, gap in self._places:
            column, style = self._columns[index], ground
            title = column.title
            if column.key == by:
                arrow = "▼" if descending else "▲"
                space = " " if cell_len(title) + 2 <= width else ""
                title = f"{arrow}{space}{title}" if column.align == "right" else f"{title}{space}{arrow}"
                style = self._ground("virtual-table--header", "virtual-table--sorted")
            parts += self._ink.line(title, width, style, column.align, gap)
        return self._line(parts, self._used)

    def _draw(self, row: int) -> list[Strip]:
        if self._source is None or row >= self._count:
            return [self._blank()]
        item, marked = self._item(row), self._source.key(row) in self._marks
        under = ("virtual-items--cursor",) if row == self.cursor else ()
        quiet = item is None or (self._dim is not None and self._dim(item))
        style = self._ground(*under, "virtual-items--dim") if quiet else self._ground(*under)
        parts = self._gutter(under, style, marked)
        cells: Sequence[Line] = self._gone() if item is None else self._cells(item)
        for index, width, gap in self._places:
            what: Line = cells[index] if index < len(cells) else ""
            parts += self._ink.line(what, width, style, self._columns[index].align, gap)
        return [self._line(parts, self._used)]

    def _gutter(self, under: tuple[str, ...], style: Style, marked: bool) -> list[Segment]:
        """Whether the cursor is here and whether the item is marked, said by glyphs."""
        if not under and not marked:
            return [Segment(" " * _GUTTER, style.rich_style)]
        pointer = self._ground(*under, "virtual-items--pointer").rich_style
        mark = self._ground(*under, "virtual-items--mark").rich_style
        return [
            Segment(CURSOR_GLYPH if under else " ", pointer),
            Segment(f"{MARK_GLYPH} " if marked else "  ", mark),
        ]

    def _gone(self) -> Sequence[Line]:
        """The cells of an item that was there when the list was made."""
        first = self._places[0].column if self._places else 0
        return [""] * first + ["no longer there"]

    # the order

    def _sortable(self) -> list[str]:
        shown = (self._columns[place.column] for place in self._places)
        return [column.key for column in shown if column.sortable]

    def action_sort_next(self) -> None:
        """Ask for the order of the next column."""
        keys = self._sortable()
        place = keys.index(self.sort[0]) + 1 if self.sort[0] in keys else 0
        self.post_message(self.SortRequested(self, keys[place % len(keys)], descending=False))

    def action_sort_back(self) -> None:
        """Ask for the same order from its other end."""
        self.post_message(self.SortRequested(self, self.sort[0] or self._sortable()[0], not self.sort[1]))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Sorting is a key of the screen's where no column can be sorted."""
        if action in {"sort_next", "sort_back"}:
            return bool(self._sortable())
        return super().check_action(action, parameters)

    def on_click(self, event: events.Click) -> None:
        """A click on the header asks for an order."""
        offset = event.get_content_offset(self)
        if offset is None or offset.y >= self._header:
            return
        event.stop()
        left = _GUTTER
        for index, width, gap in self._places:
            column = self._columns[index]
            if left <= offset.x < left + width + gap and column.sortable:
                descending = self.sort[0] == column.key and not self.sort[1]
                self.post_message(self.SortRequested(self, column.key, descending))
                return
            left += width + gap
