"""Jump mode: a letter over everything that can be reached; pressing it goes there."""

from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Key
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from assetforge.tui.screens.window import Window

__all__ = ["JumpScreen", "Target", "jump", "jump_targets"]

LETTERS = "asdfghjklqwertyuiopzxcvbnm"


class Target(NamedTuple):
    """A place that can be jumped to.

    Attributes:
        widget: What is focused, or clicked when it cannot be focused.
        x: Column of its letter.
        y: Line of its letter.
        letter: The letter.
    """

    widget: Widget
    x: int
    y: int
    letter: str


def jump_targets(screen: Screen[object], letters: str = LETTERS) -> list[Target]:
    """Everything on a screen that can be focused, and what says of itself that it can be jumped to (``JUMPABLE = True``), from the top left on."""
    found = []
    for widget in screen.query(Widget):
        if not (widget.focusable or getattr(widget, "JUMPABLE", False)) or not widget.is_on_screen:
            continue
        region = widget.region
        if region.overlaps(screen.region):
            found.append((max(0, region.y), max(0, region.x), widget))
    found.sort(key=lambda one: one[:2])
    return [Target(widget, x, y, letter) for (y, x, widget), letter in zip(found, letters, strict=False)]


def jump(target: object) -> None:
    """Go there."""
    if isinstance(target, Target):
        if target.widget.focusable:
            target.widget.focus()
        else:
            clicked = getattr(target.widget, "jumped", None)
            if callable(clicked):
                clicked()


class JumpScreen(Window[object]):
    """The letters.

    Args:
        below: The screen that is jumped on.
        letters: Which, in the order in which they are used; empty takes the home row first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "cancel", id="jump.cancel")]

    def __init__(self, below: Screen[object], letters: str = "") -> None:
        super().__init__()
        self._targets = jump_targets(below, letters or LETTERS)

    def compose(self) -> ComposeResult:
        """A letter at each place."""
        for one in self._targets:
            label = Static(Content(f" {one.letter} "), classes="jump-letter")
            label.styles.offset = (one.x, one.y)
            yield label
        yield Static(Content("Press a letter to go there, esc to stay."), id="jump-about")

    def on_key(self, event: Key) -> None:
        """Go where the letter is; any other key stays."""
        if event.key == "escape":
            return
        event.stop()
        self.dismiss(next((one for one in self._targets if one.letter == event.character), None))
