"""Watched folders: how that goes, what would train and why not, and the files that wait for a person, decided by one key."""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.css.query import NoMatches
from textual.events import DescendantFocus
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from assetforge.errors import AssetForgeError
from assetforge.tui.actions import bindings
from assetforge.tui.hints import in_words
from assetforge.tui.screens.base import FilmScreen, acting, crumbs
from assetforge.tui.screens.dialogs import Choice, ChoiceDialog
from assetforge.tui.screens.watch_decisions import (
    Decided,
    accept_training,
    asset_names,
    discard_files,
    keep_files,
    move_files,
    retry_files,
)
from assetforge.tui.screens.watch_facts import (
    FILE_COLUMNS,
    ROOT_COLUMNS,
    TRAINING_COLUMNS,
    Root,
    Training,
    Waiting,
    Watched,
    file_cells,
    file_facts,
    read_trainings,
    read_watched,
    root_cells,
    root_facts,
    scan_line,
    training_cells,
    training_facts,
    watcher_name,
)
from assetforge.tui.watching import FilmWatch, film_watch
from assetforge.tui.widgets.items import ListSource, VirtualItems
from assetforge.tui.widgets.picture import Picture
from assetforge.tui.widgets.virtual_table import VirtualTable
from assetforge.tui.words import count_of, dim, number, plain, status

if TYPE_CHECKING:
    from assetforge.services.projects import Project

__all__ = ["WatchScreen"]

_REST_S = 0.4
_EXPLAIN_REST_S = 2.0
"""Between two readings: while files pour in or something is trained, the database changes all the time."""

_AGAIN_S = 30
_WHO_S = 5
"""How often, in seconds, is asked what no change of the database tells: what the rules say as time passes, who watches."""

_SAID_S = 60.0

_NOTHING = """Nothing is watched yet

Every asset has a folder of its own; whatever lands in it becomes
a reference. f3 shows the assets, and n adds one there.

Further folders, such as one on a network drive, are named in
project.toml: [[watch.roots]] with asset and path."""


