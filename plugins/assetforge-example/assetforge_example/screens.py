"""A screen of the terminal program: an ordinary Textual screen, made with the film's folder and opened from the palette."""

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

__all__ = ["InboxScreen"]


class InboxScreen(Screen[None]):
    """How many files lie in each inbox of the film."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "back")]

    def __init__(self, film: Path) -> None:
        super().__init__()
        self.film = film

    def compose(self) -> ComposeResult:
        """One line an inbox. Names of files and folders are content, never markup."""
        folders = sorted(folder for folder in self.film.glob("*/*/references") if folder.is_dir())
        lines = [f"{sum(1 for _ in folder.iterdir()):>6}  {folder.parent.name}" for folder in folders]
        yield Static(Content("\n".join(["files in the inboxes", "", *(lines or ["no inbox yet"])])))
