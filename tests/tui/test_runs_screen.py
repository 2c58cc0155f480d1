"""Runs in the terminal program: the queue with its reasons, one job as it goes, and what can be done about jobs; at last with a real training."""

import shutil
import time
from contextlib import asynccontextmanager

import pytest
from textual.widgets import Static

from assetforge.jobs.control import get_job
from assetforge.paths import ProjectPaths
from assetforge.services.projects import open_project
from assetforge.services.relocation import remember_place
from assetforge.tui.screens.dialogs import ConfirmDialog
from assetforge.tui.screens.new_run import NewRunScreen
from assetforge.tui.screens.runs import RunsScreen
from assetforge.tui.widgets.log_tail import LogTail
from assetforge.tui.widgets.picture import Picture
from assetforge.tui.widgets.run_chart import RunChart
from tests.tui import run_jobs

pytest.importorskip("assetforge_toybox")


@pytest.fixture(scope="module")
def made_busy(drawn_film, tmp_path_factory):
    """What :func:`busy` is a copy of; made once, since that takes half a second."""
    folder = tmp_path_factory.mktemp("busy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSETFORGE_HOME", str(folder / "home"))
        patch.setenv("ASSETFORGE_ACTOR", "director")
        root = shutil.copytree(drawn_film, folder / drawn_film.name, symlinks=True)
        with open_project(root) as project:
            jobs = run_jobs.busy(project)
    yield root, jobs
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def busy(home, tmp_path, made_busy):
    """The small film with jobs of every kind and state: its folder, and the jobs by name."""
    made, jobs = made_busy
    root = tmp_path / "projects" / made.name
    shutil.copytree(made, root, symlinks=True)
    remember_place(ProjectPaths(root))
    with open_project(root) as project:
        run_jobs.set_job(project, jobs["held"], not_before=time.time() + 480)
    return root, jobs


@pytest.fixture
def started(monkeypatch):
    """Supervisors that were asked for; none is started."""
    asked = []
    monkeypatch.setattr("assetforge.jobs.background.ensure_supervisor", lambda project: asked.append(project.root))
    return asked


@pytest.fixture
def runs(program):
    """``async with runs(film) as (app, pilot, screen)``: the screen with the queue read."""

    @asynccontextmanager
    async def opened(film, size=(120, 40)):
        app = program(film)
        async with app.run_test(size=size, notifications=True) as pilot:
            await ready(pilot, lambda: app.session is not None and app.session.is_open)
            await app.action_runs()
            screen = app.screen
            assert isinstance(screen, RunsScreen)
            await ready(pilot, lambda: screen._read_once)
            yield app, pilot, screen

    return opened


async def ready(pilot, condition, limit_s=15.0):
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        await pilot.pause(0.02)
        if condition():
            await pilot.pause()
            return
    raise AssertionError("it never came to that")


def toasts(app):
    return " ".join(one.message for one in app._notifications)


def said(screen, name):
    return str(screen.query_one(f"#follow-{name}", Static).content)


def cells(screen, job):
    row = next(row for row in screen._rows if row.id == job)
    return [str(cell) for cell in screen._cells(row)]


def order(screen):
    return [row.id for row in screen._rows]


async def go_to(pilot, screen, job):
    screen._table.go_to(job)
    await ready(pilot, lambda: screen._follow.row is not None and screen._follow.row.id == job)


async def test_the_queue_in_the_order_in_which_it_runs_and_why_it_waits(runs, busy):
    film, jobs = busy
    async with runs(film) as (_app, pilot, screen):
        names = {job: name for name, job in jobs.items()}
        assert [names[job] for job in order(screen)] == [
            *("training", "rendering", "next", "later", "held", "failed", "stopped", "done", "scored")
        ] or [names[job] for job in order(screen)][:5] == ["training", "rendering", "next", "later", "held"]
        await ready(pilot, lambda: "62 %" in cells(screen, jobs["training"])[0])
        await ready(pilot, lambda: "32 %" in cells(screen, jobs["rendering"])[0])
        assert "1,178/1,900" in cells(screen, jobs["training"])[3]
        assert cells(screen, jobs["training"])[4] == "local cuda:0"
        assert cells(screen, jobs["next"])[3] == "nobody works; R starts"
        assert cells(screen, jobs["held"])[3] == "in 8 min at the earliest"
        assert cells(screen, jobs["later"])[4] == "automatic: 5 new references"
        screen.queue_attended()
        assert cells(screen, jobs["next"])[3] == "next"
        assert cells(screen, jobs["later"])[3] == "after 1 other"
        assert cells(screen, jobs["stopped"])[3] == "stopped for now; R goes on from its last checkpoint"