class WatchScreen(FilmScreen):
    """Folders and what would train at the left, files that wait at the right, what the cursor is on in full below them."""

    SCOPE = "watch"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("watch")]
    HELP = """Whatever lands in a watched folder becomes a reference of its asset. Files that cannot be read, or that the film's rules hold back, wait at the
    right until somebody decides; the files themselves are never touched. Space marks several. Tab goes to the folders and to what would train; what the
    cursor is on stands in full below. `S` watches from this program, as `assetforge watch` does without it."""
    DEFAULT_CSS = """
    WatchScreen {
        #watch-line { height: 1; padding: 0 1; margin-bottom: 1; }
        #watch-state { width: 1fr; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #watch-scans { width: auto; height: 1; padding-left: 2; }
        #watch-problem { height: auto; max-height: 3; padding: 0 1; margin-bottom: 1; color: $error; }
        #watch-panes { height: 1fr; }
        #watch-left { width: 1fr; padding: 0 1 0 0; }
        #watch-right { width: 43%; border-left: solid $border-blurred; }
        .watch-title { height: 1; padding: 0 1 0 3; text-style: bold; }
        #watch-training-title { margin-top: 1; }
        #watch-roots { height: 1fr; }
        #watch-training { height: 1fr; }
        #watch-files { height: 2fr; }
        #watch-detail { height: 4fr; margin-top: 1; padding: 0 1 0 3; }
        #watch-pictures { height: 1fr; margin-bottom: 1; }
        #watch-twin { margin-left: 1; }
        #watch-facts { height: auto; max-height: 100%; scrollbar-size-vertical: 1; }
        #watch-facts Static { width: 1fr; height: auto; }
        &.-narrow #watch-line { layout: vertical; height: 2; margin-bottom: 0; }
        &.-narrow #watch-state { width: 100%; }
        &.-narrow #watch-scans { padding-left: 0; }
        &.-narrow #watch-right { width: 50%; }
        &.-narrow #watch-detail { padding: 0 1 0 3; }
        &.-low #watch-detail { height: 3fr; margin-top: 0; layout: horizontal; }
        &.-low #watch-pictures { width: 50%; margin: 0 1 0 0; }
        &.-low #watch-facts { width: 1fr; height: 1fr; }
        &.-low #watch-training-title { margin-top: 0; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._watched = Watched([], [], None, "")
        self._trainings: list[Training] = []
        self._training_problem = ""
        self._stale = {"watched": False, "trainings": False}
        self._busy_reading = {"watched": False, "trainings": False}
        self._seconds = 0
        self._clock_timer: Timer | None = None
        self._shown_when: list[str] = []
        self._looking_at = "watch-files"
        self._began = False

    def content(self) -> Iterable[Widget]:
        """One line on how watching goes, then the panes."""
        app = self.film_app
        with Horizontal(id="watch-line"):
            yield Static("", id="watch-state", markup=False)
            yield Static("", id="watch-scans", markup=False)
        yield Static("", id="watch-problem", markup=False)
        yield Static(Content(_NOTHING), id="watch-nothing", classes="nothing")
        with Horizontal(id="watch-panes"):
            with Vertical(id="watch-left"):
                yield Static("folders", classes="watch-title", id="watch-roots-title", markup=False)
                yield VirtualTable[Root](
                    ROOT_COLUMNS, root_cells, empty="No folder is watched.", marking=False, id="watch-roots"
                )
                yield Static("would train", classes="watch-title", id="watch-training-title", markup=False)
                yield VirtualTable[Training](
                    TRAINING_COLUMNS,
                    training_cells,
                    empty="No asset yet.",
                    opening="Asking the rules …",
                    dim=lambda one: one.explained.outcome == "no",
                    marking=False,
                    id="watch-training",
                )
            with Vertical(id="watch-right"):
                yield Static("quarantine", classes="watch-title", id="watch-files-title", markup=False)
                yield VirtualTable[Waiting](
                    FILE_COLUMNS, file_cells, empty="● No file waits for a decision.", id="watch-files"
                )
                with Vertical(id="watch-detail"):
                    if app.pictures is not None:
                        with Horizontal(id="watch-pictures"):
                            yield Picture(app.pictures, app.terminal_pictures, id="watch-picture")
                            yield Picture(app.pictures, app.terminal_pictures, id="watch-twin")
                    with VerticalScroll(id="watch-facts", can_focus=False):
                        yield Static("", id="watch-text", markup=False)

    def place(self) -> Content:
        """The film and the word."""
        return crumbs(self.film_app.film_title, "watch")

    def on_mount(self) -> None:
        """Begin with the files that wait, and to count seconds."""
        for name in ("problem", "nothing"):
            self.query_one(f"#watch-{name}").display = False
        self.files.focus()
        self._clock_timer = self.set_interval(1.0, self._tick, pause=True)

    def on_screen_resume(self) -> None:
        """Seen again: time has passed."""
        if self._clock_timer is not None:
            self._clock_timer.resume()
        self.film_changed()

    def on_screen_suspend(self) -> None:
        """Nobody looks: nothing counts down."""
        if self._clock_timer is not None:
            self._clock_timer.pause()

    @property
    def files(self) -> "VirtualTable[Waiting]":
        """The files that wait."""
        return self.query_one("#watch-files", VirtualTable)

    @property
    def roots(self) -> "VirtualTable[Root]":
        """The watched folders."""
        return self.query_one("#watch-roots", VirtualTable)

    @property
    def trainings(self) -> "VirtualTable[Training]":
        """What would train."""
        return self.query_one("#watch-training", VirtualTable)

    @property
    def watch_here(self) -> FilmWatch:
        """The watcher inside this program."""
        app = self.film_app
        return film_watch(self.session, lambda: app.is_running)

    # reading

    def film_changed(self) -> None:
        """Read everything again; what would train a little later, since that looks at pictures."""
        self._ask_for("watched")
        self._ask_for("trainings")

    def _ask_for(self, what: str) -> None:
        self._stale[what] = True
        if not self._busy_reading[what] and self.film_app.session is not None and self.film_app.session.is_open:
            self._busy_reading[what] = True
            self.run_worker(self._read(what), group=what, exit_on_error=False)

    async def _read(self, what: str) -> None:
        """Read until what is shown is what is there, with a rest in between."""
        try:
            while self._stale[what] and self.film_app.session is not None:
                self._stale[what] = False
                try:
                    if what == "watched":
                        self._watched = await self.session.run(read_watched, self.session.reader)
                    else:
                        self._trainings, self._training_problem = await self.session.run(read_trainings)
                except AssetForgeError as error:
                    self._training_problem = in_words(error)
                if not self.is_attached or self.film_app.session is None:
                    return
                self._show_watched() if what == "watched" else self._show_trainings()
                await asyncio.sleep(_REST_S if what == "watched" else _EXPLAIN_REST_S)
        finally:
            self._busy_reading[what] = False

    def _show_watched(self) -> None:
        watched, nothing = self._watched, not (self._watched.roots or self._watched.waiting or self._watched.problem)
        self.query_one("#watch-nothing").display = nothing
        self.query_one("#watch-panes").display = not nothing
        self.roots.set_source(ListSource[Root](watched.roots, key=lambda one: one.key))
        self.files.set_source(ListSource[Waiting](watched.waiting, key=lambda one: one.file.id))
        self.query_one("#watch-roots-title", Static).update(_title("folders", len(watched.roots)))
        if not self._began:
            self._began = True
            if not watched.waiting and self.focused in (None, self.files):
                self.roots.focus()
        self._write_lines()
        self._write_files_title()
        self._show_detail()

    def _show_trainings(self) -> None:
        self.trainings.set_source(ListSource[Training](self._trainings, key=lambda one: one.key))
        self._shown_when = self._when_texts()
        self._write_lines()
        self._show_detail()

    def _when_texts(self) -> list[str]:
        return [str(training_cells(one)[1]) for one in self._trainings]

    def _tick(self) -> None:
        """A second has passed: count down, and ask now and then what no change of the database tells."""
        if self.film_app.session is None or not self.film_app.session.is_open:
            return
        self._seconds += 1
        whens = self._when_texts()
        if whens != self._shown_when:
            due = any(
                after != before and after.endswith("now")
                for before, after in zip(self._shown_when, whens, strict=False)
            )
            self._shown_when = whens
            self.trainings.refresh_items()
            self._show_detail()
            if due:
                self._ask_for("trainings")
        if self._seconds % _AGAIN_S == 0:
            self._ask_for("trainings")
        if self._seconds % _WHO_S == 0:
            self._ask_for("watched")
        self._write_lines()

    # the lines on top

    def _write_lines(self) -> None:
        if self.film_app.session is None:
            return
        self.query_one("#watch-state", Static).update(self._state_line())
        self.query_one("#watch-scans", Static).update(scan_line(self._watched.roots))
        problem = " ".join(dict.fromkeys(one for one in (self._watched.problem, self._training_problem) if one))
        shown = self.query_one("#watch-problem", Static)
        shown.display = bool(problem)
        shown.update(Content(f"✕ {plain(problem)}"))
        title = Content("would train")
        if self._watched.by is None and not self.watch_here.is_wanted:
            title = Content.assemble(title, ("  once somebody watches", "not bold $dim"))
        self.query_one("#watch-training-title", Static).update(title)

    def _state_line(self) -> Content:
        """Who watches, and what happened last here."""
        watch, by = self.watch_here, self._watched.by
        elsewhere = by is not None and by.pid != os.getpid()
        match watch.state:
            case "watching":
                said = status("ok", word="watched from here")
            case "starting" if elsewhere:
                said = Content.assemble(status("waiting", word="stands by"), dim(f", {watcher_name(by)} watches"))
            case "starting":
                said = status("running", word="begins to watch")
            case "stopping":
                said = dim("· finishes what it reads")
            case "failed":
                return status("failed", word=f"stopped: {plain(watch.problem)}")
            case _ if elsewhere:
                said = Content.assemble(status("ok", word="watched"), dim(f" by {watcher_name(by)}"))
            case _:
                said = Content.assemble(("○ nobody watches", "$warning"), dim("; S watches from here"))
        if watch.said and watch.state == "watching" and time.time() - watch.said_at < _SAID_S:
            said = Content.assemble(said, "   ", plain(watch.said, 200))
        return said

    def _write_files_title(self) -> None:
        title = _title("quarantine", len(self._watched.waiting))
        if self.files.marks:
            title = Content.assemble(title, (f"   ◆ {number(len(self.files.marks))} marked", "not bold $primary"))
        self.query_one("#watch-files-title", Static).update(title)

    # what the cursor is on

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """What is looked at stands in full."""
        if event.widget.id in ("watch-files", "watch-roots", "watch-training"):
            self._looking_at = event.widget.id
            self._show_detail()

    def on_virtual_items_highlighted(self, event: VirtualItems.Highlighted) -> None:
        """The cursor is elsewhere."""
        if event.control.id == self._looking_at:
            self._show_detail()

    def on_virtual_items_marks_changed(self, _event: VirtualItems.MarksChanged) -> None:
        """Say how many."""
        self._write_files_title()

    def on_virtual_items_opened(self, event: VirtualItems.Opened) -> None:
        """Enter on a folder or on what would train goes to the asset."""
        event.stop()
        if isinstance(event.item, Root):
            self._open(event.item.health.asset)
        elif isinstance(event.item, Training):
            self._open(event.item.explained.asset)

    @acting
    async def _open(self, asset: str) -> None:
        await self.film_app.open_asset(asset)

    def _show_detail(self) -> None:
        try:
            table, text = self.query_one(f"#{self._looking_at}", VirtualTable), self.query_one("#watch-text", Static)
        except NoMatches:
            return
        one = table.current
        file = one if isinstance(one, Waiting) else None
        if file is not None:
            shown = file_facts(file)
        elif isinstance(one, Root):
            shown = root_facts(one)
        elif isinstance(one, Training):
            shown = training_facts(one)
        else:
            shown = Content("")
        text.update(shown)
        self._show_pictures(file)

    def _show_pictures(self, file: Waiting | None) -> None:
        """The picture that waits, and beside it the one that it looks like."""
        for place in self.query("#watch-pictures"):
            place.display = file is not None and file.sha256 != ""
        if file is None:
            return
        for picture in self.query("#watch-picture").results(Picture):
            picture.show(file.sha256 or None, "waits" if file.twin else "")
        for picture in self.query("#watch-twin").results(Picture):
            picture.display = file.twin != ""
            picture.show(file.twin or None, file.twin_address)

    # decisions

    def _chosen(self) -> list[int]:
        """Numbers of the marked files, or of the one under the cursor. Where the eye is elsewhere it is led to them first, and nothing is done yet."""
        keys = self.files.marked()
        if not keys:
            self.film_app.tell("No file waits for a decision.")
        elif not self.files.has_focus and not self.files.marks:
            self.files.focus()
            self.film_app.tell("These files wait. Once more decides about the one under the cursor.")
            return []
        return keys

    async def _decide(self, service: "Callable[[Project, Sequence[int]], Decided]", what: str) -> None:
        keys = self._chosen()
        if keys:
            await self._do(service, keys, what)

    async def _do(
        self,
        service: "Callable[[Project, Sequence[int]], Decided]",
        keys: Sequence[int],
        what: str,
    ) -> None:
        done, left = await self.session.run(service, keys)
        self.files.set_marks(())
        if done:
            self.film_app.tell(f"{count_of(done, 'file')} {'is' if done == 1 else 'are'} {what} now.")
        if left:
            more = f" And {count_of(len(left) - 1, 'more file', 'more files')}." if len(left) > 1 else ""
            self.film_app.tell(f"Still waits: {left[0].message} {left[0].hint}{more}", severity="warning")
        self._ask_for("watched")

    @acting
    async def action_keep(self) -> None:
        """Take in what the rules hold back."""
        await self._decide(keep_files, "in")

    @acting
    async def action_retry(self) -> None:
        """Read again."""
        await self._decide(retry_files, "in")

    @acting
    async def action_discard(self) -> None:
        """Pass over."""
        await self._decide(discard_files, "passed over")

    @acting
    async def action_move(self) -> None:
        """References of another asset."""
        keys = self._chosen()
        if not keys:
            return
        waiting = {one.file.id: one.file.asset for one in self._watched.waiting}
        now = {waiting.get(key, "") for key in keys}
        assets = await self.session.run(asset_names)
        choices = [Choice(name, plain(name), kind) for name, kind in assets if {name} != now]
        if not choices:
            self.film_app.tell("There is no other asset to move it to.")
            return
        title = f"Take {count_of(len(keys), 'file')} in as references of"
        asset = await self.app.push_screen_wait(ChoiceDialog(title, choices, "The files stay where they are."))
        if isinstance(asset, str):
            await self._do(lambda project, numbers: move_files(project, numbers, asset), keys, f"of {plain(asset)}")

    @acting
    async def action_accept(self) -> None:
        """Say yes to a training."""
        asking = [one.explained for one in self._trainings if one.explained.outcome == "ask"]
        current = self.trainings.current if self.trainings.has_focus else None
        if current is not None:
            said = current.explained
            if said.outcome != "ask":
                self.film_app.tell(f"{said.asset} waits for no yes: {said.headline}.")
                return
        elif len(asking) > 1:
            choices = [Choice(one.asset, plain(one.asset), plain(one.because, 60)) for one in asking]
            name = await self.app.push_screen_wait(ChoiceDialog("Train which one?", choices))
            found = next((one for one in asking if one.asset == name), None)
            if found is None:
                return
            said = found
        elif asking:
            said = asking[0]
        else:
            self.film_app.tell("No training waits for a yes.")
            return
        sentence = await self.session.run(accept_training, said.asset)
        self.film_app.tell(sentence)
        self.film_changed()

    def action_start(self) -> None:
        """Watch from here, or stop."""
        watch = self.watch_here
        if watch.is_wanted:
            watch.stop()
        elif watch.state == "stopping":
            self.film_app.tell("It finishes what it reads; start it again in a moment.")
        else:
            watch.start()
            by = self._watched.by
            if by is not None and by.pid != os.getpid():
                self.film_app.tell(f"{watcher_name(by)} watches this film. From here it goes on when that one ends.")
        self._write_lines()
        self.set_timer(0.5, lambda: self._ask_for("watched"))


def _title(word: str, count: int) -> Content:
    return Content.assemble(word, (f" {number(count)}" if count else "", "not bold $dim"))
