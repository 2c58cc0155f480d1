"""The plugins screen with real plugins, good and broken ones, with and without a film."""

import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.widgets import Static

from assetforge.extension.decisions import decisions_file, read_decisions
from assetforge.extension.registry import reset_registry
from assetforge.tui.screens.dialogs import ConfirmDialog
from assetforge.tui.screens.plugins import PluginsScreen
from tests.tui.waiting import assert_aligned, hears, told, until

PLUGINS = Path(__file__).parents[1] / "plugins"

OWN = '''\
"""[red]a[/b] plugin."""
from pathlib import Path
from assetforge.api import hookimpl
from assetforge.api.specs import AssetTypeSpec

Path(__file__).with_suffix(".ran").touch()

@hookimpl
def register_asset_types():
    return [AssetTypeSpec(name="armour", title="Armour [b]", folder="armours", class_word="armour")]
'''


def text_of(app, part):
    return str(app.screen.query_one(f"#plugins-{part}", Static).content)


@pytest.fixture
def install(monkeypatch):
    """A function that makes exactly these plugins of ``tests/plugins`` the installed ones, besides the builtin one; the registry is fresh."""
    modules, finders = set(sys.modules), list(sys.meta_path)
    reset_registry()

    def some(*names):
        for name in names:
            folder = next(PLUGINS / kind / name for kind in ("broken", "good") if (PLUGINS / kind / name).is_dir())
            monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("ASSETFORGE_PLUGINS", ",".join(name.replace("_", "-") for name in names) or "none")

    yield some
    sys.meta_path[:] = finders
    for name in set(sys.modules) - modules:
        if name.startswith("af_"):
            del sys.modules[name]
    reset_registry()


@pytest.fixture
def plugins(program):
    """``async with plugins(film=None) as (app, pilot)``: the screen, read."""

    @asynccontextmanager
    async def opened(film=None, size=(120, 40)):
        app = program(film, images="off")
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: film is None or app.session is not None)
            await app.push_screen(PluginsScreen())
            await until(pilot, lambda: bool(app.screen._rows))
            await pilot.pause()
            yield app, pilot

    return opened


async def choose(app, pilot, name):
    row = next(one for one in app.screen._rows if one.report.name == name)
    app.screen.table.go_to(row.key)
    await until(pilot, lambda: text_of(app, "facts").startswith(name))


async def restart(app, pilot):
    """What the next start would find, without one."""
    reset_registry()
    app.screen._read_soon()
    await until(pilot, lambda: not any(one.later for one in app.screen._rows))


def states(app):
    return {one.report.name: one.report.state for one in app.screen._rows if one.report.state != "skipped"}


async def test_broken_ones_come_first_with_their_traceback(plugins, install):
    install("raises_on_import", "raises_in_hook", "every_hook")
    async with plugins() as (app, pilot):
        first = [one.report.name for one in app.screen._rows[:3]]
        assert first == ["raises-in-hook", "raises-on-import", "builtin"]
        await until(pilot, lambda: "✕ 2 quarantined" in text_of(app, "line"))
        await choose(app, pilot, "raises-in-hook")
        await until(pilot, lambda: "register_trainers: ZeroDivisionError" in text_of(app, "facts"))
        await until(pilot, lambda: "    return [1 / 0]" in text_of(app, "trace"))
        await pilot.press("enter")
        assert app.focused.id == "plugins-side"
        await choose(app, pilot, "every-hook")
        await until(pilot, lambda: not app.screen.query_one("#plugins-trace").display)
        await until(pilot, lambda: "1 trainer" in text_of(app, "gives"))
        app.screen.table.focus()
        await pilot.press("e")
        await pilot.press("t")
        await until(pilot, lambda: "every-hook is enabled already" in told(app))
        await hears(pilot, "Only plugins that lie inside a film")


@pytest.mark.parametrize(
    "names", [("evil_objects", "evil_error", "returns_garbage"), ("exits", "interrupts", "bad_commands")]
)
async def test_nasty_ones_break_nothing_in_any_size(plugins, install, names):
    install(*names)
    async with plugins() as (app, pilot):
        for size in ((80, 24), (120, 40), (200, 60)):
            await pilot.resize_terminal(*size)
            app.screen.table.focus()
            for _ in app.screen._rows[:4]:
                assert_aligned(app)
                await pilot.press("down")


