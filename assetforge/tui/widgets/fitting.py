"""Text in exactly so many cells: cut with an ellipsis, padded, harmless whatever it contains, styled without ever being read as markup."""

import re
from functools import lru_cache
from typing import Literal

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style as RichStyle
from rich.text import Text
from textual.content import Content, Span
from textual.style import Style

from assetforge.tui.words import widening

__all__ = ["Align", "Ink", "Line", "fitted", "harmless"]

# The tokens of muted text are contrast colours that only style sheets can resolve: content would become white.
_OVER = re.compile(r"\$text-(muted|disabled)\b")

Align = Literal["left", "right", "center"]
Line = Content | str | Text


def _tamed(text: str) -> list[str]:
    """What is shown for each character: itself, a space for breaks, nothing for controls and for what makes widths uncertain."""
    shown = [char if char.isprintable() else " " if char.isspace() else "" for char in text]
    for place in widening(text):
        shown[place.start : place.stop] = [""] * len(place)
    return shown


@lru_cache(4096)
def _harmless(text: str) -> str:
    return "".join(_tamed(text))


def harmless(text: str) -> str:
    """The text on one line, without controls, escapes and direction marks; spaces stay as they are."""
    return text if text.isascii() and text.isprintable() else _harmless(text)


def _cut(text: str, width: int) -> tuple[str, int]:
    """At most so many cells of a harmless text, with an ellipsis where something is missing; and how many it takes."""
    if text.isascii() and text.isprintable():
        size = len(text)
        if size <= width:
            return text, size
    return _cut_wide(text, width)


@lru_cache(4096)
def _cut_wide(text: str, width: int) -> tuple[str, int]:
    text = harmless(text)
    size = cell_len(text)
    if size > width:
        text = set_cell_size(text, width - 1).rstrip(" ") + "…" if width > 0 else ""
        size = cell_len(text)
    return text, size


def fitted(text: str, width: int, align: Align = "left") -> str:
    """The text in exactly so many cells.

    Args:
        text: Any text.
        width: Cells, from 0.
        align: Where it stands when it is shorter.
    """
    text, used = _cut(text, width)
    spare = width - used
    if align == "left":
        return text + " " * spare
    left = spare if align == "right" else spare // 2
    return " " * left + text + " " * (spare - left)


class Ink:
    """Draws text on a style and remembers how theme tokens came out. Forget it when the theme changes."""

    def __init__(self) -> None:
        self._parsed: dict[str, Style] = {}
        self._mixed: dict[tuple[Style, Style | str], RichStyle] = {}

    def forget(self) -> None:
        """Resolve every style anew."""
        self._parsed.clear()
        self._mixed.clear()

    def line(self, what: Line, width: int, style: Style, align: Align = "left", gap: int = 0) -> list[Segment]:
        """Segments of exactly so many cells.

        Args:
            what: Plain text (never markup), or content with its own styles.
            width: Cells, from 0.
            style: What lies under it.
            align: Where it stands when it is shorter.
            gap: Blank cells after it.
        """
        if width <= 0:
            return [Segment(" " * gap, style.rich_style)] if gap else []
        if isinstance(what, str):
            return [Segment(fitted(what, width, align) + " " * gap, style.rich_style)]
        content = what if isinstance(what, Content) else Content.from_rich_text(what)
        plain, spans = content.plain, content.spans
        if not spans:
            return [Segment(fitted(plain, width, align) + " " * gap, style.rich_style)]
        if len(spans) == 1 and spans[0].start == 0 and spans[0].end >= len(plain):
            text, used = _cut(plain, width)
            parts = [Segment(text, self._mix(style, spans[0].style))] if text else []
        else:
            parts, used = self._spanned(content, width, style)
        spare = width - used
        left = 0 if align == "left" else spare if align == "right" else spare // 2
        right = spare - left + gap
        under = style.rich_style
        if left:
            parts.insert(0, Segment(" " * left, under))
        if right:
            parts.append(Segment(" " * right, under))
        return parts

    def _spanned(self, content: Content, width: int, style: Style) -> tuple[list[Segment], int]:
        """Parts with several styles, cut to the width."""
        if not (content.plain.isascii() and content.plain.isprintable()):
            content = _harmless_content(content)
        text, cells = _cut(content.plain, width)
        if text != content.plain:
            content = Content(text, [_within(span, len(text)) for span in content.spans if span.start < len(text)])
        parts = [
            Segment(part, (style + mixed).rich_style)
            for part, mixed in content.render(style, end="", parse_style=self._parse)
        ]
        used = sum(cell_len(part.text) for part in parts)
        if used > width:
            # A style that begins inside a flag takes it apart; the alignment matters more.
            return [Segment(text, style.rich_style)], cells
        return parts, used

    def _mix(self, under: Style, over: Style | str) -> RichStyle:
        mixed = self._mixed.get((under, over))
        if mixed is None:
            mixed = self._mixed[under, over] = (under + self._parse(over)).rich_style
        return mixed

    def _parse(self, style: Style | str) -> Style:
        if isinstance(style, Style):
            return style
        parsed = self._parsed.get(style)
        if parsed is None:
            try:
                parsed = Style.parse(_OVER.sub(r"$foreground-\1", style))
            except Exception:  # noqa: BLE001 - a style that nobody knows is no reason to lose the text
                parsed = Style.null()
            self._parsed[style] = parsed
        return parsed


def _within(span: Span, end: int) -> Span:
    return span if span.end <= end else Span(span.start, end, span.style)


def _harmless_content(content: Content) -> Content:
    """The same content with every character tamed and the styles where they were."""
    shown = _tamed(content.plain)
    places = [0]
    for part in shown:
        places.append(places[-1] + len(part))
    last = len(shown)
    spans = [Span(places[min(span.start, last)], places[min(span.end, last)], span.style) for span in content.spans]
    return Content("".join(shown), [span for span in spans if span.end > span.start], strip_control_codes=False)
