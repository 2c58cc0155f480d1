"""What stands in front of a screen until it is answered or left."""

from typing import TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

__all__ = ["Window"]

T = TypeVar("T")


class Window(ModalScreen[T]):
    """A screen in front of another, which goes once.

    On a slow machine or line a second enter or escape arrives while the first is still being done; Textual would then close what lies below, down to the last screen and
    the program with it.
    """

    def dismiss(self, result: T | None = None) -> AwaitComplete:
        """Go, with an answer; nothing happens when it is no longer in front."""
        if self.app.screen is not self:
            return AwaitComplete()
        return super().dismiss(result)
