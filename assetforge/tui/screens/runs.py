"""Runs: what works on which device, what waits and why, what ended, and beside it one of them as it goes."""

import time
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget

from assetforge.db.browse.jobs import QueueRow, queue_rows
from assetforge.errors import AssetForgeError
from assetforge.tui.actions import bindings
from assetforge.tui.screens.base import FilmScreen, acting, crumbs, reading
from assetforge.tui.screens.run_actions import RunActions
from assetforge.tui.screens.run_facts import Device, Follow, RunFacts, devices, look_at, run_facts
from assetforge.tui.screens.run_follow import RunFollow, View
from assetforge.tui.screens.run_words import about, is_open, named, place_of, state_of, subject_of, why_it_waits
from assetforge.tui.widgets.items import ListSource, VirtualItems
from assetforge.tui.widgets.virtual_table import Column, VirtualTable
from assetforge.tui.words import dim, plain

__all__ = ["RunsScreen"]

_LOOK_S = 0.25
_LOOKS_A_ROW = 4
"""The list is drawn anew at every fourth look only: it is many lines, and nobody reads so fast."""

_DEVICES_S = 5.0
_COMING_S = 10.0
_SETTLE_S = 0.06
_MOST_ROWS = 500
_BESIDES = 2
"""Other running jobs that are looked at besides the followed one; they take turns."""

_OURS = ("enter",)
_NOTHING = "Nothing was ever queued here. n starts a run from a form."
_NOTHING_OPEN = "Nothing runs and nothing waits. n starts a run from a form, f shows what ended."

_COLUMNS = (
    Column("state", "state", 11, sortable=False),
    Column("run", "run", 7, sortable=False),
    Column("subject", "what", 0, sortable=False, minimum=12, priority=1),
    Column("about", "how far, or why not", 0, sortable=False, minimum=24),
    Column("where", "where, who, when", 16, sortable=False, priority=2),
)


