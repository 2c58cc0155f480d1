"""The program: which film is open, which screen is on top, what is refreshed when the database changes."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import SystemCommand
from textual.binding import BindingType
from textual.color import Color
from textual.screen import Screen

from assetforge.errors import AssetForgeError
from assetforge.tui.actions import bindings
from assetforge.tui.film_holder import LOOK_S, FilmHolder
from assetforge.tui.images.protocol import TerminalPictures, replay
from assetforge.tui.preferences import Preferences
from assetforge.tui.state import State
from assetforge.tui.streams import without_descriptor
from assetforge.tui.theme import DEFAULT_THEME, THEMES

if TYPE_CHECKING:
    from assetforge.api.specs import ScreenSpec

__all__ = ["FilmApp"]

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


class FilmApp(FilmHolder):
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
        super().__init__(film, pictures=pictures, state=state)
        without_descriptor(self)
        self.preferences = preferences
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

    def on_mount(self) -> None:
        """Begin to look for changes; open the film once the first frame is painted."""
        if self.preferences.problem:
            self.tell(self.preferences.problem, severity="warning")
        self.tell_keys(self.preferences.keys)
        self.set_interval(LOOK_S, self._look)
        self.theme_changed_signal.subscribe(self, self._theme_changed)
        if self.terminal_pictures.typed:
            replay(self, self.terminal_pictures.typed)
        if self._first_film is not None:
            self.call_after_refresh(self._begin)

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