async def test_a_name_that_two_give_is_told_of_both(plugins, install):
    install("rival_one", "rival_two")
    async with plugins() as (app, pilot):
        await until(pilot, lambda: {one.report.name for one in app.screen._rows[:2]} == {"rival-one", "rival-two"})
        await until(pilot, lambda: "▲ loaded partly" in text_of(app, "facts"))
        await until(pilot, lambda: "▲ 2 of them partly" in text_of(app, "line"))
        await pilot.press("down")
        await until(pilot, lambda: "collision" in text_of(app, "facts"))


async def test_disable_and_enable(plugins, install):
    install("every_hook")
    async with plugins() as (app, pilot):
        await choose(app, pilot, "every-hook")
        await pilot.press("d")
        await until(pilot, lambda: "disabled from the next start on" in text_of(app, "facts"))
        await until(pilot, lambda: states(app)["every-hook"] == "active")
        await hears(pilot, "this program from its next start on")
        await until(pilot, lambda: "↻ 1 change" in text_of(app, "line"))
        await restart(app, pilot)
        await until(pilot, lambda: states(app)["every-hook"] == "disabled")
        await choose(app, pilot, "every-hook")
        await pilot.press("e")
        await until(pilot, lambda: "enabled from the next start on" in text_of(app, "facts"))
        await until(pilot, lambda: read_decisions().disabled == set())
        await choose(app, pilot, "builtin")
        await pilot.press("d")
        await until(pilot, lambda: "it is assetforge itself" in told(app))
        await until(pilot, lambda: read_decisions().disabled == set())


async def test_a_films_own_plugin_runs_only_when_it_is_trusted(plugins, install, small_film, monkeypatch):
    install()
    monkeypatch.delenv("ASSETFORGE_PLUGINS")
    own = small_film / "plugins" / "af_own_armour.py"
    own.parent.mkdir()
    own.write_text(OWN)
    async with plugins(small_film) as (app, pilot):
        await until(pilot, lambda: app.screen._rows[0].report.name == "af_own_armour")
        await until(pilot, lambda: "has not run" in text_of(app, "facts"))
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        about = str(app.screen.query_one(".dialog-about", Static).content)
        assert str(own) in about
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, PluginsScreen))
        await until(pilot, lambda: read_decisions().trusted == {})
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await until(pilot, lambda: app.screen.app.screen_stack[-2]._rows[0].content_hash in about)
        await pilot.press("y")
        await until(pilot, lambda: "runs from the next start on" in text_of(app, "facts"))
        assert not own.with_suffix(".ran").exists()
        await restart(app, pilot)
        assert own.with_suffix(".ran").exists()
        await until(pilot, lambda: states(app)["af_own_armour"] == "active")
        await choose(app, pilot, "af_own_armour")
        await until(pilot, lambda: "Armour [b]" in text_of(app, "gives"))
        own.write_text(OWN + "# changed\n")
        app.screen._read_soon()
        await until(pilot, lambda: "its code changed; not trusted" in text_of(app, "facts"))
        own.write_text(OWN)
        app.screen._read_soon()
        await until(pilot, lambda: app.screen.table.current.trusted)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: read_decisions().trusted == {})
        await until(pilot, lambda: "no longer trusted from the next start on" in text_of(app, "facts"))


async def test_code_that_changes_while_one_is_asked_is_not_trusted(plugins, install, small_film, monkeypatch):
    install()
    monkeypatch.delenv("ASSETFORGE_PLUGINS")
    own = small_film / "plugins" / "af_other_armour.py"
    own.parent.mkdir()
    own.write_text(OWN)
    async with plugins(small_film) as (app, pilot):
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        own.write_text(OWN + "import os\n")
        await pilot.press("y")
        await until(pilot, lambda: "changed meanwhile" in told(app))
        await until(pilot, lambda: read_decisions().trusted == {})


async def test_decisions_that_cannot_be_read_are_told(program, install):
    install("every_hook")
    app = program(None, images="off")
    async with app.run_test() as pilot:
        await app.push_screen(PluginsScreen())
        await until(pilot, lambda: bool(app.screen._rows))
        decisions_file().parent.mkdir(parents=True, exist_ok=True)
        decisions_file().write_text("{")
        app.screen._read_soon()
        await until(pilot, lambda: app.screen.query_one("#plugins-problem").display)
        await until(pilot, lambda: "cannot be read" in text_of(app, "problem"))
        await pilot.press("d")
        await pilot.pause()