class RunsScreen(RunActions, FilmScreen):
    """The queue at the left, the followed job at the right; on a narrow terminal the queue above, one line of the job below."""

    SCOPE = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("runs")]
    HELP = """\
What runs stands first, by device; then what waits, in the order in which it will run; then what ended. Enter follows a job alone: its curves, its log, the pictures it
makes, and of a run that ended what it was made of. Space marks several jobs; stop, cancel, resume and priority then work on all of them.
"""
    DEFAULT_CSS = """
    RunsScreen {
        #runs-panes { height: 1fr; }
        #runs-left { width: 11fr; height: 1fr; padding: 0 1 0 0; }
        #runs-right { width: 9fr; height: 1fr; border-left: solid $border-blurred; padding: 0 1; }
        &.-nothing #runs-right { display: none; }
        &.-alone #runs-left { display: none; }
        &.-alone #runs-right { border-left: none; }
        &.-wide #runs-right { width: 10fr; }
        &.-narrow #runs-panes { layout: vertical; }
        &.-narrow #runs-left { width: 1fr; padding: 0; }
        &.-narrow #runs-right { width: 1fr; height: auto; max-height: 9; border-left: none; border-top: solid $border-blurred; }
        &.-narrow RunFollow { height: auto; }
        &.-narrow #follow-body { display: none; }
        &.-narrow.-alone #runs-right { height: 1fr; max-height: 100%; border-top: none; }
        &.-narrow.-alone RunFollow { height: 1fr; }
        &.-narrow.-alone #follow-body { display: block; }
        &.-low #follow-rate { display: none; }
        &.-low #follow-body, &.-low #follow-log, &.-low #follow-facts { margin-top: 0; }
        &.-alone.-wide #follow-body { layout: horizontal; }
        &.-alone.-wide #follow-seen { width: 3fr; height: 1fr; }
        &.-alone.-wide #follow-said { width: 2fr; height: 1fr; margin-left: 3; }
        &.-alone.-wide #follow-rate { height: 10; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[QueueRow] = []
        self._read_once = self._again = self._reading = self._looking = False
        self._attended, self._coming = True, 0.0
        self._finished = True
        self._devices: list[Device] = []
        self._follows: dict[int, Follow] = {}
        self._ended: dict[int, str] = {}
        self._facts: dict[int, tuple[str, RunFacts]] = {}
        self._wanted = 0
        self._turn = 0
        self._progress: dict[int, int] = {}
        self._clocks: list[Timer] = []
        self._settling: Timer | None = None

    def content(self) -> Iterable[Widget]:
        """Queue and job."""
        with Horizontal(id="runs-panes"):
            with Vertical(id="runs-left"):
                yield VirtualTable[QueueRow](
                    _COLUMNS,
                    self._cells,
                    opening="Opening …",
                    dim=lambda row: not is_open(row) and row.state != "failed",
                    leave=_OURS,
                    id="runs-table",
                )
            with Vertical(id="runs-right"):
                yield RunFollow(id="follow")

    def place(self) -> Content:
        """The film, the word, and the devices."""
        found = crumbs(self.film_app.film_title, "runs")
        row = self._table.current if self.is_alone else None
        if row is not None:
            found = crumbs(self.film_app.film_title, "runs", named(row))
        parts = [
            Content.assemble(("    ", ""), (one.name, "not bold $dim"), (f"  {one.figures}", "not bold"))
            for one in self._devices
        ]
        return Content("").join([found, *parts])

    def on_mount(self) -> None:
        """Read the queue; look at what runs again and again."""
        self.add_class("-nothing")
        self._table.focus()
        self._clocks = [
            self.set_interval(_LOOK_S, self._tick),
            self.set_interval(_DEVICES_S, self._look_at_devices),
        ]
        self._look_at_devices()
        if self.film_app.session is not None and self.film_app.session.is_open:
            self.film_changed()

    def on_screen_suspend(self) -> None:
        """Nobody looks."""
        for timer in self._clocks:
            timer.pause()

    def on_screen_resume(self) -> None:
        """Somebody looks again."""
        for timer in self._clocks:
            timer.resume()

    @property
    def _table(self) -> "VirtualTable[QueueRow]":
        return self.query_one("#runs-table", VirtualTable)

    @property
    def _follow(self) -> RunFollow:
        return self.query_one(RunFollow)

    @property
    def is_alone(self) -> bool:
        """Whether the job is shown alone."""
        return self.has_class("-alone")

    # the queue

    def film_changed(self) -> None:
        """Read the queue again; changes while that goes on are read once more."""
        if self._reading:
            self._again = True
        else:
            self._reading = True
            self.run_worker(self._read(), group="read", exit_on_error=False)

    async def _read(self) -> None:
        try:
            self._again = True
            while self._again:
                self._again = False
                session = self.session
                rows = await session.call(queue_rows, session.reader, open_only=not self._finished, limit=_MOST_ROWS)
                if any(row.state == "queued" for row in rows):
                    from assetforge.jobs.background import supervisor_is_here

                    here = await session.run(supervisor_is_here)
                    self._attended = here or time.monotonic() < self._coming
                self._show_rows(rows)
        except AssetForgeError as error:
            self.film_app.tell_error(error)
        finally:
            self._reading = False

    def _show_rows(self, rows: Sequence[QueueRow]) -> None:
        running = sorted(
            (row for row in rows if is_open(row) and row.state != "queued"),
            key=lambda row: (row.executor, row.slot, row.started_at or 0.0),
        )
        self._rows = [*running, *(row for row in rows if row.state == "queued" or not is_open(row))]
        self._read_once = True
        self._ended = {row.id: row.state for row in self._rows if self._ended.get(row.id) == row.state}
        table = self._table
        table.empty = _NOTHING if self._finished else _NOTHING_OPEN
        table.set_source(ListSource[QueueRow](self._rows, key=lambda row: row.id))
        self.set_class(not self._rows, "-nothing")
        if self._wanted:
            wanted, self._wanted = self._wanted, 0
            if not self._go_to_run(wanted):
                self.film_app.tell(f"Run {wanted} is not among the last {_MOST_ROWS} jobs.", severity="warning")
        self._follow_current()

    def _cells(self, row: QueueRow) -> Sequence[Content | str]:
        follow = self._follows.get(row.id)
        update = follow.update if follow is not None else None
        return (
            state_of(row, update),
            Content(named(row)) if row.run is not None else dim(named(row)),
            Content.assemble(("" if row.run is not None else f"{row.kind} ", "$dim"), subject_of(row)),
            about(row, update, self._why(row)),
            place_of(row),
        )

    def _why(self, row: QueueRow) -> str:
        return why_it_waits(row, self._rows, attended=self._attended) if row.state == "queued" else ""

    def chosen(self) -> list[QueueRow]:
        """The marked jobs, or the one under the cursor."""
        marked = set(self._table.marked())
        return [row for row in self._rows if row.id in marked]

    def queue_attended(self) -> None:
        """A supervisor was started; it takes a moment to come."""
        self._attended, self._coming = True, time.monotonic() + _COMING_S
        self._table.refresh_items()

    def show_run(self, number: int) -> None:
        """Put the cursor on a run, once the queue was read when it is not in it yet.

        Args:
            number: Its number.
        """
        if self._go_to_run(number):
            return
        # It may have been queued a moment ago.
        self._wanted, self._finished = number, True
        if self._read_once:
            self.film_changed()

    def _go_to_run(self, number: int) -> bool:
        found = next((row.id for row in self._rows if row.run == number), None)
        self._table.go_to(found)
        return found is not None

    # the followed job

    def on_virtual_items_highlighted(self, event: VirtualItems.Highlighted) -> None:
        """Follow it a moment later, so that a held key does not make the curves flicker."""
        event.stop()
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(_SETTLE_S, self._follow_current)

    def _follow_current(self) -> None:
        row = self._table.current
        self._follow.follow(row, self._why(row) if row is not None else "")
        if row is None:
            return
        if self.is_alone:
            self.show_place()
        if not self._looking:
            self._forget_others()
        follow = self._follows.get(row.id)
        if follow is not None and not self._looking:
            self._follow.take(follow)
        if row.run is not None and not is_open(row):
            self._show_facts(row)
        self._tick()

    def _show_facts(self, row: QueueRow) -> None:
        known = self._facts.get(row.id)
        if known is not None and known[0] == row.state:
            self._follow.take_facts(known[1])
        else:
            self._read_facts(row)

    @reading
    async def _read_facts(self, row: QueueRow) -> None:
        if row.run is None:
            return
        facts = await self.session.run(run_facts, row.run)
        self._facts = {**dict(list(self._facts.items())[-50:]), row.id: (row.state, facts)}
        if self._follow.row is not None and self._follow.row.id == row.id:
            self._follow.take_facts(facts)

    def _to_look_at(self) -> list[int]:
        """The followed job unless it was read to its end, and some of the others that run."""
        current = self._table.current
        wanted = [] if current is None or self._ended.get(current.id) == current.state else [current.id]
        others = [row.id for row in self._rows if row.state == "running" and row.id not in wanted]
        self._turn += 1
        besides = [others[(self._turn * _BESIDES + at) % len(others)] for at in range(min(_BESIDES, len(others)))]
        return [*wanted, *dict.fromkeys(besides)]

    def _tick(self) -> None:
        session = self.film_app.session
        if self._looking or session is None or not session.is_open or not self.is_current:
            return
        wanted = self._to_look_at()
        if wanted:
            self._looking = True
            self.run_worker(self._look(wanted), group="look", exit_on_error=False)

    async def _look(self, wanted: list[int]) -> None:
        current = self._table.current
        try:
            await self.session.run(look_at, self._follows, wanted, current.id if current is not None else None)
            self._show_look(wanted)
        except AssetForgeError as error:
            self.log.error(error)
        finally:
            self._looking = False

    def _show_look(self, looked: Sequence[int]) -> None:
        followed = self._follow.row
        self._forget_others()
        if followed is not None and followed.id in looked:
            follow = self._follows.get(followed.id)
            if follow is not None and follow.update is not None:
                self._follow.take(follow)
                # A queued job has said what it had to say too; what it says next follows a change of its state.
                quiet = follow.update.state == followed.state and followed.state not in (
                    "running",
                    "staging",
                    "collecting",
                )
                if quiet and not follow.update.more:
                    self._ended[followed.id] = followed.state
        progress = {job: one.update.step for job, one in self._follows.items() if one.update is not None}
        if progress.keys() != self._progress.keys() or (progress != self._progress and not self._turn % _LOOKS_A_ROW):
            self._progress = progress
            self._table.refresh_items()

    def _forget_others(self) -> None:
        """Keep curves and logs of what runs and of the followed job alone: memory stays flat however many jobs come and go."""
        followed = self._follow.row
        stay = {row.id for row in self._rows if row.state == "running"} | {followed.id if followed is not None else 0}
        for job in [job for job in self._follows if job not in stay]:
            del self._follows[job]

    @reading
    async def _look_at_devices(self) -> None:
        session = self.film_app.session
        if session is None:
            return
        found = await session.call(devices)
        if found != self._devices:
            self._devices = found
            self.show_place()

    # actions

    def action_follow(self) -> None:
        """The job alone, or beside the queue again."""
        if self._table.current is not None:
            self._set_alone(alone=not self.is_alone)

    def on_virtual_items_opened(self, event: VirtualItems.Opened) -> None:
        """A double click."""
        event.stop()
        self.action_follow()

    def _set_alone(self, *, alone: bool, view: View = "curves") -> None:
        self.set_class(alone, "-alone")
        self._follow.full = alone
        self._follow.show_view(view)
        (self._follow.log_tail if alone else self._table).focus()
        self.show_place()

    def clear_filter(self) -> bool:
        """Escape leaves the log and the pictures, then the job, before it leaves the screen."""
        if self._follow.view != "curves" or self.is_alone:
            self._set_alone(alone=False)
            return True
        return False

    def action_logs(self) -> None:
        """The log alone."""
        self._show_view("log")

    def action_samples(self) -> None:
        """The pictures that it makes."""
        self._show_view("samples")

    def _show_view(self, view: Literal["log", "samples"]) -> None:
        if self._table.current is None:
            return
        back = self._follow.view == view
        if view == "log" or self.has_class("-narrow"):
            self._set_alone(alone=not back, view="curves" if back else view)
        else:
            self._follow.show_view("curves" if back else view)

    def action_finished(self) -> None:
        """What ended, or only what is open."""
        self._finished = not self._finished
        self.film_changed()

    @acting
    async def action_version(self) -> None:
        """What the run made."""
        row = self._table.current
        if row is None or not row.versions:
            self.film_app.tell(f"{named(row).capitalize()} made no version." if row else "There is no run here yet.")
            return
        await self.film_app.go_to("version", plain(row.versions[-1]))
