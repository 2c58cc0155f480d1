import pytest

from assetforge.jobs import background
from assetforge.services.comparison import list_comparisons, request_comparison
from assetforge.services.releases import approve
from assetforge.tui import opening
from assetforge.tui.screens.compare import CompareScreen
from assetforge.tui.screens.dialogs import ChoiceDialog, ConfirmDialog, TextDialog
from assetforge.tui.screens.regression import RegressionPane
from assetforge.tui.widgets.picture import Picture
from tests.tui.compared_film import (  # noqa: F401
    made_worlds,
    registry,
    settled,
    told,
    until,
    words,
    world,
)


async def pane_of(pilot):
    app = pilot.app
    await until(pilot, lambda: app.session is not None and app.session.is_open)
    await app.open_asset("mara", "regression")
    await until(pilot, lambda: app.screen.query(RegressionPane))
    pane = app.screen.query_one(RegressionPane)
    await until(pilot, lambda: pane.query_one("#comparisons").source is not None)
    await settled(pilot)
    return pane


@pytest.fixture
def history(world):  # noqa: F811
    """mara/v1 alone, then approved, then mara/v2 against it."""
    world.compare("mara/v1")
    approve(world.project, "mara/v1", why="the first", review="skipped")
    return world.compare("mara/v2")


async def test_comparisons_are_listed_newest_first_with_the_worst_cells_beside(world, history, program):  # noqa: F811
    async with (app := program(world.project.root)).run_test(size=(140, 40)) as pilot:
        pane = await pane_of(pilot)
        text = words(app)
        assert text.index("inconclusive") < text.index("first version")
        assert "v1 ●" in text
        await until(pilot, lambda: pane.query_one("#left-0", Picture).showing)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        await until(pilot, lambda: app.screen.comparison_id == history.id)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, CompareScreen))
        pane.show_address("mara/v1")
        assert pane.query_one("#comparisons").cursor == 1


async def test_the_report_is_written_and_its_path_told_where_nothing_can_show_it(world, history, program, monkeypatch):  # noqa: F811
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(opening.sys, "platform", "linux")
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        await pane_of(pilot)
        said = told(app)
        await pilot.press("o")
        await until(pilot, lambda: said)
        report = world.project.root / "reports" / "mara-v2-against-v1-tiny-core.html"
        assert report.is_file()
        await until(pilot, lambda: str(report) in "\n".join(said))
        await until(pilot, lambda: "in the clipboard" in "\n".join(said))
        assert app.clipboard == str(report)


async def test_more_can_be_asked_for_as_a_prompt_of_ones_own(world, history, program, monkeypatch):  # noqa: F811
    asked = []
    monkeypatch.setattr(background, "ensure_supervisor", asked.append)
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        await pane_of(pilot)
        said = told(app)
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.pause()
        await until(pilot, lambda: "a prompt of your own" in words(app))
        await pilot.press("end", "enter")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        await pilot.pause()
        await pilot.press(*"in rain", "enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.pause()
        await until(pilot, lambda: "to render" in words(app))
        await pilot.press("y")
        await until(pilot, lambda: said)
        newest = list_comparisons(world.project)[0]
        await until(pilot, lambda: said == [f"Comparison {newest.id} is asked for."])
        assert newest.id != history.id
        assert newest.jobs
        await until(pilot, lambda: len(asked) == 1)


async def test_work_that_is_under_way_is_told_in_the_list(world, program):  # noqa: F811
    request_comparison(world.project, "mara/v2", "mara/v1")
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        await pane_of(pilot)
        await until(pilot, lambda: "‖ waiting" in words(app))


async def test_an_asset_without_comparisons_says_how_to_come_to_one(world, program):  # noqa: F811
    async with (app := program(world.project.root)).run_test(size=(80, 24)) as pilot:
        await pane_of(pilot)
        await until(pilot, lambda: "No version of this asset was" in words(app))
        said = told(app)
        await pilot.press("m")
        await until(pilot, lambda: said)
