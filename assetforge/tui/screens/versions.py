"""The versions of an asset: their lineage with what was found and decided, the pictures of the one under the cursor, and what can be done about it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static

from assetforge.db.browse.lineage import (
    DecidingFigure,
    RenderedPicture,
    VersionSource,
    deciding_figures,
    newest_renders,
    version_sources,
)
from assetforge.db.browse.reader import Reader
from assetforge.db.browse.versions import VersionRow, version_rows
from assetforge.errors import AssetForgeError
from assetforge.tui.actions import bindings
from assetforge.tui.hints import in_words
from assetforge.tui.rereading import Rereading
from assetforge.tui.screens.version_actions import VersionActions
from assetforge.tui.screens.version_pictures import PAIRS, Pair, VersionPictures
from assetforge.tui.screens.version_texts import (
    VersionLine,
    columns_for,
    differing,
    is_quiet,
    short,
    version_cells,
    version_facts,
)
from assetforge.tui.widgets.items import VirtualItems
from assetforge.tui.widgets.lineage import Lineage, Stem, lineage_of
from assetforge.tui.widgets.sources import KeyedSource
from assetforge.tui.widgets.virtual_table import VirtualTable
from assetforge.tui.words import count_of, plain, strong

if TYPE_CHECKING:
    from assetforge.services.projects import Project
    from assetforge.services.reviews import WorstCell
    from assetforge.services.runs import RunInfo

__all__ = ["VersionsPane"]

_SETTLE_S = 0.12
_ROOMY = 120
"""From so many cells on the list shows intervals too."""

_PAGE = 32
"""Versions read at once on the way down: what a screen shows, within its 5 ms of reading."""

_NO_PICTURES = "enter compares it; R only renders it."
_NOTHING = "No version yet. t trains the first one; i imports a LoRA that was trained elsewhere."


class VersionsPane(VersionActions):
    """The fourth tab of an asset.

    Args:
        asset: Name of the asset.
        asset_id: Its row id.
    """

    SCOPE = "versions"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("versions")]
    HELP = """Versions, newest first. ● is the approved one, ◐ was compared and waits for a yes or no, ▲ lost against the approved one, ○ was not compared, ✕ was rejected.
    The line at the left of the names says what each goes on from; one that was trained on older references than the version before it stands on a branch.
    Mark two with space, and c compares those two."""
    # The screen says by its classes how wide it is.
    SCOPED_CSS = False
    DEFAULT_CSS = """
    VersionsPane {
        layout: horizontal;
        #versions-left { width: 1fr; }
        #versions-table { height: 1fr; }
        #versions-facts { height: auto; max-height: 40%; border-top: solid $border-blurred; padding: 0 1; }
        #versions-side { width: 38; border-left: solid $border-blurred; padding: 0 1; }
    }
    .-narrow VersionsPane #versions-side { width: 24; }
    .-wide VersionsPane #versions-side { width: 64; }
    """

    def __init__(self, asset: str, asset_id: int) -> None:
        super().__init__()
        self.asset, self._asset_id = asset, asset_id
        self._reread = Rereading(self._read)
        self._sources: dict[int, VersionSource] = {}
        self._lineage = Lineage({}, {}, 1)
        self._last_run, self._approved, self._intervals = 0, 0, False
        self._read_once = False
        self._wanted = ""
        self._settle: Timer | None = None
        self._worst_of: dict[int, tuple[list[WorstCell], str]] = {}
        self._runs: dict[int, RunInfo] = {}

    def compose(self) -> ComposeResult:
        """The list with what is known of one version below it; its pictures at the right."""
        app = self.film_app
        with Vertical(id="versions-left"):
            yield VirtualTable[VersionLine](
                columns_for(1),
                self._cells,
                empty=_NOTHING,
                dim=is_quiet,
                leave=("enter",),
                id="versions-table",
            )
            yield Static("", id="versions-facts", markup=False)
        yield VersionPictures(app.pictures, app.terminal_pictures, id="versions-side")

    def on_mount(self) -> None:
        """Read what there is."""
        self.query_one("#versions-facts").display = False
        self.film_changed()

    @property
    def _table(self) -> "VirtualTable[VersionLine]":
        return self.query_one("#versions-table", VirtualTable)

    @property
    def _line(self) -> VersionLine | None:
        return self._table.current

    def on_resize(self) -> None:
        """What has room."""
        self.call_after_refresh(self._set_columns)

    def _set_columns(self) -> None:
        table = self._table
        self._intervals = table.size.width >= _ROOMY
        columns = columns_for(self._lineage.width, self._last_run, intervals=self._intervals)
        if columns != table.columns:
            table.columns = columns

    def _cells(self, line: VersionLine) -> Sequence[Content | str]:
        return version_cells(line, intervals=self._intervals)

    # reading

    def film_changed(self) -> None:
        """Read the lineage again; rows follow as they come into view."""
        self.run_worker(self._reread(), group="read", exit_on_error=False)

    async def _read(self) -> None:
        session = self.session
        sources = await session.call(version_sources, session.reader, self._asset_id)
        self._lineage = await session.call(lineage_of, sources)
        self._sources = {one.number: one for one in sources}
        reader, ids = session.reader, [one.id for one in sources]
        self._approved = next((one.number for one in sources if one.approved), 0)
        # What verdicts and datasets say is remembered by the reader, so that drawing finds it.
        await session.call(self._fetch, reader, ids[:_PAGE])
        self._last_run = max((one.run for one in sources if one.run is not None), default=0)
        self._set_columns()
        source = KeyedSource(ids, self.fetching(self._fetch), page=_PAGE)
        self._table.set_source(source)
        self._read_once = True
        if not ids:
            self._show_nothing()
        if self._wanted:
            self.show_address(self._wanted)

    def _fetch(self, reader: Reader, keys: Sequence[int]) -> Mapping[int, VersionLine]:
        rows = version_rows(reader, keys)
        figures = deciding_figures(reader, [row.comparison for row in rows.values() if row.comparison is not None])
        return {key: self._line_of(row, figures.get(row.comparison or 0)) for key, row in rows.items()}

    def _line_of(self, row: VersionRow, figure: DecidingFigure | None) -> VersionLine:
        lineage, sources = self._lineage, self._sources
        origin = lineage.origins.get(row.number)
        source, before = sources.get(row.number), sources.get(origin) if origin is not None else None
        return VersionLine(
            row=row,
            stem=lineage.stems.get(row.number, Stem("", " " * (lineage.width - 1))),
            origin=origin,
            figure=figure,
            differs=differing(source, before) if source is not None else (),
            overtaken=row.number < self._approved,
        )

    def show_address(self, address: str) -> None:
        """Put the cursor on a version, once it was read when it is not there yet; ``mara@approved`` is the one that has the name."""
        self._wanted = "" if self._read_once else address
        if not self._read_once:
            return
        number = short(address).removeprefix("v")
        source = self._sources.get(int(number)) if number.isdecimal() else None
        if source is not None:
            self._table.go_to(source.id)

    # what is shown

    def on_virtual_items_highlighted(self, event: VirtualItems.Highlighted) -> None:
        """Words at once, pictures when the cursor rests: a held key goes past many."""
        event.stop()
        self._show_facts()
        if self._settle is not None:
            self._settle.stop()
        self._settle = self.set_timer(_SETTLE_S, self._show_more)

    def on_virtual_items_marks_changed(self, event: VirtualItems.MarksChanged) -> None:
        """Say what two marks are good for."""
        event.stop()
        self._show_facts()

    def _show_facts(self) -> None:
        line, facts = self._line, self.query_one("#versions-facts", Static)
        facts.display = line is not None
        if line is None:
            return
        found = version_facts(line, self._runs.get(line.row.run or 0))
        marks = len(self._table.marks)
        if marks:
            what = "c compares these two" if marks == 2 else "mark two, and c compares them"
            found = Content("\n").join(
                [found, Content.assemble((f"◆ {count_of(marks, 'version')} marked", "$primary"), (f"  {what}", "$dim"))]
            )
        facts.update(found)

    def _show_more(self) -> None:
        self.run_worker(self._read_more(), group="more", exclusive=True, exit_on_error=False)

    async def _read_more(self) -> None:
        line = self._line
        if line is None:
            self._show_nothing()
            return
        await self._show_pictures(line)
        run = line.row.run
        if run is not None and run not in self._runs:
            from assetforge.services.runs import get_run

            self._runs[run] = await self.session.run(get_run, run)
            self._show_facts()

    async def _show_pictures(self, line: VersionLine) -> None:
        row, shown = line.row, self.query_one(VersionPictures)
        name = Content.styled(short(row.address), "bold")
        if row.comparison is None:
            session = self.session
            renders = await session.call(newest_renders, session.reader, row.id, 2 * PAIRS)
            said = "newest renders" if renders else "no pictures yet"
            shown.show(_render_pairs(renders), _NO_PICTURES, head=Content.assemble(name, (f"  {said}", "$dim")))
            return
        if row.comparison not in self._worst_of:
            try:
                self._worst_of[row.comparison] = await self.session.run(_worst, row.comparison)
            except AssetForgeError as error:
                shown.show((), plain(in_words(error)), head=name)
                return
        cells, baseline = self._worst_of[row.comparison]
        other = short(baseline) or "base"
        head = Content.assemble(name, ("  against  ", "$dim"), strong(other), ("   worst cells", "$dim"))
        pairs = [
            Pair(
                (cell.pictures["new"], cell.pictures["baseline" if baseline else "control"]),
                (short(row.address), other),
                cell.prompt,
            )
            for cell in cells
        ]
        shown.show(pairs, "Every picture is the same in both.", head=head)

    def _show_nothing(self) -> None:
        self.query_one("#versions-facts", Static).display = False
        self.query_one(VersionPictures).show((), head=Content(""))

    # what actions work on

    def current_version(self) -> VersionRow | None:
        """The one under the cursor."""
        line = self._line
        return line.row if line is not None else None

    def marked_versions(self) -> list[VersionRow]:
        """The marked ones, newest first."""
        if not self._table.marks:
            return []
        keys = self._table.marked()
        rows = version_rows(self.session.reader, keys)
        return [rows[key] for key in keys if key in rows]

    def on_virtual_items_opened(self, event: VirtualItems.Opened) -> None:
        """A double click compares."""
        event.stop()
        self.action_compare()

    async def action_lineage(self) -> None:
        """All that it was made of."""
        from assetforge.tui.screens.version_lineage import LineageScreen

        row = self._one()
        if row is not None:
            await self.app.push_screen(LineageScreen(row.address, self._asset_id))


def _render_pairs(renders: Sequence[RenderedPicture]) -> list[Pair]:
    """Two by two, each with its prompt below it."""
    pairs = []
    for at in range(0, len(renders), 2):
        left, right = renders[at], renders[at + 1] if at + 1 < len(renders) else None
        pairs.append(
            Pair(
                (left.sha256, right.sha256 if right else ""),
                (left.prompt, right.prompt if right else ""),
            )
        )
    return pairs


def _worst(project: "Project", comparison_id: int) -> "tuple[list[WorstCell], str]":
    from assetforge.services.comparison_records import get_comparison
    from assetforge.services.reviews import worst_cells

    return worst_cells(project, comparison_id, PAIRS), get_comparison(project, comparison_id).baseline
