"""Settings in the terminal program: files written with comments kept, what counts and why, and nothing lost without a word."""

import pytest
from textual.widgets import Input, OptionList, Static

from assetforge.paths import ProjectPaths, user_config_file
from assetforge.services.settings_file import set_setting
from assetforge.tui.screens.settings import SettingsScreen
from assetforge.tui.widgets.param_form import ParamForm


def text_of(app, selector):
    return str(app.screen.query_one(selector, Static).content)


def toasts(app):
    return " ".join(one.message for one in app._notifications)


@pytest.fixture
def settings(program, small_film):
    """``async with settings(section) as (app, pilot)``: the screen of a section of the small film, its form ready."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def opened(section="retrain", film=small_film, size=(120, 40)):
        app = program(film, images="off")
        async with app.run_test(size=size) as pilot:
            await ready(app, pilot, lambda: film is None or app.session is not None)
            await app.push_screen(SettingsScreen(section))
            await ready(app, pilot, lambda: bool(app.screen.query(ParamForm)))
            yield app, pilot

    return opened


async def ready(app, pilot, condition):
    for _ in range(200):
        await pilot.pause(0.02)
        if condition():
            await pilot.pause()
            return
    raise AssertionError("it never came to that")


async def saved(app, pilot, word):
    await ready(app, pilot, lambda: word in toasts(app) and not app.screen.unsaved and app.screen._made)


async def test_a_value_is_saved_into_the_film_with_comments_kept(settings, small_film):
    path = ProjectPaths(small_film).config
    before = path.read_text().splitlines()
    async with settings() as (app, pilot):
        form = app.screen.query_one(ParamForm)
        form.focus_field("quiet_minutes")
        await pilot.pause()
        assert "How long nothing may have changed" in text_of(app, "#form-help")
        await pilot.press("2", "5")
        await pilot.pause()
        assert "1 change not saved" in text_of(app, "#settings-head")
        assert path.read_text().splitlines() == before
        await pilot.press("enter")
        await saved(app, pilot, "retrain.quiet_minutes is 25 min now")
        focused = app.screen.query_one(ParamForm).focused
        assert focused is not None
        assert focused.name == "quiet_minutes"
        after = path.read_text().splitlines()
        assert after[after.index("quiet_minutes = 25") - 1] == "# quiet_minutes = 10"
        assert [line for line in after if line != "quiet_minutes = 25"] == before
        await pilot.press("ctrl+r")
        await ready(app, pilot, lambda: path.read_text().splitlines() == before)
        await saved(app, pilot, "is no longer set")


async def test_film_or_user(settings, small_film, home):
    set_setting("retrain.min_new", 7, "user")
    async with settings() as (app, pilot):
        form = app.screen.query_one(ParamForm)
        assert form.all_values()["min_new"] == 7
        assert "min_new" not in form.values()
        assert "this film" in text_of(app, "#settings-head")
        form.focus_field("min_new")
        await pilot.press("ctrl+e")
        await ready(app, pilot, lambda: "you, in all films" in text_of(app, "#settings-head"))
        await ready(app, pilot, lambda: bool(app.screen.query_one(ParamForm).focused))
        form = app.screen.query_one(ParamForm)
        assert form.values() == {"min_new": 7}
        await pilot.press("9", "ctrl+s")
        await saved(app, pilot, "retrain.min_new is 9 now, was 7")
        assert "min_new = 9" in user_config_file().read_text()


async def test_a_wrong_value_is_told_beside_the_field_and_not_written(settings, small_film):
    path = ProjectPaths(small_film).config
    before = path.read_bytes()
    async with settings("gc") as (app, pilot):
        form = app.screen.query_one(ParamForm)
        form.focus_field("grace_hours")
        await pilot.press("0", "ctrl+s")
        await ready(app, pilot, lambda: "Not saved" in toasts(app))
        assert form.errors == {"grace_hours": "must be at least 1"}
        assert path.read_bytes() == before


async def test_leaving_with_changes_asks_once(settings, small_film):
    async with settings("gc") as (app, pilot):
        app.screen.query_one(ParamForm).focus_field("grace_hours")
        await pilot.press("3", "escape")
        await pilot.pause()
        assert isinstance(app.screen, SettingsScreen)
        assert "1 change not saved" in toasts(app)
        await pilot.press("escape")
        await pilot.pause()
        assert not isinstance(app.screen, SettingsScreen)


async def test_changes_stay_while_other_sections_are_looked_at(settings, small_film):
    async with settings("gc") as (app, pilot):
        app.screen.query_one(ParamForm).focus_field("trash_days")
        await pilot.press("3")
        app.screen.query_one(OptionList).focus()
        await pilot.press("down")
        await ready(app, pilot, lambda: "Watching folders" in text_of(app, "#settings-head"))
        assert "1 change not saved" in text_of(app, "#settings-head")
        await pilot.press("up")
        await ready(app, pilot, lambda: "Cleaning up" in text_of(app, "#settings-head"))
        assert app.screen.query_one(ParamForm).values() == {"trash_days": 3}
        await pilot.press("ctrl+s")
        await saved(app, pilot, "gc.trash_days is 3 days now")


async def test_what_somebody_else_wrote_is_not_overwritten(settings, small_film):
    async with settings("gc") as (app, pilot):
        app.screen.query_one(ParamForm).focus_field("backups")
        await pilot.press("3")
        set_setting("gc.backups", 8, "film", ProjectPaths(small_film))
        await pilot.press("enter")
        await ready(app, pilot, lambda: "changed meanwhile" in toasts(app))
        assert "backups = 8" in ProjectPaths(small_film).config.read_text()
        assert app.screen.unsaved == 1


async def test_a_broken_file_is_told_on_top_and_can_be_mended(settings, small_film):
    async with settings("gc") as (app, pilot):
        ProjectPaths(small_film).config.write_text('name = "night-harbour"\n[gc]\ngrace_hours = 0.1\n')
        user_config_file().write_text("[tui\n")
        app.screen._reload()
        await ready(app, pilot, lambda: app.screen.query_one("#settings-problems").display)
        problems = text_of(app, "#settings-problems")
        assert "'gc.grace_hours' cannot be 0.1" in problems
        assert "is not TOML" in problems
        await ready(app, pilot, lambda: "grace_hours" in app.screen.query_one(ParamForm).errors)
        app.screen.query_one(ParamForm).focus_field("grace_hours")
        await pilot.press("4", "enter")
        await saved(app, pilot, "gc.grace_hours is 4 h now")
        assert "gc.grace_hours" not in text_of(app, "#settings-problems")


async def test_settings_of_the_program_count_at_once(settings, home):
    async with settings("tui", film=None) as (app, pilot):
        assert "you, in all films" in text_of(app, "#settings-head")
        app.screen.query_one(ParamForm).set_value("theme", "daylight")
        await pilot.press("ctrl+s")
        await saved(app, pilot, "tui.theme is daylight now")
        assert app.theme == "daylight"
        await pilot.press("ctrl+e")
        await ready(app, pilot, lambda: "stands in no other file" in toasts(app))


async def test_a_secret_is_never_shown(settings, home):
    set_setting("notify.webhook_secret", "tiger")
    async with settings("notify") as (app, pilot):
        form = app.screen.query_one(ParamForm)
        assert "tiger" not in f"{form.all_values()}{form.fields}{app.export_screenshot()}"
        assert app.screen.unsaved == 0
        form.focus_field("webhook_secret")
        await pilot.press(*"lion")
        assert app.screen.query_one(ParamForm).query("Input:focus").first(Input).password
        assert "lion" not in app.export_screenshot()
        await pilot.press("enter")
        await saved(app, pilot, "notify.webhook_secret")
        assert 'webhook_secret = "lion"' in user_config_file().read_text()
        assert "lion" not in toasts(app)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_names_that_try_to_break_it(settings, small_film, size):
    nasty = "a[/b] [red] مرحبا 🎬"
    set_setting("title", nasty, "film", ProjectPaths(small_film))
    async with settings("film", size=size) as (app, pilot):
        form = app.screen.query_one(ParamForm)
        assert form.all_values()["title"] == nasty
        assert app.screen.unsaved == 0
        form.focus_field("title")
        await pilot.press("end", *" [x")
        await pilot.press("enter")
        await saved(app, pilot, "title is")
        assert set_setting("title", f"{nasty} [x", "film", ProjectPaths(small_film)).before == f"{nasty} [x"
