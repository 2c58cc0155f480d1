"""A version beside the one that it would replace, picture by picture, worst first: look, vote, decide."""

import time
from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from assetforge.db.browse.comparisons import ComparisonStamp, comparison_stamp
from assetforge.errors import AssetForgeError
from assetforge.tui.actions import bindings
from assetforge.tui.hints import in_words
from assetforge.tui.rereading import Rereading
from assetforge.tui.screens.base import acting, crumbs
from assetforge.tui.screens.compare_aside import AddedThumbs, CompareAside
from assetforge.tui.screens.compare_blind import Blind
from assetforge.tui.screens.compare_deciding import Deciding
from assetforge.tui.screens.compare_facts import (
    BlockFacts,
    CellFacts,
    Compared,
    Unfinished,
    read_comparison,
    read_progress,
)
from assetforge.tui.screens.compare_layout import arrange
from assetforge.tui.screens.compare_list import CellList
from assetforge.tui.screens.compare_looking import Looking
from assetforge.tui.screens.compare_modes import Modes
from assetforge.tui.screens.compare_moving import Moving
from assetforge.tui.screens.compare_opening import open_comparison
from assetforge.tui.screens.compare_stage import PictureStage
from assetforge.tui.screens.compare_texts import (
    caption,
    cell_line,
    cell_words,
    heading,
    limits,
    looked_at,
    verdict,
    waiting,
)
from assetforge.tui.widgets.sources import ListSource
from assetforge.tui.widgets.strengths import Strength, StrengthStrip
from assetforge.tui.widgets.virtual_table import Column, VirtualTable
from assetforge.tui.words import dim, number, plain

__all__ = ["CompareScreen", "open_comparison"]

_PROGRESS_S = 1.0
_MOST_BLOCKS = 8
_ONLY_BLIND = {"left", "right", "same"}
_NOT_BLIND = {
    "strengths",
    "order",
    "filter",
    "figures",
    "references",
    "more",
    "report",
    "approve",
    "reject",
    "weaker",
    "stronger",
}
_ALWAYS = {"more"}
"""What can be done to a comparison that is not finished."""


def _place_of(block: BlockFacts) -> int:
    return block.place


def _block_cells(block: BlockFacts) -> tuple[Content | str, Content | str]:
    return plain(block.title), dim(number(block.count))


