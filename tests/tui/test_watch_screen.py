"""The watch screen on real folders: files that come while it watches, one-key decisions, who watches, and what the rules say."""

import os
import shutil
import subprocess
import sys
import threading
from contextlib import asynccontextmanager

import pytest
from PIL import Image as Pillow
from textual.widgets import OptionList, Static

from assetforge.errors import BusyError
from assetforge.extension.registry import reset_registry
from assetforge.paths import ProjectPaths
from assetforge.services.assets import add_asset, list_assets
from assetforge.services.ingest import add_references
from assetforge.services.project_config import set_value
from assetforge.services.projects import create_project, open_project
from assetforge.services.quarantine import list_quarantine
from assetforge.services.references import list_references
from assetforge.tui.screens.watch import WatchScreen
from assetforge.tui.widgets.picture import Picture
from assetforge.tui.widgets.virtual_table import VirtualTable
from assetforge.watch.place import who_watches
from assetforge.watch.watcher import Watcher
from tests.tui.waiting import assert_aligned, hears, told, until

HOSTILE = "a[b] [red]\n\u202ename 名前.png"


def text_of(app, selector):
    return str(app.screen.query_one(selector, Static).content)


def items_of(app, selector):
    return app.screen.query_one(selector, VirtualTable)


def line_of(app, selector, row=0):
    table = items_of(app, selector)
    cells = table._cells(table._source.items(row, 1)[0])
    return "  ".join(str(cell) for cell in cells)


@pytest.fixture
def film(small_film):
    """The small film, which holds back what is smaller than 40 pixels, and settles quickly."""
    config = ProjectPaths(small_film).config
    set_value(config, "watch.settle_seconds", 0.1)
    set_value(config, "watch.min_side", 40)
    return small_film


@pytest.fixture
def inbox(film):
    with open_project(film) as project:
        return next(one.references for one in list_assets(project) if one.name == "mara")


@pytest.fixture
def waiting(film, inbox, make_png):
    """Three files wait: a truncated one, a small one, and a small one with a hostile name."""
    make_png(inbox / "cut.png", 50, (320, 240))
    (inbox / "cut.png").write_bytes((inbox / "cut.png").read_bytes()[:9000])
    make_png(inbox / "small.png", 51, (32, 32))
    make_png(inbox / HOSTILE, 52, (30, 34))
    look(film)


def look(film):
    with open_project(film) as project:
        Watcher(project).once(60.0)


def names_in(film, asset):
    with open_project(film) as project:
        return {one.file_name for one in list_references(project, asset, limit=500).items}


def quarantined(film):
    with open_project(film) as project:
        return [one.shown for one in list_quarantine(project)]


@pytest.fixture
def watch(program, monkeypatch):
    """``async with watch(film) as (app, pilot)``: the watch screen of a film, read; it rests less between two readings."""
    monkeypatch.setattr("assetforge.tui.screens.watch._REST_S", 0.05)
    monkeypatch.setattr("assetforge.tui.screens.watch._EXPLAIN_REST_S", 0.2)

    @asynccontextmanager
    async def opened(film, size=(120, 40), images="halfcell"):
        app = program(film, images=images)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: app.session is not None)
            await pilot.press("f5")
            await until(pilot, lambda: isinstance(app.screen, WatchScreen) and app.screen._began)
            yield app, pilot

    return opened


async def choose(app, pilot, name):
    table = items_of(app, "#watch-files")
    found = next(one.file.id for one in app.screen._watched.waiting if name in one.file.shown)
    table.go_to(found)
    await pilot.pause()


