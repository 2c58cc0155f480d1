"""The references of an asset: a gallery or a table of any length, one picture in full beside it, and what can be done to the marked ones."""

from array import array
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import ContentSwitcher, Input, Static

from assetforge.db.browse.reference_address import reference_at
from assetforge.db.browse.references import (
    FindingContext,
    ReferenceRow,
    finding_context,
    reference_counts,
    reference_ids,
    reference_rows,
)
from assetforge.domain.search_language import REFERENCE_FIELDS, parse_search
from assetforge.tui.actions import bindings
from assetforge.tui.rereading import Rereading
from assetforge.tui.screens.reference_actions import ReferenceActions
from assetforge.tui.screens.reference_facts import reference_facts
from assetforge.tui.widgets.filter_problem import FilterProblem
from assetforge.tui.widgets.items import VirtualItems
from assetforge.tui.widgets.line_input import LineInput
from assetforge.tui.widgets.picture import Picture
from assetforge.tui.widgets.sources import KeyedSource
from assetforge.tui.widgets.virtual_gallery import Tile, VirtualGallery
from assetforge.tui.widgets.virtual_table import Column, VirtualTable
from assetforge.tui.words import ago, count_of, dim, number, plain

__all__ = ["ReferencesPane"]

_TYPING_S = 0.05
_CARD_S = 0.06
_SORTS = ("added", "file", "caption", "sharpness", "size", "split", "rights")
_DESCENDING = ("added", "size")

_COLUMNS = (
    Column("state", "", 2, sortable=False),
    Column("file", "file", 26, minimum=14, priority=1),
    Column("caption", "caption", 0, minimum=16),
    Column("split", "split", 9, priority=3),
    Column("size", "pixels", 11, "right", priority=4),
    Column("sharpness", "sharp", 7, "right", priority=6),
    Column("rights", "rights", 16, priority=5),
    Column("added", "added", 14, "right", priority=2),
)


def _mark(row: ReferenceRow) -> tuple[str, str]:
    if row.state == "excluded":
        return "✕", "$error"
    if row.split == "held_out":
        return "◇", "$secondary"
    return ("·", "$dim") if row.in_dataset else ("+", "$warning")


def _tile(row: ReferenceRow) -> Tile:
    glyph, style = _mark(row)
    caption = Content(plain(row.caption, 80)) if row.caption else Content.styled("no caption", "$warning")
    return Tile(row.sha256, Content.assemble((f"{glyph} ", style), plain(row.file_name, 60)), [caption])


def _cells(row: ReferenceRow) -> Sequence[Content | str]:
    glyph, style = _mark(row)
    split = {"held_out": "held out", "train": "train"}.get(row.split, "–")
    return (
        Content.styled(glyph, style),
        plain(row.file_name, 80),
        plain(row.caption, 400) if row.caption else Content.styled("no caption", "$warning"),
        dim(split),
        f"{row.width}×{row.height}",
        f"{row.sharpness:.0f}",
        plain(row.rights, 60) if row.rights else dim("–"),
        dim(ago(row.added_at)),
    )


