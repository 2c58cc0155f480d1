"""Screens of plugins: in the palette, opened for the film, harmless when they are broken."""

from collections.abc import Callable
from pathlib import Path

from textual.command import CommandPalette
from textual.widgets import Static

from assetforge.api.specs import ScreenSpec
from assetforge.tui.app import FilmApp


async def test_the_example_screen_opens_from_the_palette(small_film: Path, program: Callable[..., FilmApp]) -> None:
    app = program(small_film)
    async with app.run_test(size=(120, 40)) as pilot:
        while app.session is None:
            await pilot.pause(0.05)
        await pilot.press("ctrl+p")
        assert isinstance(app.screen, CommandPalette)
        await pilot.press(*"count files")
        for _ in range(60):
            await pilot.pause(0.1)
            if "inboxes" in str(
                app.screen.query("CommandList").first().get_option_at_index(0).prompt if _options(app) else ""
            ):
                break
        await pilot.press("enter")
        await pilot.pause(0.5)
        assert type(app.screen).__name__ == "InboxScreen"
        assert "mara" in str(app.screen.query_one(Static).content)
        await pilot.press("escape")
        await pilot.pause()
        assert type(app.screen).__name__ == "AssetsScreen"


def _options(app: FilmApp) -> int:
    found = app.screen.query("CommandList")
    return found.first().option_count if found else 0


async def test_a_screen_that_cannot_be_loaded_is_a_sentence(small_film: Path, program: Callable[..., FilmApp]) -> None:
    app = program(small_film)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        while app.session is None:
            await pilot.pause(0.05)
        for load in ("no_such_module:Screen", "assetforge.errors:AssetForgeError"):
            await app.show_plugin_screen(ScreenSpec(name="broken", title="Broken [/b]", load=load))
            await pilot.pause()
            assert type(app.screen).__name__ == "AssetsScreen"
        assert any("no_such_module" in one.message for one in app._notifications)
