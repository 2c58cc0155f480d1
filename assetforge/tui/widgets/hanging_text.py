"""Facts as names and values: a value that is too long goes on below itself, not below its name."""

from collections.abc import Sequence
from typing import NamedTuple

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

__all__ = ["Entry", "HangingText"]

_LEAST = 16


class Entry(NamedTuple):
    """A line, or as many as its value needs.

    Attributes:
        name: What it is; empty for a value below another one, ``None`` for a line of its own from the left edge.
        value: What is said; may have line breaks.
    """

    name: str | None
    value: Content


class HangingText(Widget):
    """Shows entries, as high as they need.

    Args:
        indent: Cells that names have, the space after them included.
    """

    DEFAULT_CSS = "HangingText { width: 1fr; height: auto; }"

    def __init__(self, indent: int = 14, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._indent = indent
        self._entries: tuple[Entry, ...] = ()

    @property
    def plain(self) -> str:
        """All of it without styles, an entry a line."""
        return "\n".join(
            one.value.plain if one.name is None else f"{one.name:<{self._indent}}{one.value.plain}"
            for one in self._entries
        )

    def update(self, entries: Sequence[Entry]) -> None:
        """Show other entries."""
        if tuple(entries) != self._entries:
            self._entries = tuple(entries)
            self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002 - as Textual calls it
        """Lines that are needed in a width."""
        return len(self._lines(width))

    def render(self) -> Content:
        """All lines."""
        return Content("\n").join(self._lines(self.size.width))

    def _lines(self, width: int) -> list[Content]:
        lines: list[Content] = []
        for name, value in self._entries:
            if name is None:
                lines += value.wrap(max(1, width)) or [Content("")]
                continue
            room = max(_LEAST, width - self._indent)
            for at, part in enumerate(value.wrap(room) or [Content("")]):
                shown = name if not at else ""
                lines.append(Content.assemble((f"{shown:<{self._indent}}", "$dim"), part))
        return lines
