"""One asset: its tabs, what is kept of them, its activity, the places that every screen leads to."""

import pytest
from textual.widgets import ContentSwitcher

from assetforge.tui.screens.asset import TABS, AssetScreen
from assetforge.tui.screens.film import AssetsScreen
from assetforge.tui.screens.films import FilmsScreen
from assetforge.tui.screens.happened import ActivityTable, HappenedScreen
from assetforge.tui.screens.shots import ShotsScreen
from tests.tui.waiting import assert_aligned, asset, filled, hears, press, sees, shown, told, until


async def test_keys_and_clicks_change_the_tab_and_the_last_one_is_kept(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        screen.items.cursor = [row.name for row in screen.items.source.items(0, 9)].index("mara")
        await press(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, AssetScreen) and app.screen.pane is not None)
        await sees(pilot, "Night Harbour ▸ mara", "[1 References 12]", "trigger mrvale")
        switcher = app.screen.query_one("#tab", ContentSwitcher)
        for number, (tab, title, _load) in enumerate(TABS, start=1):
            await press(pilot, str(number))
            await until(pilot, lambda tab=tab: switcher.current == tab)
            await sees(pilot, f"[{number} {title}")
            assert_aligned(app)
        await until(pilot, lambda: app.screen.query_one(ActivityTable).source is not None)
        await sees(pilot, "added references")
        await pilot.click("#tabs", offset=(24, 0))
        await until(pilot, lambda: switcher.current == "captions")
        await press(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, AssetsScreen))
        await press(pilot, "q")
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        await filled(pilot)
        await pilot.app.open_asset("mara")
        await until(pilot, lambda: pilot.app.screen.pane is not None)
        await until(pilot, lambda: pilot.app.screen.pane.id == "captions")


async def test_an_asset_that_is_not_there_and_a_tab_that_breaks_are_told(small_film, program, monkeypatch):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await filled(pilot)
        await app.go_to("version", "nobody/v3")
        await until(pilot, lambda: "no asset nobody" in told(app))
        await until(pilot, lambda: isinstance(app.screen, AssetsScreen))
        await asset(pilot, "mara", "references")

        def broken(_target):
            raise ImportError("no module of that name [red]")

        monkeypatch.setattr("assetforge.tui.screens.asset.load", broken)
        await press(pilot, "5")
        await until(pilot, lambda: "no module of that name [red]" in told(app))
        await until(pilot, lambda: app.screen.pane.id == "references")


async def test_other_places_are_reached_and_left_by_their_keys(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await filled(pilot)
        await press(pilot, "f9")
        await until(pilot, lambda: isinstance(app.screen, HappenedScreen))
        await until(pilot, lambda: "captioned" in shown(app))
        await press(pilot, "s", "enter", "f6")
        await until(pilot, lambda: isinstance(app.screen, ShotsScreen))
        await sees(pilot, "will stand here")
        await press(pilot, "f3")
        await until(pilot, lambda: isinstance(app.screen, AssetsScreen))
        await until(pilot, lambda: len(app.screen_stack) == 1)
        # The lowest one leads to all films, and back.
        await press(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, FilmsScreen))
        await press(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, AssetsScreen))


async def test_no_film_no_places(program, home):
    async with program().run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await until(pilot, lambda: isinstance(app.screen, FilmsScreen))
        await press(pilot, "f3", "f9", "r", "w", "escape", "enter")
        await until(pilot, lambda: isinstance(app.screen, FilmsScreen))
        await hears(pilot, "No film is open. Choose one first.")


async def test_what_others_write_is_shown(small_film, program):
    from assetforge.services.captions import set_caption
    from assetforge.services.projects import open_project
    from assetforge.services.references import list_references

    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        pane = await asset(pilot, "mara", "captions")
        with open_project(small_film) as project:
            address = list_references(project, "mara").items[3].address
            set_caption(project, address, "written by somebody else")
        await until(pilot, lambda: "written by somebody else" in shown(app))
        assert pane.is_on_screen


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_every_tab_at_every_size(small_film, program, size):
    async with program(small_film).run_test(size=size) as pilot:
        app = pilot.app
        await asset(pilot, "mara", "references")
        for number in range(1, 7):
            await press(pilot, str(number))
            await until(pilot, lambda number=number: app.screen.pane.id == TABS[number - 1][0])
            assert_aligned(app)