async def test_one_job_as_it_goes(runs, busy):
    film, jobs = busy
    async with runs(film) as (_app, pilot, screen):
        await ready(pilot, lambda: "1,178/1,900" in said(screen, "status"))
        assert "62 %" in said(screen, "status")
        assert "1.9 it/s" in said(screen, "status")
        assert "21.4 GB" in said(screen, "status")
        loss = screen.query_one("#follow-loss", RunChart)
        assert len(loss._values) == 1178
        assert len(loss._other[0]) == 11
        log = screen.query_one(LogTail)
        assert log.lines[-1].startswith("step 1100")
        with open_project(film) as project:
            began = time.time() - 1900 / 1.9
            run_jobs.write_events(
                project,
                jobs["training"],
                [run_jobs.progress(step, 1900, began) for step in range(1179, 1400)],
                ["the newest line"],
            )
        await ready(pilot, lambda: "1,399/1,900" in said(screen, "status"))
        await ready(pilot, lambda: log.lines[-1] == "the newest line")
        assert "74 %" in cells(screen, jobs["training"])[0]
        assert len(loss._values) == 1399


async def test_pictures_the_log_alone_and_back(runs, busy):
    film, _jobs = busy
    async with runs(film) as (app, pilot, screen):
        await ready(pilot, lambda: "1,178" in said(screen, "status"))
        await pilot.press("s")
        first = screen.query(Picture).first(Picture)
        await ready(pilot, lambda: first.shown_caption == "step 1,050 · mrx at sea")
        # What the same step made stands in the order of its prompts; below it what the step before made of the same.
        captions = [picture.shown_caption for picture in screen.query(Picture)]
        assert captions[1:4] == ["step 1,050 · a [b]lamp[/b]", "step 900 · mrx at sea", "step 900 · a [b]lamp[/b]"]
        assert not screen.query_one("#follow-loss").display
        await pilot.press("s")
        assert screen.query_one("#follow-loss").display
        await pilot.press("enter")
        assert screen.is_alone
        assert not screen.query_one("#runs-left").display
        await pilot.press("l")
        await pilot.pause()
        assert screen._follow.view == "log"
        assert app.focused is screen.query_one(LogTail)
        await pilot.press("escape")
        await pilot.pause()
        assert not screen.is_alone
        assert app.screen is screen
        assert app.focused is screen._table


async def test_what_failed_says_so_in_full_and_harmlessly(runs, busy):
    film, jobs = busy
    async with runs(film) as (app, pilot, screen):
        await go_to(pilot, screen, jobs["failed"])
        await ready(pilot, lambda: "take a smaller batch size." in said(screen, "note"))
        assert "[/b] [red]" in said(screen, "note")
        await ready(pilot, lambda: "steps 500 (recipe 350)" in said(screen, "made"))
        await pilot.press("enter")
        await ready(pilot, lambda: "diffusers-lora" in said(screen, "made"))
        assert "\x1b[31m" not in app.export_screenshot()
        assert any("[b]not bold[/b]" in line for line in screen.query_one(LogTail).lines)


async def test_priority_of_one_and_of_two(runs, busy):
    film, jobs = busy
    async with runs(film) as (_app, pilot, screen):
        await go_to(pilot, screen, jobs["later"])
        await pilot.press("plus")
        await ready(pilot, lambda: order(screen)[2:4] == [jobs["later"], jobs["next"]])
        assert "priority +1" in screen._why(screen._rows[2]) or not screen._attended
        assert screen._table.current.id == jobs["later"]
        screen._table.set_marks({jobs["next"], jobs["later"]})
        await pilot.press("plus")
        await ready(pilot, lambda: [row.priority for row in screen._rows[2:4]] == [2, 1])
        await pilot.press("minus", "minus")
        await ready(pilot, lambda: sorted(row.priority for row in screen._rows[2:5]) == [-1, 0, 0])


