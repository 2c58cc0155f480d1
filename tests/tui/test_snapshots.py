"""What the screens look like, as SVG: a change that nobody meant is seen here. ``pytest tests/tui/test_snapshots.py --snapshot-update`` takes them again; look at each before it is kept."""

import asyncio
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.screen import ModalScreen
from textual.widgets import Input, TextArea

from assetforge.extension import registry as registry_module
from assetforge.paths import ProjectPaths
from assetforge.services.relocation import remember_place
from assetforge.tui import words
from assetforge.tui.app import FilmApp
from assetforge.tui.screens import compare_looking, runs
from assetforge.tui.screens.asset import AssetScreen
from assetforge.tui.screens.compare import CompareScreen
from assetforge.tui.screens.dialogs import ChoiceDialog, WhyDialog
from assetforge.tui.screens.new_run import NewRunScreen
from assetforge.tui.screens.run_facts import Device
from assetforge.tui.screens.settings import SettingsScreen
from assetforge.tui.widgets.items import VirtualItems
from assetforge.tui.widgets.param_form import ParamForm
from tests.tui import shown_film
from tests.tui.waiting import assert_aligned, press, settle

WIDE, NARROW = (120, 40), (80, 24)


@pytest.fixture(scope="session")
def shown(tmp_path_factory):
    """The folders of films, made once, and the registry that they are looked at with."""
    folder = tmp_path_factory.mktemp("shown")
    (folder / "home").mkdir()
    (folder / "projects").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSETFORGE_HOME", str(folder / "home"))
        patch.setenv("ASSETFORGE_PROJECTS", str(folder / "projects"))
        patch.setenv("ASSETFORGE_ACTOR", "director")
        patch.setenv("ASSETFORGE_PLUGINS", "none")
        registry = shown_film.shown_registry()
        patch.setattr(registry_module, "_current", registry)
        film, nasty = shown_film.build_film(folder), shown_film.build_nasty_film(folder)
    yield Shown(film, nasty, registry)
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Shown:
    film: Path
    nasty: Path
    registry: object


@pytest.fixture(autouse=True)
def calm(shown, tmp_path, monkeypatch):
    """Nothing of this machine, of this day and of chance on the screen."""
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "none")
    monkeypatch.setattr(registry_module, "_current", shown.registry)
    # Looking counts after a moment; whether that is over when the picture is taken is chance.
    monkeypatch.setattr(compare_looking, "LOOK_S", 1e6)
    monkeypatch.setattr(runs, "devices", lambda: [Device("GPU 0 RTX 4090", "21.4/24 GB  97 %")])
    for kind in (Input, TextArea):
        monkeypatch.setattr(kind.cursor_blink, "_default", False)
    real = words.plain

    def without_folders(text, limit=0):
        return real(text.replace(str(tmp_path), ""), limit)

    for module in [one for name, one in sys.modules.items() if name.startswith("assetforge.tui.")]:
        if getattr(module, "plain", None) is real:
            monkeypatch.setattr(module, "plain", without_folders)
    take = FilmApp.export_screenshot

    def without_fonts(self, **options):
        svg = re.sub(r"\n *@font-face \{.*?\}\n", "", take(self, **options), flags=re.DOTALL)
        assert_aligned(self)
        assert tmp_path.name not in svg
        assert "url(http" not in svg
        return svg

    monkeypatch.setattr(FilmApp, "export_screenshot", without_fonts)


@pytest.fixture
def copied(tmp_path):
    """A function that gives a test its own copy of a film."""

    def copy(film):
        root = tmp_path / "projects" / film.name
        shutil.copytree(film, root, symlinks=True)
        remember_place(ProjectPaths(root))
        return root

    return copy


@pytest.fixture
def film(shown, copied):
    """An own copy of the film."""
    return copied(shown.film)


@pytest.fixture
def looks_the_same(snap_compare, program):
    """``looks_the_same(film, act, size, images=..., theme=...)``: the screen after ``act(pilot)`` is the one that was kept."""

    def compare(film, act=None, size=WIDE, **how):
        async def go(pilot):
            if film is not None:
                await until(pilot, lambda: pilot.app.session is not None and pilot.app.session.is_open)
                await until(pilot, lambda: pilot.app.pictures or how.get("images") == "off")
            await still(pilot, 1)
            if act is not None:
                await act(pilot)
            await still(pilot)

        return snap_compare(program(film, **how), terminal_size=size, run_before=go)

    return compare


