"""The field in which a caption is written: enter is not part of a caption, and ends it."""

from textual.events import Key
from textual.message import Message
from textual.widgets import TextArea

from assetforge.tui.letting_go import unwatch

__all__ = ["CaptionText"]


class CaptionText(TextArea):
    """A caption, in as many lines as it takes.

    Args:
        id: As of every widget.
    """

    HELP = "Enter saves the caption and goes on to the next, esc leaves it as it was."

    class Left(Message):
        """Enter or escape.

        Attributes:
            save: Whether what was written shall stay.
        """

        def __init__(self, save: bool) -> None:
            super().__init__()
            self.save = save

    def __init__(self, *, id: str) -> None:
        super().__init__("", soft_wrap=True, show_line_numbers=False, compact=True, id=id)

    def on_unmount(self) -> None:
        """The theme is no longer followed."""
        unwatch(self.app, self)

    def on_key(self, event: Key) -> None:
        """Before the text takes it."""
        if event.key in ("enter", "escape"):
            event.stop()
            event.prevent_default()
            self.post_message(self.Left(event.key == "enter"))
