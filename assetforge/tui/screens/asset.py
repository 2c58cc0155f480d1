"""One asset: six tabs, from its references to what happened to it. A tab is made when it is first opened."""

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content
from textual.style import Style
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Static

from assetforge.db.browse.assets import AssetRow, asset_table
from assetforge.tui.actions import bindings
from assetforge.tui.loading import load
from assetforge.tui.rereading import Rereading
from assetforge.tui.screens.base import FilmScreen, Pane, acting, crumbs
from assetforge.tui.widgets.items import VirtualItems
from assetforge.tui.words import plain, status

__all__ = ["TABS", "AssetScreen"]

TABS = (
    ("references", "References", "assetforge.tui.screens.references:ReferencesPane"),
    ("captions", "Captions", "assetforge.tui.screens.captions:CaptionsPane"),
    ("datasets", "Datasets", "assetforge.tui.screens.datasets:DatasetsPane"),
    ("versions", "Versions", "assetforge.tui.screens.versions:VersionsPane"),
    ("regression", "Regression", "assetforge.tui.screens.regression:RegressionPane"),
    ("activity", "Activity", "assetforge.tui.screens.happened:ActivityPane"),
)
"""Every pane is made with ``Pane(asset_name, asset_id)`` and may offer ``show_address(address)``."""


class AssetScreen(FilmScreen):
    """One asset of the film.

    Args:
        name: Name of the asset.
        tab: The tab to begin with; empty takes the one that was open last.
        address: What to put the cursor on in that tab, such as ``mara/v7``.
    """

    SCOPE = "asset"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("asset")]
    HELP = "One asset of the film. 1 to 6 change the tab; esc goes back to all assets."

    def __init__(self, name: str, tab: str = "", address: str = "") -> None:
        super().__init__()
        self.asset, self._tab, self._address = name, tab, address
        self._row: AssetRow | None = None
        self._reread = Rereading(self._read)

    def content(self) -> Iterable[Widget]:
        """The tabs' names and the open tab."""
        tabs = Static("", id="tabs", markup=False)
        tabs.auto_links = False
        yield tabs
        yield ContentSwitcher(id="tab")

    def place(self) -> Content:
        """Film, asset, its state."""
        found = crumbs(self.film_app.film_title, plain(self.asset))
        if self._row is None:
            return found
        trigger = f"   {plain(self._row.type)} · trigger {plain(self._row.trigger)}"
        return Content.assemble(found, "   ", status(self._row.status), (trigger, "not bold $dim"))

    def on_mount(self) -> None:
        """Find the asset, then open the tab."""
        self.run_beside(self._begin)

    async def _begin(self) -> None:
        await self._reread()
        if self._row is None:
            self.film_app.tell(f"There is no asset {self.asset} any more.", severity="warning")
            if self.is_current:
                self.dismiss()
            return
        kept = self.film_app.state.get(str(self.session.root), "asset.tab", "references")
        known = {tab for tab, _title, _load in TABS}
        await self.show_tab(self._tab or (kept if kept in known else "references"), self._address)

    async def _read(self) -> None:
        rows = await self.session.call(asset_table, self.session.reader)
        self._row = next((row for row in rows if row.name == self.asset), None)
        self.show_place()
        self._write_tabs()

    def film_changed(self) -> None:
        """Figures of the tabs, and the tab that is open."""
        self.run_beside(self._reread.read, group="read")
        pane = self.pane
        if pane is not None:
            pane.film_changed()

    @property
    def pane(self) -> Pane | None:
        """The tab that is open."""
        # It is told of changes before it is composed.
        current = next((one.current for one in self.query("#tab").results(ContentSwitcher)), None)
        return self.query_one(f"#{current}", Pane) if current else None

    def clear_filter(self) -> bool:
        """What escape does first, in the tab that is open; says whether there was a filter."""
        return bool(getattr(self.pane, "clear_filter", bool)())

    def _write_tabs(self) -> None:
        room = self.size.width - 2
        for counted, gap in ((True, " "), (True, ""), (False, "")):
            line = Content(gap).join(self._tab_names(counted=counted))
            if line.cell_length <= room:
                break
        self.query_one("#tabs", Static).update(line)

    def _tab_names(self, *, counted: bool) -> list[Content]:
        row, current = self._row, self.query_one("#tab", ContentSwitcher).current
        counts = {"references": row.references, "versions": row.versions} if row and counted else {}
        parts = []
        for at, (tab, title, _load) in enumerate(TABS, start=1):
            count = f" {counts[tab]:,}" if tab in counts else ""
            style = "bold $primary" if tab == current else "$dim"
            part = Content.assemble((f"{at} ", "$dim"), (f"{title}{count}", style))
            if tab == current:
                part = Content.assemble(("[", "$primary"), part, ("]", "$primary"))
            else:
                part = Content.assemble(" ", part, " ")
            parts.append(part.stylize(Style.from_meta({"@click": f"screen.tab_{at}"})))
        return parts

    def on_resize(self) -> None:
        """The names of the tabs in as much room as there is."""
        self._write_tabs()

    async def show_tab(self, tab: str, address: str = "") -> None:
        """Open a tab, and put its cursor on something."""
        switcher = self.query_one("#tab", ContentSwitcher)
        if self._row is None:
            return
        fresh = not self.query(f"#tab > #{tab}")
        if fresh:
            target = next(where for name, _title, where in TABS if name == tab)
            pane: Pane = load(target)(self.asset, self._row.id)
            pane.id = tab
            # Drawn once: on a slow line every frame costs a moment.
            async with self.batch():
                await switcher.add_content(pane, id=tab)
                switcher.current = tab
        switcher.current = tab
        self._write_tabs()
        self.film_app.state.put(str(self.session.root), "asset.tab", tab)
        shown = self.query_one(f"#tab > #{tab}", Pane)
        if not fresh:
            shown.film_changed()
        self.call_after_refresh(self._focus_list, shown)
        if address and (show := getattr(shown, "show_address", None)):
            show(address)

    def _focus_list(self, pane: Pane) -> None:
        """The keys go to the list of a tab, not to a field that happens to stand first."""
        found = next((one for one in pane.query(VirtualItems) if one.focusable), None)
        if found is not None:
            found.focus()

    async def action_tab_1(self) -> None:
        """References."""
        await self.show_tab("references")

    async def action_tab_2(self) -> None:
        """Captions."""
        await self.show_tab("captions")

    async def action_tab_3(self) -> None:
        """Datasets."""
        await self.show_tab("datasets")

    async def action_tab_4(self) -> None:
        """Versions."""
        await self.show_tab("versions")

    async def action_tab_5(self) -> None:
        """Comparisons."""
        await self.show_tab("regression")

    async def action_tab_6(self) -> None:
        """What happened."""
        await self.show_tab("activity")

    @acting
    async def action_train(self) -> None:
        """By a form."""
        from assetforge.tui.screens.new_run import NewRunScreen

        await self.app.push_screen(NewRunScreen(self.asset))
