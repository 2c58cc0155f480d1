"""Going from cell to cell: the list, its order, its blocks."""

from assetforge.tui.screens.base import acting
from assetforge.tui.screens.compare_facts import BlockFacts, CellFacts
from assetforge.tui.screens.compare_list import CellList
from assetforge.tui.screens.compare_part import ComparePart
from assetforge.tui.screens.dialogs import Choice, ChoiceDialog
from assetforge.tui.widgets.items import VirtualItems
from assetforge.tui.widgets.virtual_table import VirtualTable
from assetforge.tui.words import plain

__all__ = ["Moving"]


class Moving(ComparePart):
    """A part of the comparison screen.

    Attributes:
        block: Name of the block that is listed; empty for all.
        planned_order: The cells are listed as they were planned, and not the worst first.
    """

    block = ""
    planned_order = False

    def ordered(self) -> list[CellFacts]:
        """The cells that are listed, in their order; in a blind vote its pairs."""
        facts = self.facts
        if facts is None:
            return []
        if self.ballots is not None:
            return [facts.cells[cell] for cell in self.ballots.order]
        order = sorted(facts.cells) if self.planned_order else facts.worst
        return [facts.cells[cell] for cell in order if not self.block or facts.cells[cell].block == self.block]

    def on_virtual_items_highlighted(self, event: VirtualItems.Highlighted) -> None:
        """Another cell or another block."""
        event.stop()
        if self.facts is None:
            return
        if isinstance(event.list, CellList):
            current = event.list.current
            if current is not None and current.index != self.current:
                self.show_cell(current)
        elif isinstance(event.item, BlockFacts) and event.item.name != self.block and self.ballots is None:
            self.filter_block(event.item.name)

    def filter_block(self, block: str) -> None:
        """Only the cells of a block, or all."""
        self.block = block
        cells = self.query_one(CellList)
        cells.show(self.ordered(), keep=False)
        self.show_cell(cells.current)

    def look_at(self, cell: int) -> None:
        """Show a cell, among all when it is not among those that are listed."""
        cells = self.query_one(CellList)
        if not cells.go_to_cell(cell):
            self.block, self.planned_order = "", False
            self.query_one("#blocks", VirtualTable).cursor = 0
            self.show_everything(cell)
        elif cells.current is not None:
            self.show_cell(cells.current)
            self.show_verdict()

    def _step(self, by: int) -> None:
        cells = self.query_one(CellList)
        if self.facts is None or not cells.source:
            return
        at = cells.cursor + by
        if 0 <= at < len(cells.source):
            cells.cursor = at
            if cells.current is not None:
                self.show_cell(cells.current)

    def action_next(self) -> None:
        """The next cell."""
        self._step(1)

    def action_previous(self) -> None:
        """The cell before."""
        self._step(-1)

    def neighbours(self) -> list[CellFacts]:
        """The cells after and before the one that is shown."""
        cells = self.query_one(CellList)
        source = cells.source
        if source is None:
            return []
        places = [at for at in (cells.cursor + 1, cells.cursor - 1, cells.cursor + 2) if 0 <= at < len(source)]
        return [found for at in places for found in source.items(at, 1) if found is not None]

    def action_order(self) -> None:
        """Worst first, or as planned."""
        self.planned_order = not self.planned_order
        self.show_everything(self.current)

    @acting
    async def action_filter(self) -> None:
        """One block, or all."""
        facts = self.facts
        if facts is None:
            return
        choices = [Choice("", "all", f"{len(facts.cells)} cells")]
        choices += [
            Choice(one.name, plain(one.title), f"{one.count} cells   {plain(one.about)}") for one in facts.blocks
        ]
        chosen = await self.app.push_screen_wait(ChoiceDialog("Which cells?", choices, selected=self.block))
        if isinstance(chosen, str) and chosen != self.block:
            at = next((at for at, one in enumerate(choices) if one.id == chosen), 0)
            self.query_one("#blocks", VirtualTable).cursor = at
            self.filter_block(chosen)
