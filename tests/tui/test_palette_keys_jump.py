"""What works on every screen: the palette, the help, jump mode, keys of one's own, themes, the two lines."""

import pytest
from textual.binding import Binding
from textual.command import CommandPalette
from textual.widgets import Input, OptionList, Static

from assetforge.services.projects import open_project
from assetforge.services.references import list_references
from assetforge.tui.actions import ACTIONS, actions_of
from assetforge.tui.palette import ActionsProvider, FindProvider, callable_actions
from assetforge.tui.screens.asset import AssetScreen
from assetforge.tui.screens.film import AssetsScreen
from assetforge.tui.screens.films import FilmsScreen
from assetforge.tui.screens.jump import JumpScreen, jump_targets
from assetforge.tui.screens.keys import KeysScreen
from assetforge.tui.theme import THEMES
from assetforge.tui.widgets.lines import KeyLine
from tests.tui.waiting import assert_aligned, asset, filled, press, sees, shown, told, until, write


async def hits(app, query):
    """Titles of what the palette finds, the best first."""
    screen = app.screen
    found = []
    for kind in (ActionsProvider, FindProvider):
        provider = kind(screen)
        provider._post_init()
        await provider._wait_init()
        found += [hit async for hit in provider.search(query)]
    return [hit.text for hit in sorted(found, key=lambda hit: -hit.score)]


async def listed(app):
    provider = ActionsProvider(app.screen)
    return [hit.text async for hit in provider.discover()]


