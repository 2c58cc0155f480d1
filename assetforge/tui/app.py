"""The program: which film is open, which screen is on top, what is refreshed when the database changes."""

import asyncio
import gc
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import SystemCommand
from textual.binding import BindingType
from textual.color import Color
from textual.content import Content
from textual.screen import Screen

from assetforge.errors import AssetForgeError
from assetforge.tui.actions import bindings
from assetforge.tui.images.protocol import TerminalPictures, replay
from assetforge.tui.preferences import Preferences
from assetforge.tui.screens.base import FilmScreen
from assetforge.tui.session import FilmSession, in_thread
from assetforge.tui.state import State
from assetforge.tui.streams import without_descriptor
from assetforge.tui.telling import Telling
from assetforge.tui.theme import DEFAULT_THEME, THEMES, ground_of
from assetforge.tui.typed import KeysInTurn
from assetforge.tui.widgets.lines import TopLine
from assetforge.tui.words import count_of, plain

if TYPE_CHECKING:
    from assetforge.api.specs import ScreenSpec
    from assetforge.db.browse.pulse import Pulse
    from assetforge.tui.images.thumbnails import Thumbnails
    from assetforge.tui.screens.importing import Import

__all__ = ["FilmApp"]

_LOOK_S = 0.4
"""How often the number that tells of writes is looked at; it costs microseconds."""

_DIM = 0.42
_LOWEST = 2
"""Screens below which nothing is without a film: all films, perhaps over the assets of a film that could not be opened."""

_AREAS = {
    "runs": "assetforge.tui.screens.runs:RunsScreen",
    "watched": "assetforge.tui.screens.watch:WatchScreen",
    "shots": "assetforge.tui.screens.shots:ShotsScreen",
    "plugins": "assetforge.tui.screens.plugins:PluginsScreen",
    "settings": "assetforge.tui.screens.settings:SettingsScreen",
    "happened": "assetforge.tui.screens.happened:HappenedScreen",
}
"""Screens that are imported when they are first opened, so that the first frame costs nothing of them."""