class CompareScreen(Moving, Modes, Blind, Deciding, Looking):
    """A comparison.

    Args:
        comparison_id: Which; one that more prompts were added to shows what is known with them.
    """

    SCOPE = "compare"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("compare")]
    HELP = """Two versions of one picture. Space swaps them in one place, where the eye sees what moved; esc goes back to both. Whoever approves has looked at the
    worst cells, each for more than half a second. In a blind vote nothing on the screen says which version is which."""
    CSS = """
    CompareScreen {
        #verdict { height: auto; max-height: 2; padding: 0 1; }
        #verdict-line, #limits { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #compared { height: 1fr; padding: 0 1; }
        #listed { width: 27; height: 1fr; margin-right: 1; }
        #listed CellList { height: 1fr; }
        #blocks { height: auto; margin-top: 1; }
        #work { width: 1fr; height: 1fr; layout: vertical; }
        #work.-side { layout: horizontal; }
        #looking { width: 1fr; height: auto; }
        #cell-line { height: 1; display: none; text-wrap: nowrap; text-overflow: ellipsis; }
        #caption { height: 2; text-wrap: nowrap; text-overflow: ellipsis; }
        #work CompareAside { margin-top: 1; }
        #work.-side CompareAside { margin: 0 0 0 2; }
        #waiting { display: none; width: 1fr; height: 1fr; content-align: center middle; padding: 1 2; }
    }
    """

    def __init__(self, comparison_id: int) -> None:
        super().__init__()
        self.comparison_id = comparison_id
        self.opened = {}
        self.votes = {}
        self._stamp: ComparisonStamp | None = None
        self._progress: Timer | None = None
        self._prepared = False
        self._reread = Rereading(self._read)

    def content(self) -> Iterable[Widget]:
        """The verdict, the cells, the pictures, the figures."""
        with Vertical(id="verdict"):
            yield Static("", id="verdict-line", markup=False)
            yield Static("", id="limits", markup=False)
        with Horizontal(id="compared"):
            with Vertical(id="listed"):
                yield CellList(id="cells")
                yield VirtualTable[BlockFacts](
                    (Column("block", "block", 0, sortable=False), Column("count", "cells", 5, "right", sortable=False)),
                    _block_cells,
                    marking=False,
                    leave=("space", "enter", "escape"),
                    id="blocks",
                )
            with Widget(id="work"):
                with Vertical(id="looking"):
                    yield Static("", id="cell-line", markup=False)
                    yield PictureStage(id="stage")
                    yield Static("", id="caption", markup=False)
                    yield StrengthStrip(id="strip")
                yield CompareAside(id="aside")
        yield Static("", id="waiting", markup=False)

    def place(self) -> Content:
        """``mara  v7 ◐ review  against  v6 ● approved``; in a blind vote only the asset."""
        film = self.film_app.film_title
        if self.facts is None:
            info = self.unfinished.info if self.unfinished else None
            return crumbs(film, plain(info.asset) if info else "", f"comparison {self.comparison_id}")
        found = crumbs(film, plain(self.facts.asset))
        if self.ballots is not None:
            return Content.assemble(found, ("   blind vote", "$primary"))
        return Content.assemble(found, "   ", heading(self.facts))

    # reading

    def on_mount(self) -> None:
        """Read the comparison."""
        self.query_one("#compared").display = False
        self.film_changed()

    def film_changed(self) -> None:
        """Read again when something of what is shown changed; votes and looks of one's own are known already."""
        if not self.film_app.session or not self.session.is_open:
            return
        try:
            stamp = comparison_stamp(self.session.reader, self.facts.info.id if self.facts else self.comparison_id)
        except AssetForgeError as error:
            self.film_app.tell_error(error)
            return
        if stamp is None or self._stamp is None or stamp.shown != self._stamp.shown or self.facts is None:
            self._stamp = stamp
            self.run_worker(self._reread(), group="read", exit_on_error=False)

    async def _read(self) -> None:
        try:
            found = await self.session.run(read_comparison, self.comparison_id)
            if not self.is_attached:
                return
        except AssetForgeError as error:
            self.film_app.tell_error(error)
            waiting_text = Content(in_words(error))
            self._show_waiting(waiting_text)
            return
        if isinstance(found, Unfinished):
            self.facts, self.unfinished = None, found
            self._show_waiting(waiting(found))
        else:
            fresh = self.facts is None or self.facts.info.id != found.info.id
            self.facts, self.unfinished = found, None
            self.opened = dict(found.opened) | ({} if fresh else self.opened)
            self.votes = dict(found.votes) | ({} if fresh else self.votes)
            await self._show_facts(fresh=fresh)
        self.show_place()
        self.refresh_bindings()

    def _show_waiting(self, said: Content) -> None:
        self.query_one("#compared").display = False
        self.query_one("#verdict").display = False
        panel = self.query_one("#waiting", Static)
        panel.display = True
        panel.update(said)
        busy = self.unfinished is not None and bool(self.unfinished.jobs)
        if busy and self._progress is None:
            # How far a job is stands in its folder; the database says only when it ends.
            self._progress = self.set_interval(_PROGRESS_S, self._look_at_jobs)
        elif not busy:
            self._stop_progress()

    def _stop_progress(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _look_at_jobs(self) -> None:
        async def look() -> None:
            known = self.unfinished
            if known is None or not self.is_current:
                return
            jobs = await self.session.run(read_progress, known.info.jobs)
            if self.unfinished is known:
                self.unfinished = Unfinished(info=known.info, jobs=jobs)
                self.query_one("#waiting", Static).update(waiting(self.unfinished))

        self.run_worker(look(), group="progress", exclusive=True, exit_on_error=False)

    async def _show_facts(self, *, fresh: bool) -> None:
        self._stop_progress()
        facts = self.facts
        if facts is None:
            return
        if not self._prepared:
            self._prepared = True
            pictures, terminal = self.film_app.pictures, self.film_app.terminal_pictures
            await self.query_one(PictureStage).prepare(pictures, terminal)
            self.query_one(CompareAside).prepare(pictures, terminal)
        self.query_one("#waiting").display = False
        self.query_one("#compared").display = True
        self.query_one(CompareAside).show(facts)
        self._show_blocks(facts)
        self.show_everything(None if fresh else self.current)
        if fresh and self.focused is None and self.query_one("#listed").display:
            self.query_one(CellList).focus()

    async def show_comparison(self, comparison_id: int) -> None:
        """Show another comparison on this screen."""
        self.forget_look()
        self.comparison_id, self.facts, self.unfinished, self.current = comparison_id, None, None, None
        self.ballots = None
        self.block = ""
        self._stamp = comparison_stamp(self.session.reader, comparison_id)
        await self._reread()

    # showing

    def show_everything(self, cell: int | None = None) -> None:
        """Write every part of the screen anew, at a cell, or at the worst."""
        facts = self.facts
        if facts is None:
            return
        blind = self.ballots is not None
        self.show_place()
        self.show_verdict()
        cells = self.query_one(CellList)
        cells.blind = blind
        self.query_one("#blocks").display = not blind
        wanted = cell if cell is not None else self.current
        cells.show(self.ordered())
        if wanted is not None:
            cells.go_to_cell(wanted)
        self.lay_out()
        self.show_cell(cells.current)
        self.refresh_bindings()

    def show_verdict(self) -> None:
        """Write the lines above everything."""
        facts = self.facts
        if facts is None:
            return
        line, below = self.query_one("#verdict-line", Static), self.query_one("#limits", Static)
        self.query_one("#verdict").display = True
        if self.ballots is not None:
            done = f"{len(self.ballots.answered)} of {len(self.ballots.order)} pairs have an answer"
            line.update(
                Content.assemble((" BLIND VOTE ", "bold $background on $primary"), "  Which is better?   ", dim(done))
            )
            below.display = False
            return
        line.update(verdict(facts, self.size.width))
        said = limits(facts)
        below.update(said)
        below.display = bool(said.plain) and self.size.width >= 100 and self.size.height >= 30

    def _show_blocks(self, facts: Compared) -> None:
        table = self.query_one("#blocks", VirtualTable)
        rows = [BlockFacts(name="", title="all", about="", count=len(facts.cells), place=-1), *facts.blocks]
        source = ListSource(rows, _place_of)
        table.set_source(source)
        table.styles.height = min(_MOST_BLOCKS, len(facts.blocks) + 1) + 1

    def _show_title(self) -> None:
        facts = self.facts
        if facts is None:
            return
        cells = self.query_one(CellList)
        if self.ballots is not None:
            cells.said = dict.fromkeys(self.ballots.answered, "voted")
            cells.opened, cells.required = {}, ()
            title = Content(f"pairs   {len(self.ballots.answered)} of {len(self.ballots.order)}")
        else:
            names = {"new": facts.new.name, "baseline": facts.old.name, "tie": "tie"}
            cells.said = {cell: names.get(choice, choice) for cell, choice in self.votes.items()}
            cells.opened, cells.required = self.opened, facts.required
            order = "as planned" if self.planned_order else "worst first"
            title = Content.assemble((order, "bold"), "  ", looked_at(facts, self.opened))
        cells.tell_title(title)

    def redraw_list(self) -> None:
        """The cells' marks changed."""
        self._show_title()
        self.query_one(CellList).refresh_items()
        facts = self.facts
        cell = facts.cells.get(self.current) if facts and self.current is not None else None
        if cell is not None:
            self._show_words(cell)

    def show_cell(self, cell: CellFacts | None) -> None:
        """Show a cell: its pictures at once, then its words."""
        stage = self.query_one(PictureStage)
        if cell is None or self.facts is None:
            self.current = None
            self.look(None)
            stage.show(None)
            return
        moved = self.current != cell.index
        self.current = cell.index
        if moved or self.ballots is not None:
            self.shown_at = time.monotonic()
        self._show_pictures(cell)
        self._show_title()
        self._show_words(cell)
        self.look(cell.index)

    def _show_words(self, cell: CellFacts) -> None:
        facts = self.facts
        if facts is None:
            return
        blind = self.ballots is not None
        cells = self.query_one(CellList)
        at = f"{cells.cursor + 1} of {len(cells.source or ())}"
        self.query_one("#caption", Static).update(caption(facts, cell, at, blind=blind))
        self.query_one("#cell-line", Static).update(
            cell_line(facts, cell, at.replace(" of ", "/"), self.opened, blind=blind)
        )
        strip = (
            []
            if blind
            else [Strength(one, facts.cells[one].strength, facts.cells[one].change) for one in self.strip_of(cell)]
        )
        self.query_one(StrengthStrip).show(strip, self.shown_in_strip(cell))
        if self.query_one(PictureStage).off:
            self.query_one(PictureStage).say(cell_words(facts, cell, blind=blind))

    # the layout

    def on_resize(self) -> None:
        """As large as it can be now."""
        self.show_verdict()
        self.lay_out()

    def lay_out(self) -> None:
        """Give everything its place; the pictures as much as there is."""
        facts = self.facts
        width, height = self.size.width - 2, self.size.height
        if facts is None or width < 1:
            return
        terminal = self.film_app.terminal_pictures
        aspect = terminal.cell_height / max(1, terminal.cell_width)
        aside, stage = self.query_one(CompareAside), self.query_one(PictureStage)
        lines = 1 + int(self.query_one("#limits").display and self.ballots is None)
        height -= 3 + lines
        bars = 12 if self.ballots is not None else aside.lines_below(width - 90)
        whole = arrange(width, height, facts.size, bars=bars, cell_aspect=aspect, whole=True)
        usual = arrange(width, height, facts.size, bars=bars, cell_aspect=aspect)
        alone = stage.mode == "place"
        found = whole if alone else usual
        self.query_one("#listed").display = found.left > 0
        self.query_one("#listed").styles.width = max(1, found.left)
        self.query_one("#cell-line").display = not found.left
        self.query_one("#caption").display = found.words > 0
        self.query_one("#strip").display = found.words > 2
        work = self.query_one("#work")
        work.set_class(found.aside == "side", "-side")
        aside.place(found, whole.stage[0], blind=self.ballots is not None)
        used = stage.fit(facts.size, usual.stage, whole.stage)
        stage.styles.height = max(1, min(used, found.stage[1]))
        stage.show_mode()

    # other places

    def action_figures(self) -> None:
        """All of them."""
        from assetforge.tui.screens.compare_figures import FiguresScreen

        if self.facts is not None:
            self.app.push_screen(FiguresScreen(self.facts))

    @acting
    async def action_references(self) -> None:
        """Those that were added."""
        facts = self.facts
        if facts is None:
            return
        if not facts.added:
            self.film_app.tell("No references were added between the two versions.")
            return
        await self.film_app.go_to("reference", ",".join(one.address for one in facts.added))

    @acting
    async def on_added_thumbs_wanted(self, event: AddedThumbs.Wanted) -> None:
        """That one."""
        await self.film_app.go_to("reference", event.address)

    def on_strength_strip_chosen(self, event: StrengthStrip.Chosen) -> None:
        """That strength."""
        self.look_at(event.cell)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Voting needs a vote; what would tell which version is which has to wait for its end."""
        if action in _ONLY_BLIND:
            return self.ballots is not None
        if action in _NOT_BLIND and self.ballots is not None:
            return False
        of_this = any(binding.action == action for binding in bindings(self.SCOPE))
        if of_this and self.facts is None and action not in _ALWAYS:
            return False
        return super().check_action(action, parameters)

    def clear_filter(self) -> bool:
        """Escape: out of a blind vote, back to both pictures, all blocks; whether there was anything to leave."""
        if self.ballots is not None:
            self.leave_blind()
        elif self.leave_mode():
            pass
        elif self.block:
            self.query_one("#blocks", VirtualTable).cursor = 0
            self.filter_block("")
        else:
            return False
        return True
