"""Shots: which versions each shot of the film uses. Nothing casts shots yet, and the screen says so."""

from collections.abc import Iterable

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from assetforge.tui.screens.base import FilmScreen, crumbs

__all__ = ["ShotsScreen"]

_ABOUT = """Shots

Which characters, props and styles a shot uses, and which version of each, will stand here.
Until then the approved versions are what a shot should use: assets, then versions (esc, enter, 4)."""


class ShotsScreen(FilmScreen):
    """A place that is kept free."""

    def content(self) -> Iterable[Widget]:
        """What will be here."""
        yield Static(Content(_ABOUT), classes="nothing")

    def place(self) -> Content:
        """The film's shots."""
        return crumbs(self.film_app.film_title, "shots")