class FilmApp(KeysInTurn, Telling):
    """The TUI.

    Args:
        film: The film to open; ``None`` begins with the list of films.
        preferences: How the user likes it.
        pictures: What the terminal can show.
        state: What was kept from the last time.
    """

    TITLE = "assetforge"
    CSS_PATH = Path(__file__).parent / "styles" / "app.tcss"
    # Our own action opens the palette; Textual's own binding would stand beside it.
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (160, "-wide")]  # noqa: RUF012 - Textual's own declaration
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-tall"), (50, "-towering")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("app")]

    def __init__(
        self, film: Path | None, *, preferences: Preferences, pictures: TerminalPictures, state: State
    ) -> None:
        super().__init__()
        without_descriptor(self)
        self.session: FilmSession | None = None
        self.film_title = ""
        self.doing = Content("")
        self.preferences = preferences
        self.terminal_pictures = pictures
        self.state = state
        self.pictures: Thumbnails | None = None
        self.pulse: Pulse | None = None
        self._first_film = film
        self._seen_version = 0
        self._next_pulse: Pulse | None = None
        self._pictures_are_known = asyncio.Event()
        self._pictures_are_known.set()
        self.importing: Import | None = None
        self._leaving = False
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = preferences.theme if preferences.theme in self.available_themes else DEFAULT_THEME
        if not preferences.motion:
            self.animation_level = "none"
        if preferences.keys:
            self.set_keymap(dict(preferences.keys))

    def get_default_screen(self) -> Screen[None]:
        """The film's assets when it is known which film, else all films. Either paints before anything is read."""
        if self._first_film is not None:
            from assetforge.tui.screens.film import AssetsScreen

            return AssetsScreen()
        from assetforge.tui.screens.films import FilmsScreen

        return FilmsScreen()

    def get_css_variables(self) -> dict[str, str]:
        """The theme's colours, and ``$dim``: text that is there when it is looked for, as a colour that content can use too."""
        variables = super().get_css_variables()
        ink, ground = Color.parse(variables["foreground"]), Color.parse(variables["background"])
        return {**variables, "dim": ink.blend(ground, _DIM).hex}

    def _theme_changed(self, _theme: object) -> None:
        if self.pictures is not None:
            self.pictures.ground = ground_of(self)

    def on_mount(self) -> None:
        """Begin to look for changes; open the film once the first frame is painted."""
        if self.preferences.problem:
            self.tell(self.preferences.problem, severity="warning")
        self.tell_keys(self.preferences.keys)
        self.set_interval(_LOOK_S, self._look)
        self.theme_changed_signal.subscribe(self, self._theme_changed)
        if self.terminal_pictures.typed:
            replay(self, self.terminal_pictures.typed)
        if self._first_film is not None:
            self.call_after_refresh(self._begin)

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
        session = self.session
        if session is None:
            return

        async def warm() -> None:
            from assetforge.tui.plugin_screens import plugin_screens

            if self.session is session:
                project = await session.run(lambda project: project)
                for remark in project.remarks:
                    self.tell(remark)
                for spec in await plugin_screens():
                    if spec.key:
                        self.bind(spec.key, f"plugin_screen({spec.name!r})", description=plain(spec.title), show=False)
                # What was imported stays for good; looking through it again and again is what makes frames late.
                gc.collect()
                gc.freeze()

        self.run_worker(warm(), exit_on_error=False, group="warm")

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
        screen, session = self.screen, self.session
        if isinstance(screen, FilmScreen) and screen.is_mounted and session is not None and session.is_open:
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

    async def action_films(self) -> None:
        """All films; the open one stays open until another is chosen."""
        from assetforge.tui.screens.films import FilmsScreen

        await self._show(FilmsScreen)

    async def action_film(self) -> None:
        """The film's assets."""
        from assetforge.tui.screens.film import AssetsScreen

        if self._needs_film():
            await self._show(AssetsScreen)

    async def _show_area(self, name: str) -> None:
        from assetforge.tui.loading import load

        if name in ("plugins", "settings") or self._needs_film():
            await self._show(load(_AREAS[name]))

    async def action_runs(self) -> None:
        """Runs and the queue."""
        await self._show_area("runs")

    async def action_watched(self) -> None:
        """Watched folders and quarantine."""
        await self._show_area("watched")

    async def action_shots(self) -> None:
        """Shots."""
        await self._show_area("shots")

    async def action_plugins(self) -> None:
        """Plugins."""
        await self._show_area("plugins")

    async def action_settings(self) -> None:
        """Settings."""
        await self._show_area("settings")

    async def action_happened(self) -> None:
        """What happened to the film."""
        await self._show_area("happened")

    async def show_plugin_screen(self, spec: "ScreenSpec") -> None:
        """Open a screen that a plugin brings."""
        from assetforge.tui.plugin_screens import make_screen

        if self._needs_film() and self.session is not None:
            try:
                await self.push_screen(await make_screen(self.session, spec))
            except AssetForgeError as error:
                self.tell_error(error)

    async def action_plugin_screen(self, name: str) -> None:
        """The key of a plugin's screen."""
        from assetforge.tui.plugin_screens import plugin_screens

        for spec in await plugin_screens():
            if spec.name == name:
                await self.show_plugin_screen(spec)

    def _needs_film(self) -> bool:
        if self.session is None or not self.session.is_open:
            self.tell("No film is open. Choose one first.", severity="warning")
            return False
        return True

    async def _to_bottom(self) -> None:
        while len(self.screen_stack) > 1:
            await self.pop_screen()

    async def _show(self, kind: type[Screen[None]]) -> None:
        """Go back to that screen when it lies below, else open it on top."""
        await self.wait_for_pictures()
        if any(type(one) is kind for one in self.screen_stack):
            while type(self.screen) is not kind:
                await self.pop_screen()
        else:
            await self.push_screen(kind())
        self._write_doing()
        self._tell_screen()

    async def open_asset(self, name: str, tab: str = "", address: str = "") -> None:
        """Show an asset, in the tab that is named or that was open last."""
        from assetforge.tui.screens.asset import AssetScreen

        await self.wait_for_pictures()
        on_top = self.screen
        if isinstance(on_top, AssetScreen) and on_top.asset == name:
            await on_top.show_tab(tab or "references", address)
        else:
            await self.push_screen(AssetScreen(name, tab, address))
            self._write_doing()

    async def go_to(self, kind: str, address: str) -> None:
        """Show what an address names.

        Args:
            kind: ``asset``, ``reference``, ``dataset``, ``version``, ``run`` or ``comparison``.
            address: Such as ``mara``, ``mara/ref/3f9a1c``, ``mara/v7``; the number of a run or comparison.
        """
        tabs = {"asset": "", "reference": "references", "dataset": "datasets", "version": "versions"}
        if not self._needs_film():
            return
        if kind in tabs:
            name = address.partition("/")[0].partition("@")[0]
            await self.open_asset(name, tabs[kind], address if kind != "asset" else "")
        elif kind == "comparison":
            from assetforge.tui.screens.compare import CompareScreen

            await self.push_screen(CompareScreen(int(address)))
        elif kind == "run":
            from assetforge.tui.screens.runs import RunsScreen

            await self._show(RunsScreen)
            if isinstance(self.screen, RunsScreen):
                self.screen.show_run(int(address))

    async def action_back(self) -> None:
        """The filter is cleared first, then the screen below shows; on the lowest one, all films."""
        if getattr(self.screen, "clear_filter", bool)():
            return
        if len(self.screen_stack) > 1 and (self.session is not None or len(self.screen_stack) > _LOWEST):
            await self.pop_screen()
            self._write_doing()
            self._tell_screen()
        else:
            await self.action_films()

    def exit(self, *arguments: Any, **options: Any) -> None:
        """End the program; pictures that the terminal keeps are taken back while it still listens to us."""
        if self.terminal_pictures.protocol in ("tgp", "sixel"):
            from assetforge.tui.widgets.picture import release_pictures

            release_pictures(self)
        super().exit(*arguments, **options)

    def action_leave(self) -> None:
        """End the program; jobs go on."""
        self.exit()

    def action_palette(self) -> None:
        """Find anything."""
        from textual.command import CommandPalette

        from assetforge.tui.palette import PROVIDERS

        if not any(isinstance(one, CommandPalette) for one in self.screen_stack):
            self.push_screen(CommandPalette(providers=PROVIDERS, placeholder="An action, an asset, a version, a run …"))

    def action_keys(self) -> None:
        """Help for what is focused."""
        from assetforge.tui.screens.keys import KeysScreen

        self.push_screen(KeysScreen(self.screen))

    def action_jump(self) -> None:
        """Letters over everything that can be reached."""
        from assetforge.tui.screens.jump import JumpScreen, jump

        def go(target: object) -> None:
            if target is not None:
                jump(target)

        self.push_screen(JumpScreen(self.screen, self.preferences.jump_keys), go)

    def action_lights(self) -> None:
        """The other of our two themes."""
        self.theme = "daylight" if self.current_theme.dark else "safelight"

    async def action_press(self, key: str) -> None:
        """A key of the last line was clicked."""
        self.simulate_key(key.partition(",")[0])

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:  # noqa: ARG002 - Textual's signature
        """Nothing of Textual's own: our palette lists our actions."""
        return ()

    def on_unmount(self) -> None:
        """Keep what is to be kept, let go of the film."""
        self.state.save()
        self.close_film()


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