async def test_files_that_come_while_it_watches(watch, film, inbox, make_png):
    async with watch(film) as (app, pilot):
        await until(pilot, lambda: "nobody watches" in text_of(app, "#watch-state"))
        await until(pilot, lambda: "once somebody watches" in text_of(app, "#watch-training-title"))
        await pilot.press("S")
        await until(pilot, lambda: "watched from here" in text_of(app, "#watch-state"))
        make_png(inbox / "good.png", 60)
        make_png(inbox / "cut.png", 61, (320, 240))
        (inbox / "cut.png").write_bytes((inbox / "cut.png").read_bytes()[:9000])
        await until(pilot, lambda: "good.png" in names_in(film, "mara"))
        await until(pilot, lambda: len(app.screen._watched.waiting) == 1)
        await until(pilot, lambda: "watched from here" in text_of(app, "#watch-state"))
        await until(pilot, lambda: "cut.png" in line_of(app, "#watch-files"))
        await until(pilot, lambda: "truncated" in line_of(app, "#watch-files"))
        assert who_watches(ProjectPaths(film)).pid == os.getpid()
        app.screen.query_one("#watch-files").focus()
        await until(pilot, lambda: "no picture to show" in text_of(app, "#watch-text"))
        await until(pilot, lambda: not app.screen.query_one("#watch-pictures").display)
        make_png(inbox / "cut.png", 61, (320, 240))
        await until(pilot, lambda: not app.screen._watched.waiting)
        await until(pilot, lambda: "cut.png" in names_in(film, "mara"))
        await until(pilot, lambda: "watched from here" in text_of(app, "#watch-state"))
        await pilot.press("S")
        await until(pilot, lambda: who_watches(ProjectPaths(film)) is None)
        await until(pilot, lambda: "nobody watches" in text_of(app, "#watch-state"))


async def test_keep_makes_a_reference_and_what_cannot_be_read_stays(watch, film, waiting):
    async with watch(film) as (app, pilot):
        await choose(app, pilot, "small.png")
        await until(pilot, lambda: "shorter side must have 40" in text_of(app, "#watch-text"))
        await until(pilot, lambda: app.screen.query_one("#watch-pictures").display)
        await pilot.press("k")
        await until(pilot, lambda: len(app.screen._watched.waiting) == 2)
        await until(pilot, lambda: "small.png" in names_in(film, "mara"))
        await hears(pilot, "1 file is in now")
        await choose(app, pilot, "cut.png")
        await pilot.press("k")
        await until(pilot, lambda: "Still waits: cut.png" in told(app))
        await until(pilot, lambda: "cut.png" in quarantined(film))


async def test_what_looks_like_a_reference_stands_beside_it(watch, film, inbox, make_png):
    set_value(ProjectPaths(film).config, "watch.near_duplicates", "ask")
    with open_project(film) as project:
        twin = list_references(project, "mara").items[3]
        with Pillow.open(project.blobs.path(twin.sha256)) as picture:
            picture.convert("RGB").save(inbox / "again.jpg", quality=88)
    make_png(inbox / "small.png", 51, (32, 32))
    look(film)
    async with watch(film) as (app, pilot):
        waits, alike = (app.screen.query_one(f"#watch-{name}", Picture) for name in ("picture", "twin"))
        await choose(app, pilot, "again.jpg")
        await until(pilot, lambda: alike.display and alike.showing == twin.sha256)
        await until(pilot, lambda: waits.showing not in ("", twin.sha256))
        assert (waits.shown_caption, alike.shown_caption) == ("waits", twin.address)
        assert_aligned(app)
        await choose(app, pilot, "small.png")
        await until(pilot, lambda: not alike.display)
        await until(pilot, lambda: waits.shown_caption == "")


async def test_retry_after_a_repair(watch, film, waiting, inbox, make_png):
    async with watch(film) as (app, pilot):
        await choose(app, pilot, "cut.png")
        make_png(inbox / "cut.png", 50, (320, 240))
        await pilot.press("r")
        await until(pilot, lambda: len(app.screen._watched.waiting) == 2)
        await until(pilot, lambda: "cut.png" in names_in(film, "mara"))


