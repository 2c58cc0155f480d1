"""The palette: every action that can be called here, and anything of the film by a few of its letters."""

import re
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.app import App
from textual.binding import Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.dom import DOMNode

from assetforge.tui.actions import ACTIONS, Action, actions_of
from assetforge.tui.plugin_screens import plugin_screens
from assetforge.tui.screens.base import FilmScreen
from assetforge.tui.words import plain

if TYPE_CHECKING:
    from assetforge.db.browse.versions import Found
    from assetforge.tui.app import FilmApp

__all__ = ["PROVIDERS", "callable_actions"]

_FOUND = 12
_CALLED, _WORD, _LIKE, _PART = 300.0, 250.0, 100.0, 90.0
"""Where scores begin, the best first: what is called so; actions with a word that begins so; what is called like that; actions in which it stands.
Actions that merely have the letters somewhere come last."""

_SURE = 0.75
_LETTERS = 80.0
_TITLES = {one.title for one in ACTIONS}


def callable_actions(app: App[Any], screen: object) -> list[tuple[Action, DOMNode]]:
    """The actions that can be called on a screen, nearest first, each with the node that does it."""
    scopes: list[tuple[str, DOMNode]] = screen.scopes() if isinstance(screen, FilmScreen) else []
    found = [(action, node) for scope, node in reversed(scopes) for action in actions_of(scope)]
    return [*found, *((action, app) for action in actions_of("app") if action.id != "app.palette")]


class ActionsProvider(Provider):
    """Actions, with their keys."""

    def _lines(self) -> list[tuple[str, str, partial[Any]]]:
        keymap = cast("FilmApp", self.app).preferences.keys
        found = []
        for action, node in callable_actions(self.app, self.screen):
            key = keymap.get(action.id, action.keys).split(",")[0]
            shown = self.app.get_key_display(Binding(key, "")) if key else ""
            found.append((action.title, f"{shown:<6} $ {action.twin}", partial(self._call, action, node)))
        return found

    async def _call(self, action: Action, node: DOMNode) -> None:
        await self.app.run_action(action.method, node)

    async def discover(self) -> Hits:
        """All of them."""
        for title, about, call in self._lines():
            yield DiscoveryHit(Content(title), call, text=title, help=about)

    async def search(self, query: str) -> Hits:
        """Those that match."""
        matcher = self.matcher(query)
        for title, about, call in self._lines():
            score = matcher.match(title)
            if score > 0:
                yield Hit(
                    _band(query, title) + min(score, _LETTERS) / 2,
                    matcher.highlight(title),
                    call,
                    text=title,
                    help=about,
                )


class FindProvider(Provider):
    """Assets, versions, runs and references."""

    async def search(self, query: str) -> Hits:
        """What the film has of that name."""
        from assetforge.db.browse.versions import find_anything

        app = cast("FilmApp", self.app)
        session = app.session
        if session is None or not session.is_open:
            return
        for found in await session.call(find_anything, session.reader, query, _FOUND):
            title = plain(found.title)
            sure = found.kind != "reference" and found.score >= _SURE
            yield Hit(
                (_CALLED if sure else _LIKE) + 100 * found.score,
                Content(title),
                partial(self._go, found),
                text=title,
                help=plain(found.detail, 90),
            )

    async def _go(self, found: "Found") -> None:
        app = cast("FilmApp", self.app)
        try:
            await app.go_to(found.kind, found.address)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with what was found, the program lives on
            app.tell_error(error)


def _band(query: str, title: str) -> float:
    wanted, text = query.casefold().strip(), title.casefold()
    if re.search(rf"(?<!\w){re.escape(wanted)}", text):
        return _WORD
    return _PART if wanted in text else 0.0


class PluginScreensProvider(Provider):
    """Screens that plugins bring."""

    async def startup(self) -> None:
        """Ask the plugins once, while the palette opens."""
        app = cast("FilmApp", self.app)
        self._screens = await plugin_screens() if app.session is not None else []

    async def search(self, query: str) -> Hits:
        """Those that match."""
        matcher = self.matcher(query)
        for spec in self._screens:
            score = matcher.match(spec.title)
            if score > 0:
                show = partial(cast("FilmApp", self.app).show_plugin_screen, spec)
                yield Hit(
                    score, matcher.highlight(plain(spec.title)), show, text=plain(spec.title), help=plain(spec.summary)
                )

    async def discover(self) -> Hits:
        """All of them."""
        for spec in self._screens:
            show = partial(cast("FilmApp", self.app).show_plugin_screen, spec)
            yield DiscoveryHit(Content(plain(spec.title)), show, text=plain(spec.title), help=plain(spec.summary))


PROVIDERS = [ActionsProvider, FindProvider, PluginScreensProvider]
