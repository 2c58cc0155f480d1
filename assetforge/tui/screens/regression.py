"""The comparisons of an asset, newest first, with the worst cells of the one under the cursor."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.timer import Timer

from assetforge.db.browse.comparisons import ComparisonRow, comparisons_of
from assetforge.tui.actions import bindings
from assetforge.tui.rereading import Rereading
from assetforge.tui.screens.base import Pane, acting
from assetforge.tui.screens.version_pictures import PAIRS, Pair, VersionPictures
from assetforge.tui.widgets.items import VirtualItems
from assetforge.tui.widgets.sources import ListSource
from assetforge.tui.widgets.virtual_table import Column, VirtualTable
from assetforge.tui.words import ago, dim, plain, signed, status, strong

if TYPE_CHECKING:
    from assetforge.services.projects import Project
    from assetforge.services.reviews import WorstCell
    from assetforge.tui.screens.compare_facts import Progress

__all__ = ["RegressionPane"]

_SETTLE_S = 0.12
_PROGRESS_S = 1.0

_COLUMNS = (
    Column("version", "version", 8, sortable=False),
    Column("baseline", "against", 7, sortable=False, priority=1),
    Column("verdict", "verdict", 15, sortable=False),
    Column("headline", "what it says", 0, sortable=False, minimum=12, priority=4),
    Column("suite", "suite", 18, sortable=False, priority=5),
    Column("when", "when", 15, "right", sortable=False, minimum=11, priority=2),
)
_APPROVED = Content.styled("●", "$success")
_NOTHING = "No version of this asset was compared yet. In Versions, enter compares one with the approved version."


def _short(address: str) -> str:
    return address.rpartition("/")[2]


class RegressionPane(Pane):
    """The tab of an asset.

    Args:
        asset: Name of the asset.
        asset_id: Its row id.
    """

    SCOPE = "regression"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("regression")]
    HELP = """Comparisons of the asset's versions, newest first. Enter shows the pictures; m asks for more prompts where a verdict was left open, and tries again
    what failed."""
    # The screen says by its classes how wide it is.
    SCOPED_CSS = False
    DEFAULT_CSS = """
    RegressionPane {
        layout: horizontal;
        #comparisons { width: 1fr; }
        #worst { width: 46; border-left: solid $border-blurred; padding: 0 1; }
        #worst #pictures-head { max-height: 5; }
    }
    .-narrow RegressionPane #worst { width: 36; }
    .-wide RegressionPane #worst { width: 64; }
    """

    def __init__(self, asset: str, asset_id: int) -> None:
        super().__init__()
        self.asset, self._asset_id = asset, asset_id
        self._listed: list[ComparisonRow] = []
        self._jobs: dict[int, tuple[Progress, ...]] = {}
        self._wanted = ""
        self._settle: Timer | None = None
        self._ticking: Timer | None = None
        self._worst_of: dict[int, list[WorstCell]] = {}
        self._reread = Rereading(self._read)

    def compose(self) -> ComposeResult:
        """The list, and pairs of pictures."""
        app = self.film_app
        yield VirtualTable[ComparisonRow](
            _COLUMNS, self._cells, empty=_NOTHING, marking=False, leave=("enter",), id="comparisons"
        )
        yield VersionPictures(app.pictures, app.terminal_pictures, id="worst")

    def on_mount(self) -> None:
        """Read the list."""
        self.film_changed()

    def film_changed(self) -> None:
        """Read the list again."""
        self.run_worker(self._reread(), group="read", exit_on_error=False)

    async def _read(self) -> None:
        self._listed = await self.session.call(comparisons_of, self.session.reader, self._asset_id)
        table = self.query_one("#comparisons", VirtualTable)
        source = ListSource(self._listed, _number)
        table.set_source(source)
        if self._wanted:
            self.show_address(self._wanted)
        busy = any(row.jobs for row in self._listed)
        if busy and self._ticking is None:
            # How far a job is stands in its folder; the database says only when it ends.
            self._ticking = self.set_interval(_PROGRESS_S, self._tick)
            self._tick()
        elif not busy and self._ticking is not None:
            self._ticking.stop()
            self._ticking = None

    def _tick(self) -> None:
        async def look() -> None:
            from assetforge.tui.screens.compare_facts import read_progress

            jobs = {row.id: row.jobs for row in self._listed if row.jobs}
            found = {number: await self.session.run(read_progress, ids) for number, ids in jobs.items()}
            if found != self._jobs:
                self._jobs = found
                self.query_one("#comparisons", VirtualTable).refresh_items()
                self._show_head()

        if self.is_on_screen:
            self.run_worker(look(), group="progress", exclusive=True, exit_on_error=False)

    def show_address(self, address: str) -> None:
        """Put the cursor on the newest comparison of a version, or on one by its number."""
        self._wanted = "" if self._listed else address
        at = next((at for at, row in enumerate(self._listed) if address in (row.version, str(row.id))), None)
        if at is not None:
            self.query_one("#comparisons", VirtualTable).cursor = at

    # what is shown

    def _cells(self, row: ComparisonRow) -> Sequence[Content | str]:
        now = _APPROVED if row.approved else Content("")
        against = Content(_short(row.baseline)) if row.baseline else dim("base")
        if row.baseline_approved:
            against = Content.assemble(against, " ", _APPROVED)
        return (
            Content.assemble((_short(row.version), "bold"), " ", now),
            against,
            self._verdict(row),
            _says(row),
            dim(plain(row.suite, 40)),
            dim(ago(row.created_at)),
        )

    def _verdict(self, row: ComparisonRow) -> Content:
        if row.jobs:
            jobs = self._jobs.get(row.id, ())
            step, total = sum(job.step for job in jobs), sum(job.total for job in jobs)
            running = any(job.state != "queued" for job in jobs)
            return (
                status("running", word=f"{step} of {total}")
                if running and total
                else status("running" if running else "waiting")
            )
        if row.word == "no verdict":
            return Content.styled("○ first version" if not row.baseline else "○ no verdict", "$secondary")
        return status(row.word)

    @property
    def _current(self) -> ComparisonRow | None:
        found = self.query_one("#comparisons", VirtualTable).current
        return found if isinstance(found, ComparisonRow) else None

    def on_virtual_items_highlighted(self, event: VirtualItems.Highlighted) -> None:
        """Show the worst cells once the cursor rests."""
        event.stop()
        self._show_head()
        if self._settle is not None:
            self._settle.stop()
        self._settle = self.set_timer(_SETTLE_S, self._show_worst)

    def _show_head(self) -> None:
        row = self._current
        if row is None:
            self._worst.say(Content(""))
            return
        first = Content.assemble(
            strong(_short(row.version)), ("  against  ", "$dim"), strong(_short(row.baseline) or "the bare base")
        )
        said = Content(plain(row.error or row.headline, 200))
        self._worst.say(Content("\n").join([Content.assemble(first, "   ", self._verdict(row)), said]))

    @property
    def _worst(self) -> VersionPictures:
        return self.query_one("#worst", VersionPictures)

    def _show_worst(self) -> None:
        self.run_worker(self._read_worst(), group="worst", exclusive=True, exit_on_error=False)

    async def _read_worst(self) -> None:
        row = self._current
        cells: list[WorstCell] = []
        if row is not None and row.state == "succeeded":
            known = self._worst_of.get(row.id)
            cells = known if known is not None else await self.session.run(_worst, row.id)
            self._worst_of[row.id] = cells
        names = (_short(row.version), _short(row.baseline) or "base") if row is not None else ("", "")
        other = "baseline" if row is not None and row.baseline else "control"
        pairs = [Pair((cell.pictures["new"], cell.pictures[other]), names, cell.prompt) for cell in cells]
        waits = row is not None and row.state == "queued"
        self._worst.show(pairs, "Enter shows what it waits for." if waits else "")

    # actions

    def _chosen(self) -> ComparisonRow | None:
        row = self._current
        if row is None:
            self.film_app.tell("There is no comparison yet; in Versions, enter compares one.")
        return row

    async def on_virtual_items_opened(self, event: VirtualItems.Opened) -> None:
        """A double click opens it too."""
        event.stop()
        await self.action_open()

    async def action_open(self) -> None:
        """Its pictures."""
        row = self._chosen()
        if row is not None:
            from assetforge.tui.screens.compare import CompareScreen

            await self.app.push_screen(CompareScreen(row.id))

    @acting
    async def action_report(self) -> None:
        """The report for everybody else."""
        row = self._chosen()
        if row is not None:
            from assetforge.tui.screens.compare_opening import open_report

            await open_report(self.film_app, self.session, row.id)

    @acting
    async def action_more(self) -> None:
        """More prompts, or once more what failed."""
        row = self._chosen()
        if row is not None:
            from assetforge.tui.screens.compare_opening import ask_for_more

            found = await ask_for_more(self.film_app, self.session, row.id)
            if found is not None:
                self.film_app.tell(f"Comparison {found} is asked for.")


def _says(row: ComparisonRow) -> Content:
    """The figures of the metric that decided, else a sentence."""
    if row.error or row.effect is None:
        return dim(plain(row.error or row.headline, 300))
    between = f" [{signed(row.low, 3)}, {signed(row.high, 3)}]" if row.low is not None and row.high is not None else ""
    more = f"  {plain(row.metric)}, {row.prompts} prompts" + (", second look" if row.extends else "")
    return Content.assemble(signed(row.effect, 3), (f"{between}{more}", "$dim"))


def _number(row: ComparisonRow) -> int:
    return row.id


def _worst(project: "Project", comparison_id: int) -> "list[WorstCell]":
    from assetforge.services.reviews import worst_cells

    return worst_cells(project, comparison_id, PAIRS)