async def until(pilot, condition, limit_s=20.0):
    """Let the program work until something is true."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "that never came"
        await asyncio.sleep(0.01)
    await settle(pilot)


async def still(pilot, looks=4):
    """Everything that was asked for is there: lists, pictures, what threads work on; after so many looks also what timers of the screen put off."""
    app, quiet, end = pilot.app, 0, time.monotonic() + 20
    while quiet < looks:
        assert time.monotonic() < end, "it never came to rest"
        await asyncio.sleep(0.03)
        await settle(pilot)
        quiet = 0 if _is_busy(app) else quiet + 1


_NEVER_DONE = ("follow", "watched", "trainings")
"""What rests between two readings, and is waited for by what it shows."""


def _is_busy(app):
    if app.pictures is not None and (app.pictures._queue or app.pictures._loading):
        return True
    if any(one.source is None for one in app.screen.query(VirtualItems) if one.is_on_screen):
        return True
    if isinstance(app.screen, ModalScreen):
        # Whoever asked waits for the answer.
        return False
    return any(not worker.is_finished for worker in app.workers if worker.group not in _NEVER_DONE)


def keys(*pressed):
    async def act(pilot):
        for key in pressed:
            await press(pilot, key)
            await still(pilot, 1)

    return act


def tab(name, *pressed):
    async def act(pilot):
        await pilot.app.open_asset("mara", name)
        await until(pilot, lambda: isinstance(pilot.app.screen, AssetScreen) and pilot.app.screen.pane is not None)
        await still(pilot, 1)
        await keys(*pressed)(pilot)

    return act


def compared(*pressed):
    async def act(pilot):
        await pilot.app.push_screen(CompareScreen(2))
        screen = pilot.app.screen
        await until(pilot, lambda: screen.facts is not None or screen.unfinished is not None)
        await still(pilot, 1)
        await keys(*pressed)(pilot)

    return act


# films


def test_films(looks_the_same, film, shown, copied):
    copied(shown.nasty)
    assert looks_the_same(None)


def test_films_empty(looks_the_same):
    assert looks_the_same(None, size=NARROW)


# assets


def test_assets(looks_the_same, film):
    assert looks_the_same(film, keys("end"))


def test_assets_table_narrow(looks_the_same, film):
    assert looks_the_same(film, keys("v"), NARROW)


def test_assets_filtered_light(looks_the_same, film):
    assert looks_the_same(film, keys("slash", *"type:char", "enter"), theme="daylight")


def test_assets_without_pictures(looks_the_same, film):
    assert looks_the_same(film, images="off")


# one asset


def test_references(looks_the_same, film):
    assert looks_the_same(film, tab("references", "right", "space", "down"))


def test_references_table(looks_the_same, film):
    assert looks_the_same(film, tab("references", "v"), NARROW)


def test_captions(looks_the_same, film):
    assert looks_the_same(film, tab("captions"))


def test_dataset_difference(looks_the_same, film):
    assert looks_the_same(film, tab("datasets"))


def test_versions(looks_the_same, film):
    assert looks_the_same(film, tab("versions"))


def test_regression(looks_the_same, film):
    assert looks_the_same(film, tab("regression"))


# compare


def test_compare(looks_the_same, film):
    assert looks_the_same(film, compared())


def test_compare_narrow(looks_the_same, film):
    assert looks_the_same(film, compared(), NARROW)


def test_compare_blink(looks_the_same, film):
    assert looks_the_same(film, compared("space"), theme="daylight")


def test_compare_difference(looks_the_same, film):
    assert looks_the_same(film, compared("d"))


def test_compare_blind(looks_the_same, film):
    assert looks_the_same(film, compared("v", "1"))


def test_compare_strengths(looks_the_same, film):
    async def act(pilot):
        await compared()(pilot)
        screen = pilot.app.screen
        screen.look_at(next(iter(screen.facts.strips.values()))[-1])
        await keys("s")(pilot)

    assert looks_the_same(film, act)


def test_compare_unfinished(looks_the_same, film):
    shown_film.ask_for_comparison(film)

    async def act(pilot):
        await pilot.app.push_screen(CompareScreen(4))
        await until(pilot, lambda: pilot.app.screen.unfinished is not None)

    assert looks_the_same(film, act)


# runs


@pytest.fixture
def queue(film):
    shown_film.fill_queue(film)
    return film


def test_runs(looks_the_same, queue):
    assert looks_the_same(queue, keys("r"))


def test_runs_failed_narrow(looks_the_same, queue):
    assert looks_the_same(queue, keys("r", "end", "up", "enter"), NARROW)


def test_new_run(looks_the_same, film):
    async def act(pilot):
        await pilot.app.push_screen(NewRunScreen("porter"))
        screen = pilot.app.screen
        await until(pilot, lambda: screen.preview is not None)
        screen.form.focus_field("rank")
        await keys("4", "8")(pilot)
        await until(pilot, lambda: screen.preview.changed)

    assert looks_the_same(film, act)


# other places


def test_watch(looks_the_same, film):
    shown_film.put_aside(film)

    async def act(pilot):
        await press(pilot, "w")
        await until(pilot, lambda: pilot.app.screen._began and pilot.app.screen._trainings)

    assert looks_the_same(film, act)


def test_plugins(looks_the_same, film):
    assert looks_the_same(film, keys("f7"))


def test_settings(looks_the_same, film):
    async def act(pilot):
        await pilot.app.push_screen(SettingsScreen("retrain"))
        await until(pilot, lambda: bool(pilot.app.screen.query(ParamForm)))

    assert looks_the_same(film, act)


def test_palette(looks_the_same, film):
    async def act(pilot):
        await press(pilot, "ctrl+p")
        await until(pilot, lambda: isinstance(pilot.app.screen, CommandPalette))
        await press(pilot, *"mara")
        await until(pilot, lambda: pilot.app.screen.query_one("CommandList").option_count > 1)
        await asyncio.sleep(0.3)

    assert looks_the_same(film, act)


def test_help(looks_the_same, film):
    assert looks_the_same(film, keys("question_mark"))


def test_dialog(looks_the_same, film):
    async def act(pilot):
        await compared()(pilot)
        await press(pilot, "x")
        await until(pilot, lambda: isinstance(pilot.app.screen, (ChoiceDialog, WhyDialog)))
        if isinstance(pilot.app.screen, ChoiceDialog):
            await keys("down", "enter")(pilot)
            await until(pilot, lambda: isinstance(pilot.app.screen, WhyDialog))
        await press(pilot, *"the coat goes brown")

    assert looks_the_same(film, act, NARROW)


# names that try to break things


def test_nasty_assets(looks_the_same, shown, copied):
    assert looks_the_same(copied(shown.nasty))


def test_nasty_references(looks_the_same, shown, copied):
    assert looks_the_same(copied(shown.nasty), tab("references", "v"))