async def test_cancel_asks_and_what_ended_cannot_be_cancelled(runs, busy):
    film, jobs = busy
    async with runs(film) as (app, pilot, screen):
        await go_to(pilot, screen, jobs["later"])
        await pilot.press("K")
        await ready(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("n")
        await pilot.pause()
        await pilot.press("K")
        await ready(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await ready(pilot, lambda: cells(screen, jobs["later"])[0] == "✕ cancelled")
        await go_to(pilot, screen, jobs["scored"])
        await pilot.press("K")
        await ready(pilot, lambda: "there is nothing to cancel" in toasts(app))


async def test_stop_and_resume_what_had_not_begun(runs, busy, started):
    film, jobs = busy
    async with runs(film) as (app, pilot, screen):
        await go_to(pilot, screen, jobs["next"])
        await pilot.press("k")
        await ready(pilot, lambda: cells(screen, jobs["next"])[0] == "✕ cancelled")
        assert "had not begun" in toasts(app)
        await pilot.press("R")
        await ready(pilot, lambda: cells(screen, jobs["next"])[0] == "‖ waiting")
        assert started == [film]
        await go_to(pilot, screen, jobs["done"])
        await pilot.press("R")
        await ready(pilot, lambda: "has succeeded" in toasts(app))


async def test_only_what_is_open_and_a_run_that_is_hidden(runs, busy):
    film, jobs = busy
    async with runs(film) as (app, pilot, screen):
        await pilot.press("f")
        await ready(pilot, lambda: len(screen._rows) == 5)
        number = 7
        with open_project(film) as project:
            number = get_job(project, jobs["done"]).run
        await app.go_to("run", str(number))
        await ready(pilot, lambda: screen._table.current.id == jobs["done"])
        screen.show_run(999)
        await ready(pilot, lambda: "Run 999 is not among" in toasts(app))
        await pilot.press("v")
        await ready(pilot, lambda: "made no version" in toasts(app))


async def test_nothing_was_queued(runs, small_film):
    async with runs(small_film) as (app, pilot, screen):
        assert "n starts a run" in screen._table.empty
        assert not screen.query_one("#runs-right").display
        for key in ("k", "K", "R", "plus", "enter", "l", "s"):
            await pilot.press(key)
        await pilot.pause()
        assert app.screen is screen
        await pilot.press("n")
        await ready(pilot, lambda: bool(app.screen.query("OptionList")))
        await pilot.press("enter")
        await ready(pilot, lambda: isinstance(app.screen, NewRunScreen))


async def test_nobody_looks_at_what_ended_or_from_another_screen(runs, busy, monkeypatch):
    film, jobs = busy
    looks = []
    async with runs(film) as (app, pilot, screen):
        await go_to(pilot, screen, jobs["stopped"])
        with open_project(film) as project:
            for name in ("training", "rendering"):
                run_jobs.end(project, jobs[name], "succeeded", ago_s=1)
        await ready(pilot, lambda: not any(row.state == "running" for row in screen._rows))
        await ready(pilot, lambda: jobs["stopped"] in screen._ended)
        monkeypatch.setattr(screen, "_look", looks.append)
        await pilot.pause(0.6)
        assert looks == []
        assert set(screen._follows) == {jobs["stopped"]}
        screen._ended.clear()
        await app.action_settings()
        await pilot.pause(0.6)
        assert looks == []


@pytest.mark.parametrize("size", [(80, 24), pytest.param((200, 60), marks=pytest.mark.slow), (60, 15)])
async def test_other_sizes(runs, busy, size):
    film, _jobs = busy
    async with runs(film, size=size) as (_app, pilot, screen):
        await ready(pilot, lambda: "1,178/1,900" in said(screen, "status"))
        if size[0] < 100:
            assert not screen.query_one("#follow-body").display
        for key in ("enter", "s", "s", "l", "escape", "end"):
            await pilot.press(key)
            await pilot.pause(0.1)
        assert screen.query_one("#runs-panes").size.width == size[0]


@pytest.mark.slow
async def test_a_real_training_is_started_watched_stopped_and_resumed(program, small_film):
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    app = program(small_film)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await ready(pilot, lambda: app.session is not None and app.session.is_open)
        await app.push_screen(NewRunScreen("mara"))
        form_screen = app.screen
        await ready(pilot, lambda: form_screen.preview is not None)
        form_screen.form.focus_field("steps")
        await pilot.press(*"2000", "ctrl+s")
        await ready(pilot, lambda: isinstance(app.screen, RunsScreen) and app.screen._table.current is not None)
        screen = app.screen

        def row():
            return screen._table.current

        def update():
            return screen._follow._update

        await ready(pilot, lambda: row().state == "running" and update().step > 5, limit_s=120)
        await ready(pilot, lambda: len(screen.query_one("#follow-loss", RunChart)._values) > 5)
        assert any("Training on" in line for line in screen.query_one(LogTail).lines)
        await pilot.press("k")
        await ready(pilot, lambda: row().state == "cancelled", limit_s=60)
        await ready(pilot, lambda: update().checkpoint is not None and "R goes on" in said(screen, "note"))
        checkpoint = update().checkpoint
        await pilot.press("R")
        await ready(pilot, lambda: row().state == "running" and update().step > checkpoint, limit_s=120)
        assert update().resumed_from == checkpoint
        await pilot.press("K")
        await ready(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await ready(pilot, lambda: row().state == "cancelled", limit_s=60)
