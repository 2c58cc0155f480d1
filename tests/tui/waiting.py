"""Hands for tests of the program: wait for what must become true, read what stands on the screen and what was told."""

import asyncio
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from textual import events
from textual.app import App
from textual.keys import REPLACED_KEYS, _get_unicode_name_from_key
from textual.pilot import Pilot
from textual.screen import Screen
from textual.strip import Strip

from assetforge.tui.app import FilmApp
from assetforge.tui.screens.film import AssetsScreen
from assetforge.tui.session import _Threads
from assetforge.tui.widgets.items import VirtualItems
from assetforge.tui.words import widening

__all__ = ["assert_aligned", "asset", "filled", "hears", "press", "sees", "settle", "shown", "told", "until", "write"]

_TIMEOUT_S = 5.0
"""A program that never rests is waited for no longer."""

_LONG_S = 1.0
"""A call that is under way for longer is held up on purpose, or is one that never ends."""

_calls: dict[object, float] = {}
"""Calls in threads that the program waits for, and since when."""


@contextmanager
def watched_calls() -> Iterator[None]:
    """Know of every call that programs make in threads, for :func:`settle`."""
    real = _Threads.take

    def take(self: _Threads, call: Callable[[], None]) -> None:
        mark, one = object(), [call]

        def made() -> None:
            try:
                # Nothing is kept here of what it was called with.
                one.pop()()
            finally:
                _calls.pop(mark, None)

        _calls[mark] = time.monotonic()
        real(self, made)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Threads, "take", take)
        yield
    _calls.clear()


async def settle(pilot: Pilot[Any]) -> None:
    """What was begun is done: nothing waits in the event loop, calls in threads have given what they had to give, and the screen is painted as it must be now.

    What a timer begins later is not waited for.
    """
    app = pilot.app
    loop: Any = asyncio.get_running_loop()
    end = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < end and app._exception is None and app._screen_stack:
        await asyncio.sleep(0)
        if loop._ready:
            continue
        if app._resize_event is not None or any(time.monotonic() - begun < _LONG_S for begun in [*_calls.values()]):
            await asyncio.sleep(0.002)
        elif _to_paint(app.screen):
            # The program paints every 16 ms only.
            app.screen._on_timer_update()
        else:
            return


def _to_paint(screen: Screen[Any]) -> bool:
    return bool(
        screen.is_current
        and not screen.app._batch_count
        and (
            screen._layout_required
            or screen._scroll_required
            or screen._repaint_required
            or screen._recompose_required
            or screen._dirty_widgets
            or screen._callbacks
        )
    )


async def until(pilot: Pilot[Any], condition: Callable[[], object], timeout: float = 20.0) -> None:
    """Let the program work until something is true."""
    end = time.monotonic() + timeout
    while not condition():
        assert pilot.app._exception is None, pilot.app._exception
        assert time.monotonic() < end, f"that never came; on the screen:\n{shown(pilot.app)}\ntold: {told(pilot.app)}"
        await asyncio.sleep(0.03)
    await settle(pilot)


async def sees(pilot: Pilot[Any], *texts: str) -> None:
    """All texts come to stand on the screen."""
    await until(pilot, lambda: all(text in shown(pilot.app) for text in texts))


async def hears(pilot: Pilot[Any], *texts: str) -> None:
    """All texts come to be told in toasts."""
    await until(pilot, lambda: all(text in told(pilot.app) for text in texts))


async def filled(pilot: Pilot[Any]) -> AssetsScreen:
    """The film is open and its assets are there."""
    app = pilot.app
    assert isinstance(app, FilmApp)
    await until(pilot, lambda: isinstance(app.screen, AssetsScreen) and app.session is not None)
    await until(
        pilot, lambda: app.screen.items.source is not None and app.screen.items.empty != app.screen.items.opening
    )
    screen = app.screen
    assert isinstance(screen, AssetsScreen)
    return screen


async def asset(pilot: Pilot[Any], name: str, tab: str = "") -> Any:
    """The pane of a tab of an asset, with its list filled."""
    await filled(pilot)
    app: Any = pilot.app
    await app.open_asset(name, tab)
    await until(pilot, lambda: app.screen.pane is not None and app.screen.pane.is_on_screen)
    pane = app.screen.pane
    await until(
        pilot, lambda: all(one.source is not None for one in pane.query(VirtualItems) if one.id != "datasets-diff")
    )
    await until(pilot, lambda: isinstance(app.focused, VirtualItems))
    return pane


async def press(pilot: Pilot[Any], *keys: str) -> None:
    """Press keys one after the other and let the program take each; quicker and surer than the pilot, which waits for the processor to be idle."""
    for key in keys:
        pilot.app.post_message(events.Key(key, _character(key)))
        await settle(pilot)
        await pilot.app.animator.wait_until_complete()


def _character(key: str) -> str | None:
    if len(key) == 1:
        return key
    try:
        return unicodedata.lookup(_get_unicode_name_from_key(REPLACED_KEYS.get(key, key)))
    except KeyError:
        return None


async def write(pilot: Pilot[Any], text: str) -> None:
    """Paste a text into what is focused."""
    pilot.app.post_message(events.Paste(text))
    await settle(pilot)


def told(app: App[Any]) -> str:
    """All toasts that are there."""
    return "\n".join(one.message for one in app._notifications)


def strips(app: App[Any]) -> list[Strip]:
    """The lines of the whole screen as they go to the terminal."""
    return [Strip(line) for line in app.screen._compositor.render_strips()]


def shown(app: App[Any]) -> str:
    """The text of the whole screen."""
    return "\n".join(strip.text for strip in strips(app))


def assert_aligned(app: App[Any]) -> None:
    """Every line of the screen is exactly as wide as the terminal and holds no control characters, no direction marks and nothing whose width terminals disagree about."""
    for strip in strips(app):
        assert strip.cell_length == app.size.width, repr(strip.text)
        bad = [
            char
            for char in strip.text
            if unicodedata.category(char) in ("Cc", "Zl", "Zp") or "\u202a" <= char <= "\u202e" or widening(char)
        ]
        assert not bad, (bad, strip.text)
