"""The end of a log that is still written: it only grows at its end, follows it while somebody looks there, and keeps the last lines alone."""

from collections import deque
from collections.abc import Iterable
from typing import ClassVar

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from assetforge.tui.widgets.fitting import fitted, harmless

__all__ = ["LogTail"]

_MOST_LINES = 2_000
_MOST_CHARACTERS = 2_000
"""Of one line; whoever wants more reads the file."""

_INDENT = "  "


class LogTail(ScrollView, can_focus=True):
    """Lines of a log, long ones on several.

    Args:
        empty: What is said while there is none.
    """

    DEFAULT_CSS = """
    LogTail {
        width: 1fr; height: 1fr; background: $background; color: $foreground 78%; overflow-x: hidden; overflow-y: auto; scrollbar-gutter: stable; scrollbar-size-vertical: 1;
        &:focus { color: $foreground; }
        & > .log-tail--empty { color: $dim; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"log-tail--empty"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("end", "scroll_end", "End", show=False, id="log.end"),
        Binding("home", "scroll_home", "Beginning", show=False, id="log.home"),
    ]

    def __init__(self, *, empty: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self._empty = empty
        self._texts: deque[str] = deque(maxlen=_MOST_LINES)
        self._rows: deque[str] = deque()
        self._heights: deque[int] = deque()
        # Not where the scrolling is when it is asked: another size moves the end away before anybody hears of it.
        self._at_end = True
        self._style: Style | None = None

    @property
    def lines(self) -> list[str]:
        """The lines that are kept, as they are shown."""
        return list(self._texts)

    def add(self, lines: Iterable[str]) -> None:
        """Add lines at the end; anybody's text, nothing in it is markup."""
        gone = 0
        width = self.scrollable_content_region.width
        for text in lines:
            if len(self._texts) == _MOST_LINES:
                height = self._heights.popleft() if self._heights else 0
                gone += height
                for _ in range(height):
                    self._rows.popleft()
            shown = harmless(text[:_MOST_CHARACTERS].expandtabs(4)).rstrip()
            self._texts.append(shown)
            if width:
                self._wrap(shown, width)
        self._lay_out(gone)

    def clear(self) -> None:
        """Forget all lines."""
        self._texts.clear()
        self._rows.clear()
        self._heights.clear()
        self._at_end = True
        self._lay_out()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Whoever scrolls up wants to read there; whoever comes back wants to follow."""
        super().watch_scroll_y(old_value, new_value)
        if new_value < old_value or new_value >= self.max_scroll_y:
            self._at_end = new_value >= self.max_scroll_y

    def _wrap(self, text: str, width: int) -> None:
        parts, indent = [], ""
        while cell_len(text) > width - len(indent):
            part = chop_cells(text, max(2, width - len(indent)))[0]
            space = part.rfind(" ", len(part) // 2)
            if space > 0:
                part = part[:space]
            parts.append(indent + part)
            text, indent = text[len(part) :].lstrip(), _INDENT
        if text or not parts:
            parts.append(indent + text)
        self._rows.extend(parts)
        self._heights.append(len(parts))

    def _lay_out(self, gone: int = 0) -> None:
        size = Size(self.scrollable_content_region.width, len(self._rows))
        if self.show_vertical_scrollbar and size.width == self.virtual_size.width and size.height > self.size.height:
            # Laying out the whole screen for a line more would cost more than everything else here.
            self.set_reactive(LogTail.virtual_size, size)
            self._scroll_update(size)
        else:
            self.virtual_size = size
        if self._at_end:
            self._to_end()
            # Before the first frame there is no scrollbar yet, and nothing scrolls.
            self.call_after_refresh(self._to_end)
        elif gone:
            # What is read stays where it is while the beginning goes.
            self.scroll_to(y=max(0, self.scroll_offset.y - gone), animate=False, immediate=True)
        self.refresh()

    def _to_end(self) -> None:
        if self._at_end:
            self.scroll_end(animate=False, immediate=True, x_axis=False)

    def on_resize(self) -> None:
        """Wrap the lines anew."""
        self._rows.clear()
        self._heights.clear()
        width = self.scrollable_content_region.width
        if width:
            for text in self._texts:
                self._wrap(text, width)
        self._lay_out()

    def notify_style_update(self) -> None:
        """Another theme, or the focus came or went."""
        super().notify_style_update()
        self._style = None

    def render_line(self, y: int) -> Strip:
        """A line of it."""
        width = self.size.width
        style = self._style = self._style or self.rich_style
        if not self._rows and y == 0 and self._empty:
            style += self.get_component_rich_style("log-tail--empty", partial=True)
            return Strip([Segment(fitted(self._empty, width), style)], width)
        at = y + self.scroll_offset.y
        text = self._rows[at] if at < len(self._rows) else ""
        return Strip([Segment(fitted(text, width), style)], width)
