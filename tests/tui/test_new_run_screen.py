"""A new run from its form: what would run, what cannot, and what is queued in the end."""

import time
from contextlib import asynccontextmanager

import pytest
from textual.widgets import Static

from assetforge.services.datasets import freeze, list_datasets
from assetforge.services.projects import open_project
from assetforge.services.runs import get_run, list_runs
from assetforge.tui.screens.dialogs import ChoiceDialog
from assetforge.tui.screens.new_run import NewRunScreen
from assetforge.tui.screens.new_run_plan import FREEZE
from assetforge.tui.screens.runs import RunsScreen

pytest.importorskip("assetforge_toybox")


@pytest.fixture
def frozen(small_film):
    """The small film, whose ``mara`` has a dataset version."""
    with open_project(small_film) as project:
        freeze(project, "mara")
    return small_film


@pytest.fixture(autouse=True)
def started(monkeypatch):
    """Supervisors that were asked for; none is started."""
    asked = []
    monkeypatch.setattr("assetforge.jobs.background.ensure_supervisor", lambda project: asked.append(project.root))
    return asked


@pytest.fixture
def new_run(program):
    """``async with new_run(film, asset) as (app, pilot, screen)``: the form, and its first preview or problem."""

    @asynccontextmanager
    async def opened(film, asset="mara", size=(120, 40)):
        app = program(film, images="off")
        async with app.run_test(size=size, notifications=True) as pilot:
            await ready(pilot, lambda: app.session is not None and app.session.is_open)
            await app.push_screen(NewRunScreen(asset))
            screen = app.screen
            await ready(pilot, lambda: screen.preview is not None or bool(said(screen, "problem")))
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


def said(screen, name):
    return str(screen.query_one(f"#newrun-{name}", Static).content)


def toasts(app):
    return " ".join(one.message for one in app._notifications)


async def test_what_would_run_stands_beside_the_form(new_run, frozen):
    async with new_run(frozen) as (_app, pilot, screen):
        words = said(screen, "preview")
        assert "mara/d1" in words
        assert "as character-toybox says" in words
        assert "350" in words
        assert "no earlier run tells" in words
        assert "rights" in words
        assert screen.form.values() == {}
        screen.form.focus_field("steps")
        await pilot.press(*"700")
        await ready(pilot, lambda: "350 → 700" in said(screen, "preview"))
        assert screen.wish().overrides == {"steps": 700}
        await pilot.press("ctrl+r")
        await ready(pilot, lambda: "as character-toybox says" in said(screen, "preview"))


async def test_what_cannot_be_does_not_start(new_run, frozen, started):
    async with new_run(frozen) as (app, pilot, screen):
        screen.form.focus_field("rank")
        await pilot.press(*"999", "ctrl+s")
        await ready(pilot, lambda: "Not started: Rank must be 1 to 256." in toasts(app))
        await ready(pilot, lambda: "Rank must be 1 to 256" in said(screen, "problem"))
        assert app.screen is screen
        assert started == []
        with open_project(frozen) as project:
            assert list_runs(project) == []


async def test_it_starts_and_shows_the_run_and_an_equal_one_joins_it(new_run, frozen, started):
    async with new_run(frozen) as (app, pilot, screen):
        screen.form.focus_field("steps")
        await pilot.press(*"12")
        screen.form.set_value("plan.seed", 5)
        await pilot.press("ctrl+s")
        await ready(pilot, lambda: isinstance(app.screen, RunsScreen) and app.screen._table.current is not None)
        assert app.screen._table.current.run == 1
        assert "Run 1 is queued: mara on mara/d1." in toasts(app)
        assert started == [frozen]
        with open_project(frozen) as project:
            run = get_run(project, 1)
        assert (run.params["steps"], run.seed, run.recipe, run.base) == (12, 5, "character-toybox", "toybox")
        assert not any(isinstance(one, NewRunScreen) for one in app.screen_stack)
        await app.push_screen(NewRunScreen("mara"))
        again = app.screen
        await ready(pilot, lambda: again.preview is not None)
        again.form.set_value("steps", 12)
        again.form.set_value("plan.seed", 5)
        await ready(pilot, lambda: again.preview is not None and again.preview.joined == 1)
        await ready(pilot, lambda: "run 1 does the same" in said(again, "preview"))
        await pilot.press("ctrl+s")
        await ready(pilot, lambda: isinstance(app.screen, RunsScreen))
        with open_project(frozen) as project:
            assert len(list_runs(project)) == 1


async def test_what_is_there_now_is_frozen_when_it_starts_and_not_before(new_run, small_film):
    async with new_run(small_film) as (app, pilot, screen):
        assert screen.form.all_values()["plan.dataset"] == FREEZE
        assert "frozen first" in said(screen, "preview")
        with open_project(small_film) as project:
            assert list_datasets(project, "mara") == []
        await pilot.press("ctrl+s")
        await ready(pilot, lambda: isinstance(app.screen, RunsScreen))
        with open_project(small_film) as project:
            assert [one.address for one in list_datasets(project, "mara")] == ["mara/d1"]
            assert get_run(project, 1).dataset == "mara/d1"


async def test_another_recipe_makes_another_form_and_keeps_what_was_changed(new_run, frozen):
    async with new_run(frozen) as (app, pilot, screen):
        screen.form.set_value("rank", 12)
        await pilot.press("ctrl+e")
        await ready(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        choices = [one.id for one in app.screen._choices]
        assert "character-toybox" in choices
        other = next(name for name in choices if name != "character-toybox" and not name.endswith("toybox"))
        app.screen.dismiss(other)
        before = screen.form
        await ready(pilot, lambda: screen._plan is not None and screen._plan.recipe == other)
        assert screen.form is not before
        if "rank" in {field.name for field in screen.form.fields}:
            assert screen.form.values().get("rank") == 12


async def test_an_asset_without_references_says_so(new_run, small_film, started):
    async with new_run(small_film, "ink-wash") as (app, pilot, screen):
        assert "no " in said(screen, "problem")
        await pilot.press("ctrl+s")
        await ready(pilot, lambda: len(app._notifications) > 0)
        assert app.screen is screen
        assert started == []


@pytest.mark.parametrize(
    "size", [(80, 24), *(pytest.param(size, marks=pytest.mark.slow) for size in ((200, 60), (60, 15)))]
)
async def test_other_sizes(new_run, frozen, size):
    async with new_run(frozen, size=size) as (app, pilot, screen):
        assert "mara/d1" in said(screen, "preview")
        for key in ("down", "down", "tab", "pagedown", "slash", "r", "a", "n", "k", "escape"):
            await pilot.press(key)
        await pilot.pause()
        assert app.screen is screen
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is not screen


async def test_looks_are_never_taken_twice_at_once_and_the_last_one_counts(new_run, frozen, monkeypatch):
    from assetforge.services import training_preview

    at_once, most, real = 0, 0, training_preview.preview_training

    def slow(*args, **kwargs):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.3)
        try:
            return real(*args, **kwargs)
        finally:
            at_once -= 1

    monkeypatch.setattr(training_preview, "preview_training", slow)
    async with new_run(frozen) as (_app, pilot, screen):
        for steps in (10, 20, 30, 40):
            screen.form.set_value("steps", steps)
            await pilot.pause(0.35)
        await ready(pilot, lambda: screen.preview is not None and screen.preview.steps == 40)
        assert most == 1
