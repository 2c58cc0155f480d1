"""A line in which people write or paste: what would harm the screen never gets into it."""

from typing import Any

from textual.geometry import Size
from textual.reactive import Reactive
from textual.widgets import Input

from assetforge.tui.widgets.fitting import harmless

__all__ = ["LineInput"]


class LineInput(Input):
    """A text of one line without control characters, escapes and direction marks.

    Args:
        value: What stands there at first.
        options: As of Textual's input.
    """

    # A line takes the same room whatever is written; with Textual's value the whole screen is laid out anew for every letter.
    virtual_size: Reactive[Size] = Reactive(Size(0, 0), layout=False)

    def __init__(self, value: str = "", **options: Any) -> None:
        super().__init__(harmless(value), select_on_focus=False, compact=True, **options)

    def validate_value(self, value: str) -> str:
        """Whatever was typed, pasted or set."""
        return harmless(value)
