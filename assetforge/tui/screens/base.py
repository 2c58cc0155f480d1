"""What every screen of the film shares: the first and the last line, actions that run beside the screen, and errors as sentences."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, TypeVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import Worker, WorkerState

from assetforge.errors import AssetForgeError, UsageError
from assetforge.tui.typed import ACTING
from assetforge.tui.widgets.lines import KeyLine, TopLine

if TYPE_CHECKING:
    from assetforge.db.browse.reader import Reader
    from assetforge.tui.app import FilmApp
    from assetforge.tui.session import FilmSession

__all__ = ["FilmScreen", "Pane", "acting", "crumbs", "reading"]

P = ParamSpec("P")
W = TypeVar("W", bound=Widget)
T = TypeVar("T")

_PART = 36


def acting(method: Callable[Concatenate[W, P], Coroutine[Any, Any, None]]) -> Callable[Concatenate[W, P], None]:
    """Make an action run beside the screen, so that it may ask questions and wait for services; what goes wrong is told and ends nothing."""
    return _beside(method, ACTING)


def reading(method: Callable[Concatenate[W, P], Coroutine[Any, Any, None]]) -> Callable[Concatenate[W, P], None]:
    """As :func:`acting`, for what a screen looks up by itself: the next key does not wait for that."""
    return _beside(method, "")


def _beside(
    method: Callable[Concatenate[W, P], Coroutine[Any, Any, None]], description: str
) -> Callable[Concatenate[W, P], None]:
    def start(self: W, /, *args: P.args, **kwargs: P.kwargs) -> None:
        async def guarded() -> None:
            try:
                await method(self, *args, **kwargs)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a service or a plugin raises, the screen lives on
                cast("FilmApp", self.app).tell_error(error)

        name = method.__name__
        self.run_worker(cast("Any", guarded), name=name, group=name, description=description, exit_on_error=False)

    return update_wrapper(start, method)


def crumbs(*parts: str) -> Content:
    """Where one is: ``Night Harbour ▸ mara``; the parts must be :func:`~assetforge.tui.words.plain`. Long ones are cut, so that the last one is seen."""
    shown = [Content(part).truncate(_PART, ellipsis=True) for part in parts if part]
    return Content(" ▸ ").stylize("$dim").join(shown)


class _InFilm:
    """Reaches the app and the open film from a screen or a pane."""

    @property
    def film_app(self) -> "FilmApp":
        """The program."""
        return cast("FilmApp", self.app)  # type: ignore[attr-defined]

    @property
    def session(self) -> "FilmSession":
        """The open film.

        Raises:
            UsageError: No film is open, or not yet.
        """
        session = self.film_app.session
        if session is None:
            raise UsageError("The film is not open yet.", hint="Wait a moment, or choose one with F2.")
        return session

    def fetching(
        self, read: "Callable[[Reader, Sequence[int]], Mapping[int, T]]"
    ) -> "Callable[[Sequence[int]], Mapping[int, T]]":
        """Pages for a list out of the open film; what cannot be read now is told, and drawn as missing."""
        reader = self.session.reader

        def fetch(keys: Sequence[int]) -> Mapping[int, T]:
            try:
                return read(reader, keys)
            except AssetForgeError as error:
                if not reader.closed:
                    self.film_app.tell_error(error)
                return {}

        return fetch

    def run_beside(
        self, work: Callable[[], Coroutine[Any, Any, None]], *, group: str = "", exclusive: bool = False
    ) -> None:
        """Do something beside the screen; what goes wrong is told. Called, not awaited already: what is cancelled before it began leaves nothing behind.

        Args:
            work: Gives what is awaited.
            group: Of the worker.
            exclusive: Whatever else is under way in the group is cancelled.
        """
        self.run_worker(cast("Any", work), group=group or "default", exclusive=exclusive, exit_on_error=False)  # type: ignore[attr-defined]

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """What went wrong while something was read for the screen is told, and the screen lives on."""
        if event.state is WorkerState.ERROR and isinstance(event.worker.error, Exception):
            self.film_app.tell_error(event.worker.error)


class Pane(_InFilm, Widget):
    """A part of a screen with actions of its own, such as a tab of an asset.

    Attributes:
        SCOPE: Its scope in :mod:`assetforge.tui.actions`; set ``BINDINGS = bindings(SCOPE)`` too.
    """

    SCOPE: ClassVar[str] = ""
    DEFAULT_CSS = "Pane { width: 1fr; height: 1fr; }"

    def film_changed(self) -> None:
        """The database changed: read again what is shown. Called for panes that are on screen."""


class FilmScreen(_InFilm, Screen[None]):
    """A screen with the first and the last line.

    Attributes:
        SCOPE: Its scope in :mod:`assetforge.tui.actions`; set ``BINDINGS = bindings(SCOPE)`` too.
    """

    SCOPE: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = []

    def compose(self) -> ComposeResult:
        """The first line, the content, the last line."""
        top = TopLine()
        top.place = self.place()
        top.doing = self.film_app.doing
        yield top
        yield from self.content()
        yield KeyLine()

    def content(self) -> Iterable[Widget]:
        """What stands between the lines."""
        raise NotImplementedError

    def place(self) -> Content:
        """Where one is, for the first line."""
        return crumbs(self.film_app.film_title)

    def film_changed(self) -> None:
        """The database changed: read again what is shown. The default tells the panes that are on screen."""
        for pane in self.query(Pane):
            if pane.is_on_screen:
                pane.film_changed()

    async def pictures_came(self) -> None:
        """The film's pictures can be drawn from now on. Only a screen that was there before that has to do something."""

    def show_place(self) -> None:
        """Write the first line anew, unless the screen is being taken down."""
        for top in self.query(TopLine):
            top.place = self.place()

    def scopes(self) -> list[tuple[str, DOMNode]]:
        """The scopes of actions that can be called here, and the node that each belongs to."""
        found: list[tuple[str, DOMNode]] = [(self.SCOPE, self)] if self.SCOPE else []
        found += [(pane.SCOPE, pane) for pane in self.query(Pane) if pane.SCOPE and pane.is_on_screen]
        return found
