"""Pictures of a version: the worst cells beside those of the version it was compared with, or what it rendered last."""

from collections.abc import Sequence
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from assetforge.tui.images.protocol import TerminalPictures
from assetforge.tui.images.thumbnails import Thumbnails
from assetforge.tui.widgets.picture import Picture
from assetforge.tui.words import plain

__all__ = ["PAIRS", "Pair", "VersionPictures"]

PAIRS = 3
"""So many pairs have room on a tall screen."""


class Pair(NamedTuple):
    """Two pictures beside each other.

    Attributes:
        pictures: SHA-256 of the left and the right one; empty for none.
        names: What stands below each.
        words: What stands below both, such as the prompt.
    """

    pictures: tuple[str, str]
    names: tuple[str, str]
    words: str = ""


class VersionPictures(Vertical):
    """The right pane of the list of versions.

    Args:
        pictures: Where pictures come from; ``None`` shows the words alone.
        terminal: What the terminal can show.
    """

    # The screen says by its classes how wide and tall it is.
    SCOPED_CSS = False
    DEFAULT_CSS = """
    VersionPictures {
        .pair { height: 1fr; max-height: 18; layout: horizontal; }
        .pair Picture { width: 1fr; height: 1fr; }
        .pair .left { margin-right: 2; }
        .pair-words { height: auto; max-height: 2; color: $dim; margin-bottom: 1; }
        #pictures-head { height: auto; max-height: 3; margin-bottom: 1; }
        .pair.-none, .pair-words.-none { display: none; }
        #no-pictures { height: 1fr; color: $dim; content-align: center middle; text-align: center; padding: 0 2; }
    }
    .-narrow VersionPictures .pair { layout: vertical; max-height: 100%; }
    .-narrow VersionPictures .pair .left { margin-right: 0; }
    .-low VersionPictures { #pair-1, #pair-2, #words-1, #words-2 { display: none; } }
    .-low VersionPictures #pictures-head { margin-bottom: 0; }
    .-towering VersionPictures .pair { max-height: 24; }
    """

    def __init__(self, pictures: Thumbnails | None, terminal: TerminalPictures, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._pictures, self._shown_by = pictures, terminal
        self._pairs: tuple[Pair, ...] = ()

    def compose(self) -> ComposeResult:
        """A line, three pairs, and a sentence for when there are none."""
        yield Static("", id="pictures-head", markup=False)
        for at in range(PAIRS):
            if self._pictures is not None:
                with Horizontal(classes="pair -none", id=f"pair-{at}"):
                    yield Picture(self._pictures, self._shown_by, id=f"left-{at}", classes="left")
                    yield Picture(self._pictures, self._shown_by, id=f"right-{at}")
            yield Static("", classes="pair-words", id=f"words-{at}", markup=False)
        yield Static("", id="no-pictures", markup=False)

    def on_mount(self) -> None:
        """What was to be shown before there was a place for it."""
        self.call_after_refresh(self._show_pairs)

    def say(self, head: Content) -> None:
        """Say above the pairs what they are."""
        self.query_one("#pictures-head", Static).update(head)

    def show(self, pairs: Sequence[Pair], nothing: str = "", *, head: Content | None = None) -> None:
        """Show pairs.

        Args:
            pairs: At most :data:`PAIRS`, the most telling first.
            nothing: What is said when there are none.
            head: What they are; ``None`` leaves what was said.
        """
        if head is not None:
            self.say(head)
        said = self.query_one("#no-pictures", Static)
        said.display = not pairs
        said.update(Content(nothing))
        self._pairs = tuple(pairs[:PAIRS])
        self._show_pairs()

    def _show_pairs(self) -> None:
        for at in range(PAIRS):
            self._show_pair(at, self._pairs[at] if at < len(self._pairs) else None)

    def _show_pair(self, at: int, pair: Pair | None) -> None:
        words = self.query_one(f"#words-{at}", Static)
        words.update(Content(plain(pair.words, 160)) if pair is not None else Content(""))
        words.set_class(pair is None, "-none")
        for box in self.query(f"#pair-{at}"):
            box.set_class(pair is None, "-none")
            for side, picture in enumerate(box.query(Picture)):
                if pair is not None:
                    picture.show(pair.pictures[side] or None, pair.names[side])
                else:
                    picture.clear()
