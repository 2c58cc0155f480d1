"""The half of the program that holds a film: opens it, closes it, hears when its database changes, and tells screens."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import work
from textual.content import Content

from assetforge.errors import AssetForgeError
from assetforge.tui.images.protocol import TerminalPictures
from assetforge.tui.screens.base import FilmScreen
from assetforge.tui.session import FilmSession, in_thread
from assetforge.tui.state import State
from assetforge.tui.sweeping import Sweeping
from assetforge.tui.telling import Telling
from assetforge.tui.theme import ground_of
from assetforge.tui.typed import KeysInTurn
from assetforge.tui.widgets.lines import TopLine
from assetforge.tui.words import count_of, plain

if TYPE_CHECKING:
    from assetforge.db.browse.pulse import Pulse
    from assetforge.tui.images.thumbnails import Thumbnails
    from assetforge.tui.screens.importing import Import

__all__ = ["LOOK_S", "FilmHolder"]

LOOK_S = 0.4
"""How often the number that tells of writes is looked at; it costs microseconds."""


class FilmHolder(Sweeping, KeysInTurn, Telling):
    """A program with at most one film open.

    Args:
        film: The film to begin with; ``None`` begins without one.
        pictures: What the terminal can show.
        state: What was kept from the last time.
    """

    def __init__(self, film: Path | None, *, pictures: TerminalPictures, state: State) -> None:
        super().__init__()
        self.session: FilmSession | None = None
        self.film_title = ""
        self.doing = Content("")
        self.terminal_pictures = pictures
        self.state = state
        self.pictures: Thumbnails | None = None
        self.pulse: Pulse | None = None
        self.importing: Import | None = None
        self._first_film = film
        self._seen_version = 0
        self._next_pulse: Pulse | None = None
        self._pictures_are_known = asyncio.Event()
        self._pictures_are_known.set()
        self._leaving = False

    def _theme_changed(self, _theme: object) -> None:
        if self.pictures is not None:
            self.pictures.ground = ground_of(self)

    def _begin(self) -> None:
        film = self._first_film
        if film is not None:
            self.run_worker(self._open_first(film), exit_on_error=False, group="open")

    async def _open_first(self, root: Path) -> None:
        from assetforge.tui.screens.films import FilmsScreen

        session = await self._opened(root)
        if session is not None:
            await self._use(session)
        else:
            await self.push_screen(FilmsScreen())

    async def _opened(self, root: Path) -> FilmSession | None:
        """A film that can be read; else why it cannot is told."""
        session = FilmSession(root)
        try:
            await session.open()
            self._next_pulse = await in_thread(_pulse_of, session)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a film, others can be opened
            self.tell_error(error)
            session.close()
            return None
        return session

    async def _use(self, session: FilmSession) -> None:
        root = session.root
        self.pulse, self._next_pulse = self._next_pulse, None
        self.film_title = plain(await in_thread(_title_of, root))
        self.session = session
        self.state.put("", "film", str(root))
        self._seen_version = session.reader.version()
        self._pictures_are_known.clear()
        self._write_doing()
        self._tell_screen()
        # What is there in words is shown first; the code that draws pictures takes a moment to load.
        if self.terminal_pictures.protocol != "off":
            self.pictures = await in_thread(_thumbnails, session, self.call_soon, self.console)
            self.pictures.ground = ground_of(self)
        self._pictures_are_known.set()
        if isinstance(self.screen, FilmScreen):
            await self.screen.pictures_came()
        self.set_timer(1.0, self._warm_up)

    async def wait_for_pictures(self) -> None:
        """For screens that are made with the film's pictures: wait until it is known what draws them."""
        await self._pictures_are_known.wait()

    def _warm_up(self) -> None:
        """Import the services while the person looks, so that the first action does not wait for that."""
        if self.session is not None:
            self._warm(self.session)

    # A worker that ends before it began would leave a coroutine that nobody awaited; this one has none by then.
    @work(exit_on_error=False, group="warm")
    async def _warm(self, session: FilmSession) -> None:
        from assetforge.tui.plugin_screens import plugin_screens

        if self.session is session:
            project = await session.run(lambda project: project)
            for remark in project.remarks:
                self.tell(remark)
            for spec in await plugin_screens():
                if spec.key:
                    self.bind(spec.key, f"plugin_screen({spec.name!r})", description=plain(spec.title), show=False)
            self.begin_sweeping()

    async def open_film(self, root: Path) -> None:
        """Show another film's assets and close the one that is open; when it cannot be opened, that one stays."""
        # Not in the worker of whoever asks: that ends with the screen it belongs to.
        done = asyncio.Event()
        self.run_worker(self._change_film(root, done), exit_on_error=False, group="open")
        await done.wait()

    async def _change_film(self, root: Path, done: asyncio.Event) -> None:
        try:
            await self._change(root)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a film, others can be opened
            self.tell_error(error)
        finally:
            done.set()

    async def _change(self, root: Path) -> None:
        from assetforge.tui.screens.film import AssetsScreen

        session = await self._opened(root)
        if session is None:
            return
        await self._to_bottom()
        self.close_film()
        await self._use(session)
        if isinstance(self.screen, AssetsScreen):
            self.screen.begin_anew()
        else:
            await self.push_screen(AssetsScreen())
        self._write_doing()
        self._tell_screen()

    def close_film(self) -> None:
        """Let go of the film; its jobs go on."""
        if self.importing is not None:
            self.importing.stop = True
        if self.pictures is not None:
            self.pictures.close()
            self.pictures = None
        if self.session is not None:
            self.session.close()
            self.session = None
        self.pulse, self.film_title, self.doing = None, "", Content("")

    def call_soon(self, function: Any) -> None:
        """Have a function called on the screen's own thread, from any other."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(function)

    def _look(self) -> None:
        session = self.session
        if session is None or not session.is_open:
            return
        if self._leaving:
            return
        if not session.reader.is_there:
            self._leaving = True
            self.tell(f"{session.root} is gone. Was it moved, or its disk taken away?", severity="error")
            self.run_worker(self._leave_film(), exit_on_error=False, group="open")
            return
        try:
            version = session.reader.version()
            if version == self._seen_version:
                return
            from assetforge.db.browse.pulse import ended, take_pulse

            before, pulse = self.pulse, take_pulse(session.reader)
            news = ended(session.reader, before, pulse) if before else []
        except AssetForgeError as error:
            self.tell_error(error)
            return
        self._seen_version, self.pulse = version, pulse
        self._write_doing()
        for one in news:
            self.tell_end(one)
        self._tell_screen()

    async def _leave_film(self) -> None:
        """All films; the one that was open can no longer be used."""
        from assetforge.tui.screens.films import FilmsScreen

        await self._to_bottom()
        self.close_film()
        self._leaving = False
        if not isinstance(self.screen, FilmsScreen):
            await self.push_screen(FilmsScreen())
        self._write_doing()

    def _tell_screen(self) -> None:
        """Have the screen on top read again what it shows; it may have a question or another window in front of it."""
        screen = next((one for one in reversed(self.screen_stack) if isinstance(one, FilmScreen)), None)
        session = self.session
        if screen is not None and screen.is_mounted and session is not None and session.is_open:
            screen.show_place()
            screen.film_changed()

    def _write_doing(self) -> None:
        pulse, parts = self.pulse, []
        if self.importing is not None:
            parts.append(self.importing.shown())
        if pulse is not None:
            parts += _told(pulse)
        self.doing = Content("  ·  ").stylize("$dim").join(parts) if parts else Content("quiet" if self.pulse else "")
        for top in self.screen.query(TopLine):
            top.doing = self.doing

    def show_importing(self, what: "Import | None") -> None:
        """Say in the first line that pictures are being taken in, or that they no longer are."""
        self.importing = what
        self._write_doing()

    async def _to_bottom(self) -> None:
        while len(self.screen_stack) > 1:
            await self.pop_screen()


def _title_of(root: Path) -> str:
    from assetforge.db.overview import film_title

    return film_title(root)


def _thumbnails(session: FilmSession, call_soon: Any, console: Any) -> "Thumbnails":
    from assetforge.tui.images.thumbnails import Thumbnails

    return Thumbnails(session.paths, call_soon, console=console)


def _told(pulse: "Pulse") -> list[Content]:
    """How the film is doing, for the first line."""
    parts = []
    if pulse.running:
        parts.append(Content.assemble(("⏵ ", "$secondary"), count_of(pulse.running, "job")))
    if pulse.queued:
        parts.append(Content.assemble(("‖ ", "$secondary"), f"{pulse.queued} waiting"))
    if pulse.quarantined:
        parts.append(Content.assemble((f"‖ {pulse.quarantined} in quarantine", "$warning")))
    if pulse.watch_problems:
        parts.append(Content.assemble((f"✕ {count_of(pulse.watch_problems, 'folder')} cannot be watched", "$error")))
    return parts


def _pulse_of(session: FilmSession) -> "Pulse":
    from assetforge.db.browse.pulse import take_pulse

    return take_pulse(session.reader)
