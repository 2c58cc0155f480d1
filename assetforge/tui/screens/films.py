"""All films: which there are, and what in them needs a person."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input

from assetforge.db.browse.films import FilmCard, film_cards
from assetforge.errors import AssetForgeError
from assetforge.tui.actions import bindings
from assetforge.tui.hints import in_words
from assetforge.tui.screens.base import FilmScreen, acting
from assetforge.tui.screens.dialogs import ConfirmDialog, Field, FieldsDialog
from assetforge.tui.session import in_thread
from assetforge.tui.theme import ground_of
from assetforge.tui.widgets.film_list import NO_FILM, FilmList
from assetforge.tui.widgets.items import ListSource, VirtualItems
from assetforge.tui.widgets.line_input import LineInput
from assetforge.tui.widgets.lines import TopLine
from assetforge.tui.words import plain

if TYPE_CHECKING:
    from assetforge.tui.images.thumbnails import Thumbnails
    from assetforge.tui.widgets.virtual_gallery import PictureCells

__all__ = ["FilmsScreen"]

_LOOK_S = 3.0


class FilmsScreen(FilmScreen):
    """The list of films."""

    SCOPE = "films"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("films")]
    HELP = FilmList.HELP

    def __init__(self) -> None:
        super().__init__()
        self._films: list[FilmCard] = []
        self._filter = ""
        self._open_stores: list[Thumbnails] = []
        self._reading = asyncio.Lock()

    def content(self) -> Iterable[Widget]:
        """A filter and the films."""
        yield LineInput(placeholder="words of a title", id="films-filter")
        yield FilmList(id="films")

    def place(self) -> Content:
        """The program's name."""
        return Content("assetforge")

    def on_mount(self) -> None:
        """Read the films once the first frame is there, and again from time to time: other programs work on them."""
        self.query_one("#films-filter").display = False
        self.query_one(FilmList).focus()
        self.call_after_refresh(self.film_changed)
        self.set_interval(_LOOK_S, self.film_changed)
        self.app.theme_changed_signal.subscribe(self, self._theme_changed)

    def _theme_changed(self, _theme: object) -> None:
        for store in self._open_stores:
            store.ground = ground_of(self.app)

    def film_changed(self) -> None:
        """Read all films again, when this screen is on top."""
        if self.is_current:
            self.run_beside(self._read, group="read")

    async def _read(self) -> None:
        if self._reading.locked():
            return
        async with self._reading:
            before, self._films = self._films, await in_thread(film_cards)
            if [film.picture for film in before] != [film.picture for film in self._films]:
                await self._use_pictures()
            if before != self._films or not before:
                self._show(first=not before)

    def _show(self, *, first: bool = False) -> None:
        wanted = self._filter.casefold().split()
        shown = [film for film in self._films if all(word in f"{film.title} {film.name}".casefold() for word in wanted)]
        films = self.query_one(FilmList)
        films.empty = "No film has these words. Escape shows all." if wanted else NO_FILM
        films.set_source(ListSource[FilmCard](shown, key=lambda film: hash(film.root)))
        if first:
            last = self.film_app.state.get("", "film", "")
            films.cursor = next((at for at, film in enumerate(shown) if str(film.root) == last), 0)

    async def _use_pictures(self) -> None:
        if self.film_app.terminal_pictures.protocol == "off":
            return
        stores: dict[str, PictureCells] = {}
        kept, self._open_stores = self._open_stores, []
        for film in self._films:
            if film.picture:
                store = await in_thread(_thumbnails_of, film, self.film_app.call_soon)
                store.ground = ground_of(self.app)
                self._open_stores.append(store)
                stores[film.picture] = store
        self.query_one(FilmList).use(stores)
        for store in kept:
            store.close()

    def on_unmount(self) -> None:
        """Let go of the pictures, and be let go of."""
        self.app.theme_changed_signal.unsubscribe(self)
        for store in self._open_stores:
            store.close()

    def on_virtual_items_opened(self, event: VirtualItems.Opened) -> None:
        """Enter or a double click."""
        event.stop()
        self.action_open()

    @acting
    async def action_open(self) -> None:
        """Open the film under the cursor."""
        film = self.query_one(FilmList).current
        if film is not None:
            await self.film_app.open_film(film.root)

    @acting
    async def action_new(self) -> None:
        """Make a film and open it."""
        root = await self.app.push_screen_wait(
            FieldsDialog(
                "New film",
                [
                    Field(name="name", title="name", placeholder="night-harbour", required=True),
                    Field(name="title", title="title", placeholder="Night Harbour"),
                ],
                "The name is that of its folder; the title is what people read.",
                check=_name_problem,
                take=self._make,
            )
        )
        if isinstance(root, Path):
            await self.film_app.open_film(root)

    async def _make(self, values: dict[str, str]) -> Path:
        name, title = values["name"].strip(), values["title"].strip()
        top = self.query_one(TopLine)
        top.doing = Content.assemble(("⏵ ", "$secondary"), f"making {plain(title or name, 40)}")
        try:
            return await in_thread(_create, name, title)
        finally:
            top.doing = Content("")

    @acting
    async def action_demo(self) -> None:
        """Make the demo film beside the others; its jobs run in the background while it is looked at."""
        about = "A small film with pictures drawn for it is trained, rendered and judged on this machine's processor: some minutes, about 100 MB."
        if await self.app.push_screen_wait(ConfirmDialog("Make the demo film?", about, yes="Make it")):
            self.film_app.tell("The demo film is being made; open it as soon as it appears.")
            name = await in_thread(_make_demo)
            self.film_app.tell(f"{name} went through the whole loop.")

    def action_filter(self) -> None:
        """Write words."""
        field = self.query_one("#films-filter", Input)
        field.display = True
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is written."""
        self._filter = event.value
        self._show()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Back to the films."""
        event.input.display = bool(event.value)
        self.query_one(FilmList).focus()

    def clear_filter(self) -> bool:
        """What escape does first; says whether there was a filter."""
        field = self.query_one("#films-filter", Input)
        if not field.display:
            return False
        field.value, field.display = "", False
        self.query_one(FilmList).focus()
        return True


def _thumbnails_of(film: FilmCard, call_soon: object) -> "Thumbnails":
    from assetforge.paths import ProjectPaths
    from assetforge.tui.images.thumbnails import Thumbnails

    return Thumbnails(ProjectPaths(film.root), call_soon)  # type: ignore[arg-type]


def _create(name: str, title: str) -> Path:
    from assetforge.services.projects import create_project

    with create_project(name, title=title) as project:
        return project.root


def _make_demo() -> str:
    from assetforge.jobs.demo import DemoListener, run_demo

    outcome = run_demo(DemoListener(stage=lambda _text: None, step=lambda _done, _total, _note: None))
    return plain(outcome.project)


def _name_problem(values: dict[str, str]) -> str:
    from assetforge.domain.names import check_name

    try:
        check_name(values["name"].strip(), what="film")
    except AssetForgeError as error:
        return in_words(error)
    return ""
