"""Mends of what Textual keeps longer than anybody needs it: lines of the screen, and widgets that are gone.

A terminal program that is open all day draws a hundred lines a page. Each has seven caches of its own, all objects that every garbage collection looks at and nearly always
empty, since what is drawn is kept as escapes one level up; and a line that is shown whole keeps itself in one of them, so that only a full sweep finds it.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from rich.segment import Segment
from textual._styles_cache import StylesCache
from textual.cache import FIFOCache
from textual.color import Color
from textual.dom import DOMNode
from textual.strip import Strip
from textual.style import Style

__all__ = ["FORGETS", "let_go", "unwatch"]


class _Forgets(FIFOCache[Any, Any]):
    def __init__(self) -> None:
        super().__init__(1)

    def get(self, _key: Any, default: Any = None) -> Any:
        return default

    def __setitem__(self, _key: Any, _value: Any) -> None:
        return


FORGETS = _Forgets()
"""A cache in which nothing is ever found."""


def let_go() -> None:
    """Make the mends, for the whole process; later calls do nothing."""
    Strip.__init__ = _begin  # type: ignore[method-assign]
    StylesCache.get_inner_outer = _get_inner_outer  # type: ignore[assignment,method-assign]


def unwatch(watched: DOMNode, by: DOMNode) -> None:
    """Have a widget that goes no longer told of what changes in another: Textual forgets that only at the next change.

    Args:
        watched: What outlives the widget, such as the app.
        by: The widget.
    """
    watchers: dict[str, list[tuple[DOMNode, Any]]] = getattr(watched, "__watchers", {})
    for name, those in watchers.items():
        watchers[name] = [one for one in those if one[0] is not by]


def _begin(self: Strip, segments: Iterable[Segment], cell_length: int | None = None) -> None:
    """As Textual's, with one cache for all."""
    self._segments = list(segments)
    self._cell_length = cell_length
    self._divide_cache = self._crop_cache = self._style_cache = self._filter_cache = FORGETS
    self._line_length_cache = self._crop_extend_cache = self._offsets_cache = FORGETS
    self._render_cache = self._link_ids = self._cell_count = None


def _get_inner_outer(_cache: StylesCache, base_background: Color, background: Color) -> tuple[Style, Style]:
    """As Textual's, which keeps the last 1024 widgets that asked, and all that they drew: 200 MB after half an hour of going to and fro between screens."""
    return _colours(base_background, background)


@lru_cache(1024)
def _colours(base_background: Color, background: Color) -> tuple[Style, Style]:
    return Style(background=base_background + background), Style(background=base_background)