class ReferencesPane(ReferenceActions):
    """The first tab of an asset.

    Args:
        asset: Name of the asset.
        asset_id: Its row id.
    """

    SCOPE = "references"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("references")]
    HELP = """The asset's references. ◇ is held out of training for scoring, + is in no dataset version yet, ✕ is excluded.
    The filter knows words of captions, `tag:rain`, `rights:none`, `state:excluded`, `split:held_out`, `added:<7d`, `near:yes`, `width:<512`."""
    DEFAULT_CSS = """
    ReferencesPane {
        #ref-line { height: 1; color: $text-muted; padding: 0 1; margin-bottom: 1; }
        #ref-panes { height: 1fr; }
        #ref-middle { width: 1fr; padding: 0 1; }
        #ref-side { width: 44%; max-width: 90; border-left: solid $border-blurred; padding: 0 1; }
        #ref-picture { height: 1fr; }
        #ref-facts { height: auto; max-height: 50%; margin-top: 1; }
    }
    .-narrow ReferencesPane #ref-side { width: 34; }
    """

    def __init__(self, asset: str, asset_id: int) -> None:
        super().__init__(asset)
        self._asset_id = asset_id
        self._ids: array[int] = array("q")
        self._filter, self._sort = "", ("added", True)
        self._counted = False
        self._usual = FindingContext()
        self._typing: Timer | None = None
        self._card: Timer | None = None
        self._wanted = ""
        self._reread = Rereading(self._read)

    def compose(self) -> ComposeResult:
        """Filter, gallery or table, one picture with its facts."""
        app = self.film_app
        gallery = app.state.get(str(self.session.root), "references.gallery", app.preferences.gallery)
        sort = app.state.get(str(self.session.root), "references.sort", ["added", True])
        if isinstance(sort, list) and sort and sort[0] in _SORTS:
            self._sort = (sort[0], bool(sort[-1]))
        yield LineInput(placeholder="words  tag:rain  rights:none  split:held_out  added:<7d", id="ref-filter")
        yield FilterProblem(id="ref-filter-problem")
        yield Static("", id="ref-line", markup=False)
        with Horizontal(id="ref-panes"):
            with ContentSwitcher(initial="ref-gallery" if gallery else "ref-table", id="ref-middle"):
                yield VirtualGallery[ReferenceRow](
                    _tile,
                    app.pictures,
                    tile_width=16,
                    picture_height=8,
                    lines=2,
                    empty=_NOTHING,
                    leave=("enter", "s"),
                    id="ref-gallery",
                )
                yield VirtualTable[ReferenceRow](_COLUMNS, _cells, empty=_NOTHING, leave=("enter", "s"), id="ref-table")
            with Vertical(id="ref-side"):
                if app.pictures is not None:
                    yield Picture(app.pictures, app.terminal_pictures, id="ref-picture")
                yield Static("", id="ref-facts", markup=False)

    def on_mount(self) -> None:
        """Read what there is."""
        self.query_one("#ref-filter").display = False
        self.film_changed()

    @property
    def items(self) -> VirtualItems[ReferenceRow]:
        """The gallery or the table, whichever is shown."""
        return self.query_one(f"#{self.query_one('#ref-middle', ContentSwitcher).current}", VirtualItems)

    def film_changed(self) -> None:
        """Read the ids again, and count anew; rows follow as they come into view."""
        self._counted = False
        self._search()

    def _search(self) -> None:
        """Read the ids again: another filter, another order, or another film."""
        self.run_beside(self._reread.read, group="read")

    async def _read(self) -> None:
        session, search = self.session, parse_search(self._filter, REFERENCE_FIELDS)
        self.query_one(FilterProblem).say(search.problems)
        by, descending = self._sort
        self._ids = await session.call(
            reference_ids, session.reader, self._asset_id, search, by, descending, datetime.now(UTC)
        )
        source = KeyedSource(self._ids, self.fetching(reference_rows))
        for items in self.query(VirtualItems):
            items.empty = "No reference fits the filter. Escape clears it." if self._filter else _NOTHING
            items.set_source(source)
        self.query_one("#ref-table", VirtualTable).sort = (by, descending)
        self._write_line()
        if self._wanted:
            self.show_address(self._wanted)
        if not self._counted:
            self._counted = True
            self._counts = await session.call(reference_counts, session.reader, self._asset_id)
            self._usual = await session.call(finding_context, session.reader, self._asset_id)
            self._write_line()
            self._show_card()

    def show_address(self, address: str) -> None:
        """Put the cursor on a reference, once it was read when it is not there yet; of several with commas between them all are marked."""
        self._wanted = "" if self._ids else address
        if not self._ids:
            return
        found = [
            reference_at(self.session.reader, self._asset_id, one.rpartition("/")[2]) for one in address.split(",")
        ]
        keys = [key for key in found if key is not None]
        for items in self.query(VirtualItems):
            if len(keys) > 1:
                items.set_marks(keys)
            items.go_to(keys[0] if keys else None)

    def _write_line(self) -> None:
        counts = self._counts
        if counts is None:
            return
        shown = (
            f"{number(len(self._ids))} of {count_of(counts.active + counts.excluded, 'reference')}"
            if self._filter
            else count_of(len(self._ids), "reference")
        )
        parts = [Content.styled(shown, "$foreground")]
        parts += [
            Content.styled(f"{number(count)} {what}", style)
            for count, what, style in (
                (counts.held_out, "held out", ""),
                (counts.excluded, "excluded", ""),
                (counts.without_caption, "without a caption", "$warning"),
                (counts.without_rights, "without rights", "$warning"),
            )
            if count
        ]
        marks = len(self.items.marks)
        if marks:
            parts.append(Content.styled(f"◆ {number(marks)} marked", "$primary"))
        self.query_one("#ref-line", Static).update(Content("   ").join(parts), layout=False)

    def on_virtual_items_highlighted(self, event: VirtualItems.Highlighted) -> None:
        """Show it a moment later: a held key goes past many."""
        if event.control is not self.items:
            return
        if self._card is not None:
            self._card.stop()
        self._card = self.set_timer(_CARD_S, self._show_card)

    def _show_card(self) -> None:
        row = self.items.current
        for picture in self.query(Picture):
            picture.show(row.sha256 if row else None)
        self.query_one("#ref-facts", Static).update(reference_facts(row, self._usual) if row else Content(""))

    def on_virtual_items_marks_changed(self, _event: VirtualItems.MarksChanged) -> None:
        """Say how many."""
        self._write_line()

    def on_virtual_items_opened(self, event: VirtualItems.Opened) -> None:
        """Enter opens the picture in the system's viewer."""
        event.stop()
        self.action_viewer()

    def on_virtual_table_sort_requested(self, event: VirtualTable.SortRequested) -> None:
        """A click on the head of a column."""
        if event.column in _SORTS:
            self._set_sort(event.column, event.descending)

    def _set_sort(self, by: str, descending: bool) -> None:
        self._sort = (by, descending)
        self.film_app.state.put(str(self.session.root), "references.sort", [by, descending])
        self._search()

    def action_sort(self) -> None:
        """By the next criterion."""
        by = _SORTS[(_SORTS.index(self._sort[0]) + 1) % len(_SORTS)]
        self._set_sort(by, by in _DESCENDING)
        self.film_app.tell(f"Sorted by {by}.")

    def action_view(self) -> None:
        """Gallery or table."""
        switcher, current, marks = (
            self.query_one("#ref-middle", ContentSwitcher),
            self.items.current_key,
            self.items.marks,
        )
        switcher.current = "ref-table" if switcher.current == "ref-gallery" else "ref-gallery"
        self.items.set_marks(marks)
        self.items.go_to(current)
        self.items.focus()
        self.film_app.state.put(str(self.session.root), "references.gallery", switcher.current == "ref-gallery")

    def action_filter(self) -> None:
        """Write a filter."""
        field = self.query_one("#ref-filter", Input)
        field.display = True
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is written."""
        self._filter = event.value
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(_TYPING_S, self._search)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Back to the references, filtered."""
        event.stop()
        event.input.display = bool(event.value)
        self.items.focus()

    def clear_filter(self) -> bool:
        """What escape does first; says whether there was a filter."""
        field = self.query_one("#ref-filter", Input)
        if not field.display:
            return False
        field.value, field.display = "", False
        self.items.focus()
        return True


_NOTHING = "No references yet. i imports pictures; what lands in the asset's inbox comes by itself while the folder is watched."
