"""When garbage is collected."""

import gc
import time

import pytest
from textual import events
from textual.app import App
from textual.screen import Screen
from textual.widgets import Static

from assetforge.tui import sweeping
from assetforge.tui.sweeping import Sweeping


@pytest.fixture(autouse=True)
def as_before():
    """What is set here is the whole process's."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    gc.enable()


class SweepingApp(Sweeping):
    def compose(self):
        yield Static("lines of\nthe screen")


class TestMoments:
    async def test_what_is_loaded_for_good_is_not_looked_at_again(self):
        async with SweepingApp().run_test() as pilot:
            pilot.app.begin_sweeping()
            assert gc.get_freeze_count() > 10_000
            assert gc.get_threshold() == sweeping._THRESHOLDS

    async def test_a_program_that_began_without_a_collector_has_one_once_it_stands(self):
        gc.disable()
        try:
            async with SweepingApp().run_test() as pilot:
                await pilot.pause()
                assert gc.isenabled()
        finally:
            gc.enable()

    async def test_quiet_moments_only(self, monkeypatch):
        app = SweepingApp()
        async with app.run_test() as pilot:
            await pilot.press("x")
            monkeypatch.setattr(gc, "get_count", lambda: (0, 0, 1))
            assert not app.sweep_when_due()
            monkeypatch.setattr(sweeping, "_QUIET_S", 0.0)
            assert app.sweep_when_due()

    async def test_not_only_quiet_ones_when_much_has_gathered(self, monkeypatch):
        app = SweepingApp()
        async with app.run_test() as pilot:
            await pilot.press("x")
            monkeypatch.setattr(gc, "get_count", lambda: (0, 0, sweeping._FULL))
            assert app.sweep_when_due()

    async def test_some_seconds_after_a_screen_was_left(self, monkeypatch):
        app = SweepingApp()
        async with app.run_test() as pilot:
            monkeypatch.setattr(gc, "get_count", lambda: (0, 0, 0))
            await app.push_screen(Screen())
            assert not app.sweep_when_due()
            await app.pop_screen()
            await pilot.press("x")
            assert not app.sweep_when_due()
            now = time.monotonic()
            monkeypatch.setattr(time, "monotonic", lambda: now + sweeping._LEFT_S)
            assert app.sweep_when_due()
            assert not app.sweep_when_due()

    async def test_only_when_there_may_be_something(self, monkeypatch):
        app = SweepingApp()
        async with app.run_test():
            monkeypatch.setattr(sweeping, "_QUIET_S", 0.0)
            monkeypatch.setattr(gc, "get_count", lambda: (4000, 9, 0))
            assert not app.sweep_when_due()

    async def test_the_mouse_counts_too(self):
        app = SweepingApp()
        async with app.run_test() as pilot:
            app._touched = 0.0
            await pilot.click(Static)
            assert time.monotonic() - app._touched < 10

    async def test_what_is_not_somebody_does_not(self):
        app = SweepingApp()
        async with app.run_test():
            app._touched = 0.0
            await app.on_event(events.Idle())
            assert app._touched == 0.0

    async def test_it_begins_once(self, monkeypatch):
        app = SweepingApp()
        timers = []
        async with app.run_test():
            monkeypatch.setattr(App, "set_interval", lambda _self, *given, **_more: timers.append(given))
            app.begin_sweeping()
            app.begin_sweeping()
        assert len(timers) == 1


def test_free_memory_is_given_back_where_that_can_be_asked_for(monkeypatch):
    sweeping.give_back()
    monkeypatch.setattr(sweeping, "_trim", lambda: None)
    sweeping.give_back()
