"""How the program behind a tab draws: Textual's driver for browsers, with a stdout that is its own, and edges in the colour of the theme."""

import os
from functools import partial
from typing import Any

from textual.app import App
from textual.color import Color
from textual.drivers.web_driver import WebDriver

__all__ = ["TabDriver"]

# Fonts of browsers seldom have the first; the second is in nearly all of them.
_PLAY, _POINTER = "⏵", "►"


class TabDriver(WebDriver):
    """The driver of every program that the server starts."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        # What a library or a process of ours prints must not get between the packets, so stdout becomes stderr for everybody else.
        self.fileno = os.dup(1)
        os.dup2(2, 1)
        self._write = partial(os.write, self.fileno)

    def write(self, data: str) -> None:
        """Draw, with signs that the page can show."""
        super().write(data.replace(_PLAY, _POINTER))

    def start_application_mode(self) -> None:
        """Begin, and tell the terminal its ground: the strips where no whole character fits are not ours to draw."""
        super().start_application_mode()
        self._tell_ground()
        self._app.theme_changed_signal.subscribe(self._app, lambda _theme: self._tell_ground())

    def _tell_ground(self) -> None:
        ground = Color.parse(self._app.theme_variables["background"])
        if ground.ansi is None:
            self.write(f"\x1b]11;{ground.hex6.lower()}\x07")