async def test_discard_all_marked_ones(watch, film, waiting, inbox):
    async with watch(film) as (app, pilot):
        await pilot.press("ctrl+a")
        await until(pilot, lambda: "3 marked" in text_of(app, "#watch-files-title"))
        await pilot.press("x")
        await until(pilot, lambda: not app.screen._watched.waiting)
        await hears(pilot, "3 files are passed over now")
        assert len(list(inbox.iterdir())) == 3
    look(film)
    assert quarantined(film) == []


async def test_move_to_another_asset(watch, film, waiting):
    async with watch(film) as (app, pilot):
        await choose(app, pilot, "small.png")
        await pilot.press("m")
        await until(pilot, lambda: bool(app.screen.query(OptionList)))
        options = app.screen.query_one(OptionList)
        assert [str(one.prompt).split()[0] for one in options.options] == ["brass-lamp", "ink-wash"]
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, WatchScreen) and len(app.screen._watched.waiting) == 2)
        await until(pilot, lambda: "small.png" in names_in(film, "brass-lamp"))
        await until(pilot, lambda: "small.png" not in names_in(film, "mara"))


async def test_a_key_leads_to_the_files_before_anything_is_decided(watch, film, waiting):
    async with watch(film) as (app, pilot):
        items_of(app, "#watch-roots").focus()
        await pilot.press("x")
        await until(pilot, lambda: items_of(app, "#watch-files").has_focus)
        await until(pilot, lambda: len(quarantined(film)) == 3)
        await pilot.press("x")
        await until(pilot, lambda: len(app.screen._watched.waiting) == 2)


async def test_another_process_watches(watch, film):
    command = [sys.executable, "-m", "assetforge", "--project", str(film), "watch", "--no-train"]
    other = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            if (by := who_watches(ProjectPaths(film))) is not None:
                break
            threading.Event().wait(0.05)
        assert by is not None
        assert by.pid in (0, other.pid)
        async with watch(film) as (app, pilot):
            await until(pilot, lambda: text_of(app, "#watch-state").startswith("● watched by "))
            if by.pid:
                await until(pilot, lambda: f"process {other.pid}" in text_of(app, "#watch-state"))
                await until(pilot, lambda: "assetforge --project" in text_of(app, "#watch-state"))
            await pilot.press("S")
            await until(pilot, lambda: "stands by" in text_of(app, "#watch-state"))
            other.terminate()
            other.wait(10)
            await until(pilot, lambda: "watched from here" in text_of(app, "#watch-state"))
    finally:
        if other.poll() is None:
            other.kill()
            other.wait(10)


async def test_the_watcher_ends_with_the_program(watch, film):
    async with watch(film) as (app, pilot):
        await pilot.press("S")
        await until(pilot, lambda: "watched from here" in text_of(app, "#watch-state"))
        here = app.screen.watch_here
        with open_project(film) as project, pytest.raises(BusyError):
            Watcher(project).once(1.0)
        await pilot.press("escape")
        assert here.state == "watching"
    assert here.wait(1.5)
    assert here.state == "off"
    assert who_watches(ProjectPaths(film)) is None


async def test_a_folder_that_is_gone(watch, film, inbox, make_png):
    look(film)
    shutil.move(inbox, inbox.with_name("elsewhere"))
    look(film)
    async with watch(film) as (app, pilot):
        await until(pilot, lambda: items_of(app, "#watch-roots").has_focus)
        await until(pilot, lambda: "✕ gone since " in line_of(app, "#watch-roots"))
        await until(pilot, lambda: "mara" in line_of(app, "#watch-roots"))
        await until(pilot, lambda: "references stay as they are" in text_of(app, "#watch-text"))
        await until(pilot, lambda: "3 folders" in text_of(app, "#watch-scans"))
        await until(pilot, lambda: "‖ not watched" in line_of(app, "#watch-roots", 1))


