"""Screens that plugins bring: found by their specs alone, loaded when they are opened, and unable to end the program by failing to load."""

from typing import TYPE_CHECKING

from textual.screen import Screen

from assetforge.tui.session import FilmSession, in_thread

if TYPE_CHECKING:
    from assetforge.api.specs import ScreenSpec

__all__ = ["make_screen", "plugin_screens"]


async def plugin_screens() -> "list[ScreenSpec]":
    """The screens of every plugin that works here, by title."""
    return await in_thread(_found)


def _found() -> "list[ScreenSpec]":
    from assetforge.extension.registry import get_registry

    return sorted((one.spec for one in get_registry().screens()), key=lambda spec: spec.title)


async def make_screen(session: FilmSession, spec: "ScreenSpec") -> Screen[object]:
    """Load a plugin's screen and make it for the open film.

    Raises:
        PluginError: It cannot be loaded, cannot be made, or is no screen.
    """
    from assetforge.errors import PluginError
    from assetforge.extension.registry import load

    kind = await session.call(load, spec.load)
    try:
        screen = kind(session.root)
    except Exception as error:
        raise PluginError(
            f"The screen {spec.title!r} cannot be made: {type(error).__name__}: {error}.",
            hint="`assetforge plugin list` names the plugin that brings it.",
        ) from error
    if not isinstance(screen, Screen):
        raise PluginError(
            f"{spec.load} is no screen.", hint="Tell the author of the plugin: it must be a textual.screen.Screen."
        )
    return screen
