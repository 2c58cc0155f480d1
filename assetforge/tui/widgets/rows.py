"""What is on the screen of a virtual list: its layout in rows, the items fetched for them, the lines drawn and kept, and what stays in view when things change."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any, Generic, TypeVar

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter
from textual.geometry import Region, Size, clamp
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style

from assetforge.tui.images.cells import JoinedStrip, LightStrip, joined
from assetforge.tui.widgets.fitting import Ink, fitted
from assetforge.tui.widgets.sources import ItemSource

__all__ = ["VirtualRows"]

T = TypeVar("T")

# Lines that are kept drawn: some screens full; more would only be memory.
_DRAWN_LINES = 600


class VirtualRows(ScrollView, Generic[T], can_focus=True, inherit_bindings=False):
    """Rows of one or more items each, any number of them; only those on the screen are asked for and drawn.

    Attributes:
        cursor: Index of the item that keys act on; 0 in an empty list.
        empty: What is said when there is nothing.
        opening: What is said before the first source.
    """

    # Selecting text with the mouse would take double clicks, and cost a style per segment.
    ALLOW_SELECT = False

    cursor: reactive[int] = reactive(0, repaint=False)
    empty: reactive[str] = reactive("")
    opening: reactive[str] = reactive("")

    def __init__(
        self,
        *,
        empty: str,
        opening: str,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
        disabled: bool = False,
    ) -> None:
        """Has no items yet.

        Args:
            empty: What is said when there is nothing.
            opening: What is said before the first source.
            name: As of every widget.
            id: As of every widget.
            classes: As of every widget.
            disabled: As of every widget.
        """
        super().__init__(name=name, id=id, classes=classes, disabled=disabled)
        self._source: ItemSource[T] | None = None
        self._count = 0
        self._cursor_key: int | None = None
        self._window: tuple[int, Sequence[T | None]] = (0, ())
        self._rows: dict[int, list[Strip]] = {}
        self._ink = Ink()
        self._grounds: dict[tuple[str, ...], Style] = {}
        # What drawn lines go through before they are shown.
        self._filters: tuple[Sequence[LineFilter], Color] | None = None
        # The layout as it was made last: items per row, lines per row, lines in view (0 before the first).
        self._across, self._tall, self._view = 1, 1, 0
        self.set_reactive(VirtualRows.empty, empty)
        self.set_reactive(VirtualRows.opening, opening)

    # what a kind of list says

    @property
    def _header(self) -> int:
        """Lines above the rows that do not scroll."""
        return 0

    @property
    def _footer(self) -> int:
        """Lines after the last row that scroll with them."""
        return 0

    def _header_line(self) -> Strip:
        """The line above the rows."""
        return self._blank()

    def _measure(self, width: int) -> tuple[int, int]:
        """Items per row and lines per row, each at least 1, at a width in cells."""
        raise NotImplementedError

    def _draw(self, row: int) -> list[Strip]:
        """The lines of a row, each as wide as the widget."""
        raise NotImplementedError

    def _index_at(self, x: int, row: int, line: int) -> int | None:
        """The item at a place in a row; it may be past the end."""
        raise NotImplementedError

    # the items

    @property
    def source(self) -> ItemSource[T] | None:
        """Where the items come from; ``None`` before the first."""
        return self._source

    @property
    def current(self) -> T | None:
        """The item under the cursor; ``None`` in an empty list and for one that is gone."""
        return self._item(self.cursor) if self._count else None

    @property
    def current_key(self) -> int | None:
        """The key of the item under the cursor; ``None`` in an empty list."""
        return self._cursor_key

    def _take(self, source: ItemSource[T], keep: bool) -> None:
        """Put the cursor and the scrolling where they belong in a source."""
        key, seen, at_top = self._cursor_key, self._anchor() if keep else None, not self.scroll_offset.y
        self._source, self._count = source, len(source)
        self._window = (0, ())
        self._rows.clear()
        index = 0
        if keep:
            found = source.index(key) if key is not None else None
            index = self.validate_cursor(self.cursor if found is None else found)
        self.set_reactive(VirtualRows.cursor, index)
        self._cursor_key = source.key(index) if self._count else None
        self._lay_out()
        self._return_to(*(seen or (self._cursor_key, 0, 0)))
        if at_top and (self.cursor // self._across + 1) * self._tall <= self._view:
            # Somebody who looks at the top of a list wants to see what comes in there.
            self.scroll_to(y=0)
        self.refresh()

    def validate_cursor(self, index: int) -> int:
        """Within the list."""
        return clamp(index, 0, max(0, self._count - 1))

    def _item(self, index: int) -> T | None:
        """One item, out of the window that was fetched for the screen."""
        start, items = self._window
        if not start <= index < start + len(items):
            if self._source is None:
                return None
            view = self._in_view
            if index not in view:
                alone = self._source.items(index, 1)
                return alone[0] if alone else None
            start, items = self._window = (view.start, self._source.items(view.start, len(view)))
        return items[index - start] if index < start + len(items) else None

    # the layout

    @property
    def _in_view(self) -> range:
        """Items of which something is on the screen, or nearly."""
        first = self.scroll_offset.y // self._tall * self._across
        return range(first, min(self._count, first + (self._view // self._tall + 2) * self._across))

    @property
    def wide(self) -> int:
        """Cells of a line: the widget without its scrollbar, whose room is kept free so that nothing jumps when it comes."""
        return max(0, self.size.width - self.scrollbar_size_vertical)

    @property
    def _row_count(self) -> int:
        return -(-self._count // self._across)

    def _lay_out(self) -> None:
        """Measure for the present width and tell the scrollbar how long everything is."""
        width = self.wide
        self._view = max(0, self.size.height - self._header)
        self._across, self._tall = self._measure(width)
        lines = self._row_count * self._tall + (self._footer if self._count else 0)
        self.virtual_size = Size(width, self._header + lines)

    def lay_out_again(self) -> None:
        """Measure and draw everything anew; what is in view stays there."""
        seen = self._anchor() if self._view else None
        self._rows.clear()
        self._window = (0, ())
        self._lay_out()
        if seen is None:
            self.scroll_to_cursor()
        else:
            self._return_to(*seen)
        self.refresh()

    def _anchor(self) -> tuple[int | None, int, int]:
        """What should stay where it is, the cursor's item when it is in view, else the first in view: its key, its index, its line on the screen."""
        line = self.cursor // self._across * self._tall - self.scroll_offset.y
        if 0 <= line < max(1, self._view) or self._source is None:
            return self._cursor_key, self.cursor, line
        first = min(self._in_view.start, max(0, self._count - 1))
        key = self._source.key(first) if first < len(self._source) else None
        return key, first, first // self._across * self._tall - self.scroll_offset.y

    def _return_to(self, key: int | None, index: int, line: int) -> None:
        """Scroll so that an anchor is where it was."""
        if self._source is None or not self._view:
            return
        if key == self._cursor_key:
            index = self.cursor
        elif key is not None:
            found = self._source.index(key)
            index = index if found is None else found
        index = self.validate_cursor(index)
        if line >= 0:
            line = clamp(line, 0, max(0, self._view - self._tall - self._footer))
        self.scroll_to(y=index // self._across * self._tall - line)

    def scroll_to_cursor(self) -> None:
        """Bring the item under the cursor into view, moving as little as possible."""
        if not self._view:
            return
        high = self._tall + self._footer
        top = self.cursor // self._across * self._tall
        if top < self.scroll_offset.y or high > self._view:
            self.scroll_to(y=top)
        elif top + high > self.scroll_offset.y + self._view:
            self.scroll_to(y=top + high - self._view)

    def scroll_to(self, x: float | None = None, y: float | None = None, **options: Any) -> None:
        """Scroll at once, without an animation, also when the scrollbar has not noticed yet that it is needed.

        Args:
            x: As of every widget.
            y: The line to begin with.
            options: As of every widget.
        """
        super().scroll_to(x, y, **{**options, "animate": False, "force": True})

    def on_resize(self) -> None:
        """Lay out for the new size."""
        self.lay_out_again()

    # drawing

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines of the visible part.

        Textual would take every line apart, filter its segments one by one and put it together again, for each frame; a line of pictures has hundreds.
        """
        if not self._is_bare:
            return super().render_lines(crop)
        lines = [self.render_line(y) for y in crop.line_range]
        if not self.show_vertical_scrollbar and (beside := self.size.width - self.wide):
            # The room of the scrollbar.
            blank = self._shown(Strip.blank(beside, self._ground().rich_style))
            lines = [JoinedStrip([line, blank], self.size.width) for line in lines]
        if crop.column_span == (0, self.size.width):
            return lines
        return [line.crop(crop.x, crop.right) for line in lines]

    @property
    def _is_bare(self) -> bool:
        """Whether a style sheet wants nothing around the lines or over them."""
        styles = self.styles
        return not (any(styles.gutter) or styles.tint.a or self.opacity != 1.0 or styles.text_opacity != 1.0)

    def _shown(self, line: Strip) -> Strip:
        """A drawn line as this terminal shows it."""
        if self._filters is None:
            self._filters = self.get_line_filters(), self.background_colors[1]
        filters, ground = self._filters
        for line_filter in filters:
            line = line.apply_filter(line_filter, ground)
        return line

    def render_line(self, y: int) -> Strip:
        """One line of what is in view."""
        if y < self._header:
            return self._shown(self._header_line())
        if not self._count:
            return self._shown(self._said(y))
        row, line = divmod(y - self._header + self.scroll_offset.y, self._tall)
        lines = self._rows.get(row)
        if lines is None:
            if len(self._rows) * self._tall >= _DRAWN_LINES:
                self._rows.clear()
            lines = self._rows[row] = [self._shown(drawn) for drawn in self._draw(row)]
        return lines[line] if line < len(lines) else self._shown(self._blank())

    def _ground(self, *classes: str) -> Style:
        """The style of the widget under component classes."""
        style = self._grounds.get(classes)
        if style is None:
            style = self._grounds[classes] = self.get_visual_style(*classes)
        return style

    def _line(self, parts: Sequence[Segment | Strip], used: int) -> Strip:
        """A whole line of parts that take so many cells; those that are lines themselves stay whole."""
        width = self.wide
        if used < width:
            parts = [*parts, Segment(" " * (width - used), self._ground().rich_style)]
        return joined(parts, max(used, width)).crop(0, width)

    def _blank(self) -> Strip:
        return Strip.blank(self.wide, self._ground().rich_style)

    def _said(self, y: int) -> Strip:
        """A line of the sentence that says why there is nothing, in the middle of the room."""
        width, height = self.wide, self.size.height
        said = wrap(self.opening if self._source is None else self.empty, max(12, min(60, width - 4)))
        number = y - self._header - max(0, (height - self._header - len(said)) // 2)
        if not 0 <= number < len(said):
            return self._blank()
        style = self._ground("virtual-items--dim").rich_style
        return LightStrip([Segment(fitted(said[number], width, "center"), style)], width)

    def _drop(self, index: int) -> None:
        """Draw the rows anew that show something of an item."""
        row = index // self._across
        for touched in range(row, row + 1 + self._footer):
            self._rows.pop(touched, None)
        top = row * self._tall - self.scroll_offset.y
        bottom = min(self._view, top + self._tall + self._footer)
        if max(0, top) < bottom:
            self.refresh(Region(0, self._header + max(0, top), self.wide, bottom - max(0, top)))

    def notify_style_update(self) -> None:
        """Colours may have changed."""
        super().notify_style_update()
        self._ink.forget()
        self._grounds.clear()
        self._filters = None
        self._rows.clear()
        self.refresh()