async def test_the_palette_lists_every_action_of_the_screen_on_top(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await filled(pilot)
        everywhere = [one.title for one in actions_of("app") if one.id != "app.palette"]
        assert await listed(app) == [one.title for one in actions_of("film")] + everywhere
        await press(pilot, "f2")
        await until(pilot, lambda: isinstance(app.screen, FilmsScreen))
        assert await listed(app) == [one.title for one in actions_of("films")] + everywhere
        await press(pilot, "escape")
        for number, scope in enumerate(("references", "captions", "datasets", "versions", "regression"), start=1):
            await asset(pilot, "mara", scope)
            assert await listed(app) == [
                one.title for name in (scope, "asset", "app") for one in actions_of(name) if one.id != "app.palette"
            ], number
            await press(pilot, "escape")
        # Each is there with its command line, and in the right place.
        for action, node in callable_actions(app, app.screen):
            assert action.twin.startswith("assetforge")
            assert node in (app, app.screen)


async def test_what_is_called_so_comes_before_actions_that_have_the_letters(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await filled(pilot)
        assert (await hits(app, "mara"))[0] == "mara"
        assert (await hits(app, "lamp"))[0] == "brass-lamp"
        assert (await hits(app, "train"))[0] == "Train the asset, or every marked one."
        assert (await hits(app, "freeze"))[0].startswith("Freeze a dataset version")
        found = await hits(app, "still")
        assert found[0].startswith("still [")


async def test_it_finds_things_and_goes_there(small_film, program):
    with open_project(small_film) as project:
        reference = list_references(project, "mara").items[4]
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await filled(pilot)
        await press(pilot, "ctrl+p", "ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await until(pilot, lambda: len([one for one in app.screen_stack if isinstance(one, CommandPalette)]) == 1)
        await write(pilot, "brass-lamp")
        commands = app.screen.query_one(OptionList)
        await until(
            pilot, lambda: commands.option_count > 0 and "brass-lamp" in str(commands.get_option_at_index(0).prompt)
        )
        await press(pilot, "enter", "enter")
        await until(pilot, lambda: isinstance(app.screen, AssetScreen) and app.screen.asset == "brass-lamp")
        await until(pilot, lambda: app.screen.pane is not None)
        await press(pilot, "ctrl+p")
        await write(pilot, reference.sha256[:10])
        commands = app.screen.query_one(OptionList)
        await until(
            pilot,
            lambda: commands.option_count > 0 and reference.file_name in str(commands.get_option_at_index(0).prompt),
        )
        await press(pilot, "enter", "enter")
        await until(pilot, lambda: isinstance(app.screen, AssetScreen) and app.screen.asset == "mara")
        # An action that asks works from there too.
        await until(pilot, lambda: app.screen.pane is not None and app.screen.pane.items.source is not None)
        await press(pilot, "ctrl+p")
        await write(pilot, "Exclude the marked")
        commands = app.screen.query_one(OptionList)
        await until(
            pilot, lambda: commands.option_count > 0 and "Exclude" in str(commands.get_option_at_index(0).prompt)
        )
        await press(pilot, "enter", "enter")
        await until(pilot, lambda: "Exclude 1 reference" in shown(app))


async def test_what_cannot_be_gone_to_is_told(small_film, program, monkeypatch):
    from assetforge.db.browse import versions
    from assetforge.db.browse.find import Found

    found = Found(kind="run", address="not a number [b]", title="run x", detail="", score=1.0)
    monkeypatch.setattr(versions, "find_anything", lambda *_: [found])
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await filled(pilot)
        provider = FindProvider(app.screen)
        await provider._go(found)
        await until(pilot, lambda: "not a number [b]" in told(app))


def keys_of(scope):
    return {key for one in actions_of(scope) for key in one.keys.split(",")}


@pytest.mark.parametrize("tab", ["", "references", "captions", "datasets"])
async def test_the_help_names_every_key_that_counts(small_film, program, tab):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await filled(pilot)
        if tab:
            await asset(pilot, "mara", tab)
        screen = app.screen
        await press(pilot, "question_mark")
        await until(pilot, lambda: isinstance(app.screen, KeysScreen))
        text = "\n".join(str(one.content) for one in app.screen.query(Static))
        scopes = ("film", "app") if not tab else (tab, "asset", "app")
        for one in (one for scope in scopes for one in actions_of(scope)):
            inner = {key for name in scopes[: scopes.index(one.scope)] for key in keys_of(name)}
            counting = [key for key in one.keys.split(",") if key and key not in inner]
            if not counting:
                continue
            line = next((line for line in text.splitlines() if one.title in line), "")
            assert line, one.id
            for key in counting:
                if key == "enter" and tab == "datasets":
                    continue
                shown_key = app.get_key_display(Binding(key, ""))
                assert shown_key in line, (one.id, key, line)
        assert_aligned(app)
        await sees(pilot, "esc  close")
        await press(pilot, "question_mark")
        await until(pilot, lambda: app.screen is screen)


async def test_jump_mode_reaches_every_place(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        await press(pilot, "slash")

        def places():
            return {one.widget.id for one in jump_targets(screen)}

        await until(pilot, lambda: places() >= {"filter", "groups", "gallery"})
        await press(pilot, "escape", "g")
        await until(pilot, lambda: isinstance(app.screen, JumpScreen))
        await sees(pilot, "Press a letter")
        assert_aligned(app)
        await press(pilot, "exclamation_mark")
        await until(pilot, lambda: app.screen is screen)
        for target in jump_targets(screen):
            await press(pilot, "g", target.letter)
            await until(pilot, lambda: app.screen is screen)
            await until(pilot, lambda target=target: app.focused is target.widget)
        pane = await asset(pilot, "mara", "captions")
        await until(pilot, lambda: {one.widget.id for one in jump_targets(app.screen)} >= {"cap-table", "cap-text"})
        letter = next(one.letter for one in jump_targets(app.screen) if one.widget.id == "cap-text")
        await press(pilot, "g", letter)
        await until(pilot, lambda: app.focused is pane.query_one("#cap-text"))


async def test_letters_of_jump_mode_are_the_users(small_film, program):
    async with program(small_film, jump_keys="12345").run_test(size=(120, 40)) as pilot:
        screen = await filled(pilot)
        assert [one.letter for one in jump_targets(screen, "12345")] == ["1", "2"]
        await press(pilot, "g", "1")
        assert pilot.app.focused.id == "groups"


async def test_keys_of_ones_own_replace_and_a_clash_is_told_once(small_film, program):
    keys = {"film.view": "x", "film.sort": "t", "app.happened": "f12", "film.trian": "y"}
    async with program(small_film, keys=keys).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        before = screen.items
        await press(pilot, "v")
        await until(pilot, lambda: screen.items is before)
        await press(pilot, "x")
        await until(pilot, lambda: screen.items is not before)
        said = told(app)
        await press(pilot, "x", "question_mark")
        text = "\n".join(str(one.content) for one in app.screen.query(Static))
        line = next(line for line in text.splitlines() if "Change between gallery and table." in line)
        assert line.strip().startswith("x ")
        await press(pilot, "escape", "f2", "escape", "g", "escape")
        assert told(app).count("tui.keys") <= said.count("tui.keys")
        assert said.count("t is the key of film.sort and of film.train.") == 1
        assert "there is no action film.trian, did you mean film.train" in said
        await press(pilot, "f12")
        await until(pilot, lambda: type(app.screen).__name__ == "HappenedScreen")


async def test_themes_and_lights(small_film, program):
    async with program(small_film, theme="no such theme").run_test(size=(120, 40)) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        await until(pilot, lambda: app.theme == "safelight")
        assert app.animation_level == "none"
        await press(pilot, "ctrl+t")
        await until(pilot, lambda: app.theme == "daylight")
        assert_aligned(app)
        for theme in (*(one.name for one in THEMES), "textual-dark", "textual-light"):
            app.theme = theme
            await until(pilot, lambda: "mara" in shown(app))
            await until(pilot, lambda: screen.items.current is not None)
        await press(pilot, "ctrl+t")
        await until(pilot, lambda: app.theme in ("safelight", "daylight"))


async def test_the_last_line_shows_the_keys_that_matter_and_can_be_clicked(small_film, program):
    async with program(small_film).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        line = str(screen.query_one(KeyLine).render())
        assert line.endswith("^p everything")
        assert len(line) <= 78
        at = line.index("n new")
        await pilot.click(KeyLine, offset=(at + 1, 0))
        await until(pilot, lambda: "New asset" in shown(app))
        await press(pilot, "escape")
        # In a field the keys of the field count.
        await press(pilot, "slash")
        assert "f freeze" not in str(screen.query_one(KeyLine).render()) or isinstance(app.focused, Input)
        await press(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, AssetsScreen))


def test_every_action_has_a_sentence():
    for one in ACTIONS:
        assert one.title.endswith(".")
        assert one.title[0].isupper()