@pytest.mark.parametrize("images", ["halfcell", "off"])
async def test_hostile_names_in_every_size(watch, film, waiting, images):
    async with watch(film, (80, 24), images) as (app, pilot):
        await choose(app, pilot, "[red]")
        for size in ((80, 24), (120, 40), (200, 60)):
            await pilot.resize_terminal(*size)
            items_of(app, "#watch-files").focus()
            await until(pilot, lambda: "a[b] [red] name 名前.png" in text_of(app, "#watch-text"))
            for _ in range(3):
                assert_aligned(app)
                await pilot.press("tab")
                await pilot.pause()


async def test_nothing_is_watched(watch, home):
    with create_project("bare") as project:
        root = project.root
    async with watch(root) as (app, pilot):
        await until(pilot, lambda: app.screen.query_one("#watch-nothing").display)
        await until(pilot, lambda: "[[watch.roots]]" in text_of(app, "#watch-nothing"))
        await pilot.press("k", "A")
        await until(pilot, lambda: "No training waits for a yes" in told(app))
        await hears(pilot, "No file waits")


async def test_settings_that_cannot_be_used_are_told_on_top(watch, film):
    path = ProjectPaths(film).config
    path.write_text(path.read_text() + '\n[[watch.roots]]\nasset = "nobody"\npath = "x"\n')
    async with watch(film) as (app, pilot):
        await until(pilot, lambda: app.screen.query_one("#watch-problem").display)
        await until(pilot, lambda: "'nobody', which is not there" in text_of(app, "#watch-problem"))


async def test_what_would_train_counts_down(watch, film):
    async with watch(film) as (app, pilot):
        screen = app.screen
        await until(pilot, lambda: len(screen._trainings) == 3)
        by_name = {one.explained.asset: one.explained for one in screen._trainings}
        assert by_name["mara"].outcome in ("wait", "no")
        items_of(app, "#watch-training").focus()
        await until(pilot, lambda: "mode ask" in text_of(app, "#watch-text"))
        assert screen._clock_timer._active.is_set()
        await pilot.press("escape")
        await pilot.pause(0.1)
        assert not screen._running or not screen._clock_timer._active.is_set()


@pytest.fixture
def coat(home, tmp_path, make_png, monkeypatch):
    """A film whose only asset waits for a yes."""
    pytest.importorskip("assetforge_example")
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")
    reset_registry()
    with create_project("coats") as project:
        for key, value in {"retrain.quiet_minutes": 0.0, "retrain.cooldown_minutes": 0.0, "retrain.min_new": 3}.items():
            set_value(project.paths.config, key, value)
        add_asset(project, "coat", "costume", trigger="rdcoat", class_word="outfit")
        add_references(project, "coat", [make_png(tmp_path / "in" / f"{seed}.png", seed) for seed in range(6)])
        yield project.root
    reset_registry()


async def test_a_yes_starts_the_training(watch, coat, monkeypatch):
    supervised = []
    monkeypatch.setattr("assetforge.jobs.background.ensure_supervisor", supervised.append)
    async with watch(coat) as (app, pilot):
        await until(pilot, lambda: bool(app.screen._trainings))
        assert line_of(app, "#watch-training").startswith("coat  ◐ your yes  first run: 6 new pictures")
        await pilot.press("A")
        await until(pilot, lambda: "run 1 is queued, on coat/d1" in told(app))
        assert len(supervised) == 1
        await until(pilot, lambda: "not finished yet" in line_of(app, "#watch-training"))
        items_of(app, "#watch-training").focus()
        await pilot.press("A")
        await until(pilot, lambda: "coat waits for no yes" in told(app))


def test_who_watches_says_nothing_of_those_who_only_ask(film):
    paths = ProjectPaths(film)
    assert who_watches(paths) is None
    with open_project(film) as project:
        stopping = threading.Event()
        watcher = Watcher(project)
        thread = threading.Thread(target=watcher.run, args=(stopping,))
        thread.start()
        try:
            for _ in range(200):
                if watcher.roots:
                    break
                threading.Event().wait(0.05)
            found = who_watches(paths)
            assert found is not None
            assert found.pid in (0, os.getpid())
        finally:
            stopping.set()
            thread.join(10)
    assert who_watches(paths) is None
