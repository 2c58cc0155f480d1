"""Hands for tests of the program: wait for what must become true, read what stands on the screen and what was told."""

import asyncio
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from textual import events
from textual.app import App
from textual.keys import _get_unicode_name_from_key
from textual.pilot import Pilot, WaitForScreenTimeout
from textual.strip import Strip

from assetforge.tui.app import FilmApp
from assetforge.tui.screens.film import AssetsScreen
from assetforge.tui.widgets.items import VirtualItems
from assetforge.tui.words import widening

__all__ = ["assert_aligned", "asset", "filled", "press", "settle", "shown", "told", "until", "write"]

_HOPS = 4
"""A key goes to the program, to what is focused, back to the program, and to what the action is of."""


async def settle(pilot: Pilot[Any]) -> None:
    """Every widget has taken what was sent to it; one that is removed meanwhile never does, and is not waited for."""
    with suppress(WaitForScreenTimeout):
        await pilot._wait_for_screen(timeout=0.5)


async def until(pilot: Pilot[Any], condition: Callable[[], object], timeout: float = 20.0) -> None:
    """Let the program work until something is true."""
    end = time.monotonic() + timeout
    while not condition():
        assert pilot.app._exception is None, pilot.app._exception
        assert time.monotonic() < end, f"that never came; on the screen:\n{shown(pilot.app)}\ntold: {told(pilot.app)}"
        await asyncio.sleep(0.01)
    await settle(pilot)


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
    """Press keys one after the other and let the program take each; quicker than the pilot, which waits for the processor to be idle."""
    for key in keys:
        pilot.app.post_message(events.Key(key, _character(key)))
        for _ in range(_HOPS):
            await settle(pilot)


def _character(key: str) -> str | None:
    if len(key) == 1:
        return key
    try:
        return unicodedata.lookup(_get_unicode_name_from_key(key))
    except KeyError:
        return None


async def write(pilot: Pilot[Any], text: str) -> None:
    """Paste a text into what is focused."""
    pilot.app.post_message(events.Paste(text))
    for _ in range(_HOPS):
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
