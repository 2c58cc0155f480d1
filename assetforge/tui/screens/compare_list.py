"""The cells of a comparison in two lines each: what was asked for and how it changed; where it belongs, whether it was looked at, what was voted."""

from collections.abc import Mapping, Sequence

from rich.segment import Segment
from textual.content import Content
from textual.strip import Strip

from assetforge.tui.screens.compare_facts import CellFacts
from assetforge.tui.widgets.items import CURSOR_GLYPH, VirtualItems
from assetforge.tui.widgets.sources import ListSource
from assetforge.tui.words import plain, signed

__all__ = ["CellList", "change_text", "seen_mark"]

_TALL = 2
_MARGIN = 2


def change_text(cell: CellFacts) -> str:
    """What a cell gained, short: ``−.03``, ``±0``, ``=`` for equal pictures, ``?`` for nothing to measure."""
    if cell.identical:
        return "="
    if cell.change is None:
        return "?"
    return signed(cell.change).replace("0.", ".", 1)


def seen_mark(*, seen: bool) -> tuple[str, str]:
    """The glyph and colour of a cell that was looked at or not."""
    return ("✓", "$success") if seen else ("·", "$dim")


def _index(cell: CellFacts) -> int:
    return cell.index


class CellList(VirtualItems[CellFacts]):
    """Cells in an order, one of them shown.

    Args:
        id: As of every widget.
    """

    HELP = """Cells of the comparison. ✓ was looked at, · was not; "look" must be before a decision. A minus is a loss against the version it is compared with,
    = are equal pictures, ? had nothing to measure."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(empty="No cell of this block.", marking=False, leave=("space", "enter", "escape"), id=id)
        self.title = Content("")
        self.opened: Mapping[int, float] = {}
        self.required: Sequence[int] = ()
        self.said: Mapping[int, str] = {}
        self.blind = False

    def show(self, cells: Sequence[CellFacts], *, keep: bool = True) -> None:
        """Show these."""
        source = ListSource(list(cells), _index)
        self.set_source(source, keep=keep)

    def go_to_cell(self, index: int) -> bool:
        """Put the cursor on a cell; whether it is in the list."""
        at = self.source.index(index) if self.source is not None else None
        if at is not None:
            self.cursor = at
        return at is not None

    def tell_title(self, title: Content) -> None:
        """Change the line above the cells."""
        self.title = title
        self.refresh()

    @property
    def _header(self) -> int:
        return 1

    def _header_line(self) -> Strip:
        ground = self._ground()
        return Strip(self._ink.line(self.title, self.wide, ground)).adjust_cell_length(self.wide, ground.rich_style)

    def _measure(self, width: int) -> tuple[int, int]:  # noqa: ARG002
        return 1, _TALL

    def _index_at(self, x: int, row: int, line: int) -> int | None:  # noqa: ARG002
        return row

    def _draw(self, row: int) -> list[Strip]:
        cell = self._item(row)
        if cell is None:
            return [self._blank()] * _TALL
        pointed = row == self.cursor
        under = ("virtual-items--cursor",) if pointed else ()
        style = self._ground(*under)
        pointer = Segment(CURSOR_GLYPH if pointed else " ", self._ground(*under, "virtual-items--pointer").rich_style)
        space = Segment(" ", style.rich_style)
        room, tag = max(1, self.wide - _MARGIN), self._tag(cell)
        about = self._ink.line(self._about(cell), max(1, room - tag.cell_length - 1), style)
        lines = (
            [pointer, space, *self._ink.line(plain(cell.short), room, style)],
            [space, space, *about, space, *self._ink.line(tag, tag.cell_length, style)],
        )
        return [Strip(Segment.simplify(line)).adjust_cell_length(self.wide, style.rich_style) for line in lines]

    def _about(self, cell: CellFacts) -> Content:
        mark = seen_mark(seen=cell.index in self.opened)
        strength = f" at {cell.strength:g}" if cell.strength != 1.0 else ""
        where = f"  {plain(cell.block)} {cell.seed}{strength}"
        if self.blind:
            return Content.assemble(mark, (where, "$dim"))
        change = change_text(cell)
        tone = "$error" if change.startswith("−") else ""
        return Content.assemble(mark, " ", (f"{change:>4}", tone), (where, "$dim"))

    def _tag(self, cell: CellFacts) -> Content:
        if cell.index in self.said:
            return Content.styled(self.said[cell.index], "$primary")
        if cell.index in self.required and cell.index not in self.opened and not self.blind:
            return Content.styled("look", "$warning")
        return Content("")
