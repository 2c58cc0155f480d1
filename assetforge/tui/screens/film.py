"""The film's assets: what needs a person first, pictures in the middle, the chosen one at the right."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Input, OptionList
from textual.widgets.option_list import Option

from assetforge.tui.actions import bindings
from assetforge.tui.rereading import Rereading
from assetforge.tui.screens.asset_actions import AssetActions
from assetforge.tui.screens.asset_card import AssetCard
from assetforge.tui.screens.base import FilmScreen, acting, crumbs
from assetforge.tui.widgets.filter_problem import FilterProblem
from assetforge.tui.widgets.fitting import fitted
from assetforge.tui.widgets.items import ListSource, VirtualItems
from assetforge.tui.widgets.line_input import LineInput
from assetforge.tui.widgets.pictures_to_come import PicturesToCome
from assetforge.tui.widgets.virtual_gallery import Tile, VirtualGallery
from assetforge.tui.widgets.virtual_table import Column, VirtualTable
from assetforge.tui.words import ago, dim, number, plain, status, strong

# Whatever the first frame does not need is imported in the thread that reads: the frame comes that much sooner.
if TYPE_CHECKING:
    from assetforge.db.browse.assets import AssetCounts, AssetRow
    from assetforge.db.browse.reader import Reader

__all__ = ["AssetsScreen"]

_TYPING_S = 0.05
_SORTS = ("status", "name", "changed", "trained", "type", "refs", "version")
_NEEDS, _ASIDE = "needs you", "put aside"
_OURS = ("enter", "s")
_SMALL, _LARGE, _WIDE = (16, 8), (26, 13), 160

_COLUMNS = (
    Column("name", "asset", 0, minimum=12),
    Column("type", "type", 11, priority=4),
    Column("status", "status", 13),
    Column("version", "newest", 8, priority=1),
    Column("approved", "approved", 8, priority=2),
    Column("refs", "references", 12, "right", priority=3),
    Column("dataset", "dataset", 8, priority=5),
    Column("changed", "changed", 14, "right", priority=6),
)


def _short(address: str) -> str:
    return address.rpartition("/")[2]


def _state(row: "AssetRow") -> Content:
    return dim(f"· {_ASIDE}") if row.archived else status(row.status)


def _versions(row: "AssetRow") -> Content:
    """``◐ v7  ● v6``: the newest version and, where it is another, the approved one."""
    if row.archived:
        return _state(row)
    if row.status == "running" and row.progress is not None:
        return status("running", word=f"{row.progress:.0%}")
    newest = status(row.status, word=_short(row.latest) or row.status)
    if row.approved and row.approved != row.latest:
        return Content("  ").join([newest, status("approved", word=_short(row.approved))])
    return newest


def _tile(row: "AssetRow") -> Tile:
    return Tile(row.picture, strong(plain(row.name)), [_versions(row)])


def _cells(row: "AssetRow") -> Sequence[Content | str]:
    return (
        strong(plain(row.name)),
        dim(plain(row.type)),
        _state(row),
        _short(row.latest) or "–",
        status("approved", word=_short(row.approved)) if row.approved else dim("–"),
        Content.assemble(number(row.references), (f"  +{row.unfrozen}" if row.unfrozen else "", "$warning")),
        _short(row.dataset) or "–",
        dim(ago(row.changed_at)),
    )


class AssetsScreen(AssetActions, FilmScreen):
    """The film: filters at the left, assets in the middle, one of them in full at the right."""

    SCOPE = "film"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("film")]
    HELP = """The film's assets. Write `type:character status:review tag:rain trained:<7d` into the filter, or any word of a name;
    a minus before a word excludes it. Space marks several; train, freeze and archive then work on all of them."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[AssetRow] = []
        self._shown: list[AssetRow] = []
        self._counts: AssetCounts | None = None
        self._filter, self._sort = "", ("status", False)
        self._reread = Rereading(self._read)
        self._queries: list[str] = []
        self._asked = 0
        self._typing: Timer | None = None
        self._card_timer: Timer | None = None
        self._restored = False

    def content(self) -> Iterable[Widget]:
        """Three panes; the outer two go when the terminal is narrow."""
        yield LineInput(placeholder="type:character status:review tag:rain trained:<7d", id="filter")
        yield FilterProblem(id="filter-problem")
        with Horizontal(id="panes"):
            yield OptionList(id="groups", compact=True, markup=False)
            with ContentSwitcher(initial="gallery", id="middle"):
                yield VirtualGallery(
                    _tile,
                    None,
                    tile_width=_SMALL[0],
                    picture_height=_SMALL[1],
                    lines=2,
                    opening="Opening the film …",
                    leave=_OURS,
                    id="gallery",
                )
                yield VirtualTable(
                    _COLUMNS,
                    _cells,
                    opening="Opening the film …",
                    dim=lambda row: row.archived,
                    leave=_OURS,
                    id="table",
                )
            with Vertical(id="side"):
                yield AssetCard(id="card")

    def place(self) -> Content:
        """The film, and what the filter says."""
        found = crumbs(self.film_app.film_title or "opening …", "assets")
        if self._filter:
            found = Content.assemble(found, "    ", (plain(self._filter, 60), "$primary"))
        if self._rows:
            shown = f"    {len(self._shown)}" + (
                f" of {len(self._rows)}" if len(self._shown) != len(self._rows) else ""
            )
            found = Content.assemble(found, (shown, "not bold $dim"))
        marks = len(self.items.marks) if self._shown else 0
        if marks:
            found = Content.assemble(found, (f"    ◆ {marks} marked", "not bold $primary"))
        return found

    def on_mount(self) -> None:
        """Focus the assets; read them when the film is open."""
        self.query_one("#filter").display = False
        self.items.focus()

    @property
    def items(self) -> "VirtualItems[AssetRow]":
        """The gallery or the table, whichever is shown."""
        return self.query_one(f"#{self.query_one('#middle', ContentSwitcher).current}", VirtualItems)

    def film_changed(self) -> None:
        """Read all assets again; there are few hundred of them."""
        self.run_beside(self._reread.read, group="read")

    async def _read(self) -> None:
        session = self.session
        if not self._restored:
            await self._restore()
        self._rows, self._counts = await session.call(_read_assets, session.reader)
        await self._apply()

    def begin_anew(self) -> None:
        """Another film is open."""
        self._restored, self._rows, self._shown = False, [], []
        self._set_filter("")
        for items in self.query(VirtualItems):
            items.empty = items.opening
            items.set_source(ListSource(_NONE, key=id), keep=False)

    async def _restore(self) -> None:
        self._restored = True
        state, key = self.film_app.state, str(self.session.root)
        sort = state.get(key, "assets.sort", ["status", False])
        if isinstance(sort, list) and len(sort) == 2 and sort[0] in _SORTS:
            self._sort = (sort[0], bool(sort[1]))
        gallery = state.get(key, "assets.gallery", self.film_app.preferences.gallery)
        self.query_one("#middle", ContentSwitcher).current = "gallery" if gallery else "table"
        if self.film_app.pictures is not None:
            await self.pictures_came()
        elif self.film_app.terminal_pictures.protocol != "off":
            self.query_one("#gallery", VirtualGallery).pictures = PicturesToCome()
        if self.focused is None or self.focused.id in ("gallery", "table"):
            self.items.focus()

    async def pictures_came(self) -> None:
        """Draw them."""
        pictures = self.film_app.pictures
        self.query_one("#gallery", VirtualGallery).pictures = pictures
        await self.query_one("#card", AssetCard).prepare(pictures, self.film_app.terminal_pictures)
        if self._rows:
            self._show_card()

    async def _apply(self) -> None:
        """Filter, sort and show what was read, unless something else was asked for meanwhile."""
        session = self.session
        self._asked += 1
        asked = self._asked
        found, problems = await session.call(_select, session.reader, self._rows, self._filter, self._sort)
        if asked != self._asked:
            return
        self._shown = found
        self.query_one(FilterProblem).say(problems)
        empty = "No asset fits the filter. Escape clears it." if self._filter else _NOTHING
        source = ListSource(self._shown, key=lambda row: row.id)
        for items in self.query(VirtualItems):
            items.empty = empty
            items.set_source(source)
        self.query_one("#table", VirtualTable).sort = self._sort
        self._write_groups()
        self.show_place()
        self._show_card()

    def on_resize(self) -> None:
        """Larger pictures where there is room, until somebody chooses a size."""
        size = _LARGE if self.app.size.width >= _WIDE else _SMALL
        gallery = self.query_one("#gallery", VirtualGallery)
        if gallery.tile_size in (_LARGE, _SMALL):
            gallery.tile_size = size
        if self._rows:
            self.call_after_refresh(self._write_groups)

    def _write_groups(self) -> None:
        groups = self.query_one("#groups", OptionList)
        counts = self._counts
        if counts is None:
            return
        entries = [(_NEEDS, counts.attention, "status:review,regressed,failed"), ("all", counts.all, "")]
        entries += [(f"{plain(kind)}s", count, f"type:{kind}") for kind, count in sorted(counts.by_type.items())]
        saved = self.film_app.state.get(str(self.session.root), "assets.filters", {})
        wanted = [(title, count, query, False) for title, count, query in entries]
        kept = [(plain(name), -1, str(query), True) for name, query in sorted(saved.items())]
        if counts.archived:
            wanted.append((_ASIDE, counts.archived, "archived:yes", False))
        prompts: list[Option] = []
        wanted += kept
        self._queries = [query for _title, _count, query, _own in wanted]
        room = max(8, (groups.content_size.width or 18) - 4)
        for at, (title, count, query, own) in enumerate(wanted):
            if own and not wanted[at - 1][3]:
                prompts.append(Option(dim("\nsaved filters"), disabled=True))
            figure = (
                Content.styled(f"{count:>4}", "$warning" if title == _NEEDS and count else "$dim")
                if count >= 0
                else Content("")
            )
            chosen = "bold" if query == self._filter else ""
            prompts.append(Option(Content.assemble((fitted(title, room), chosen), figure), id=f"q{at}"))
        before = groups.highlighted
        groups.clear_options()
        groups.add_options(prompts)
        groups.highlighted = before

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A group at the left is a filter."""
        if event.option_id:
            self._set_filter(self._queries[int(event.option_id[1:])])
            self.items.focus()

    def on_virtual_items_highlighted(self, event: VirtualItems.Highlighted) -> None:
        """Show the card a moment later, so that a held key does not make it flicker."""
        if event.control is not self.items:
            return
        if self._card_timer is not None:
            self._card_timer.stop()
        self._card_timer = self.set_timer(0.06, self._show_card)

    def on_virtual_items_marks_changed(self, _event: VirtualItems.MarksChanged) -> None:
        """Say how many."""
        self.show_place()

    def _show_card(self) -> None:
        self.query_one("#card", AssetCard).show(self.items.current)

    def on_virtual_items_opened(self, event: VirtualItems.Opened) -> None:
        """Enter or a double click."""
        event.stop()
        self.action_open()

    def on_virtual_table_sort_requested(self, event: VirtualTable.SortRequested) -> None:
        """A click on the head of a column."""
        by = {"approved": "version", "dataset": "changed"}.get(event.column, event.column)
        self._set_sort(by, event.descending)

    def _set_sort(self, by: str, descending: bool) -> None:
        self._sort = (by, descending)
        self.film_app.state.put(str(self.session.root), "assets.sort", [by, descending])
        self.run_beside(self._apply, group="apply", exclusive=True)

    def action_sort(self) -> None:
        """By the next criterion."""
        by = _SORTS[(_SORTS.index(self._sort[0]) + 1) % len(_SORTS)]
        self._set_sort(by, by in ("changed", "trained", "refs"))
        self.film_app.tell(f"Sorted by {'what needs you' if by == 'status' else by}.")

    def action_view(self) -> None:
        """Gallery or table, the cursor stays on its asset."""
        switcher, current, marks = (
            self.query_one("#middle", ContentSwitcher),
            self.items.current_key,
            self.items.marks,
        )
        switcher.current = "table" if switcher.current == "gallery" else "gallery"
        self.items.set_marks(marks)
        self.items.go_to(current)
        self.items.focus()
        self.film_app.state.put(str(self.session.root), "assets.gallery", switcher.current == "gallery")

    def action_filter(self) -> None:
        """Write a filter."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is written."""
        if event.input.id == "filter":
            self._filter = event.value
            if self.film_app.session is None:
                # It counts as soon as the film is open.
                return
            if self._typing is not None:
                self._typing.stop()
            self._typing = self.set_timer(
                _TYPING_S, lambda: self.run_beside(self._apply, group="apply", exclusive=True)
            )

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Back to the assets, filtered."""
        if event.input.id == "filter":
            event.input.display = bool(event.value)
            self.items.focus()

    def _set_filter(self, query: str) -> None:
        field = self.query_one("#filter", Input)
        field.value, field.display = query, bool(query)
        if field.value == self._filter == query:
            return
        self._filter = query
        self.run_beside(self._apply, group="apply", exclusive=True)

    @acting
    async def action_keep_filter(self) -> None:
        """Keep what the filter says under a name; an empty name forgets it."""
        if not self._filter:
            self.film_app.tell("Write a filter first.")
            return
        from assetforge.tui.screens.dialogs import TextDialog

        name = await self.app.push_screen_wait(
            TextDialog(
                "Keep this filter as",
                Content(f"{plain(self._filter, 200)}\nAn empty name forgets it."),
                placeholder="off-model",
                empty=True,
            )
        )
        if isinstance(name, str):
            key = str(self.session.root)
            kept = self.film_app.state.get(key, "assets.filters", {})
            if plain(name):
                kept[plain(name)] = self._filter
            else:
                kept = {known: query for known, query in kept.items() if query != self._filter}
            self.film_app.state.put(key, "assets.filters", kept)
            self._write_groups()

    def clear_filter(self) -> bool:
        """What escape does first; says whether there was a filter."""
        field = self.query_one("#filter", Input)
        if not self._filter and not field.display:
            return False
        self._set_filter("")
        field.display = False
        self.items.focus()
        return True

    def chosen(self) -> "list[AssetRow]":
        """The marked assets, or the one under the cursor."""
        marked = set(self.items.marked())
        return [row for row in self._shown if row.id in marked]


_NOTHING = "No assets yet. n adds a character, prop or style; pictures come with i."

_NONE: "list[AssetRow]" = []


def _read_assets(reader: "Reader") -> "tuple[list[AssetRow], AssetCounts]":
    from assetforge.db.browse.assets import asset_counts, asset_table

    rows = asset_table(reader)
    return rows, asset_counts(rows)


def _select(
    reader: "Reader", rows: "list[AssetRow]", text: str, sort: tuple[str, bool]
) -> "tuple[list[AssetRow], tuple[str, ...]]":
    """The assets that a filter finds, sorted, and what of the filter was not understood."""
    from assetforge.db.browse.assets import select_assets, sort_assets
    from assetforge.domain.search_language import ASSET_FIELDS, parse_search

    search = parse_search(text, ASSET_FIELDS)
    return sort_assets(select_assets(reader, rows, search, datetime.now(UTC)), *sort), search.problems
