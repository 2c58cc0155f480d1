"""Beside the pictures: what was measured, what each prompt gained or lost, and the references that are new to the version's dataset."""

from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from assetforge.tui.screens.compare_facts import AddedReference, Compared
from assetforge.tui.screens.compare_texts import tally
from assetforge.tui.widgets.interval_bars import IntervalBars, LikenessLine, PromptBars
from assetforge.tui.widgets.picture import Picture
from assetforge.tui.words import dim

if TYPE_CHECKING:
    from assetforge.domain.votes import Poll
    from assetforge.tui.images.protocol import TerminalPictures
    from assetforge.tui.images.thumbnails import Thumbnails
    from assetforge.tui.screens.compare_layout import Arrangement

__all__ = ["AddedThumbs", "CompareAside"]

_THUMB = (8, 4)
_MOST = 12
_ROOM_FOR_PROMPTS = 100
"""Below so many cells the bars of the metrics need the room themselves."""

_ROOMY = 130

_BLIND = """Which of the two is better?

1, left    the left one
2, right   the right one
0          no difference
n, p       another pair, without an answer
space      both in one place

esc ends the vote and counts."""


class AddedThumbs(Widget):
    """References as small pictures, as many as there is room for."""

    DEFAULT_CSS = """
    AddedThumbs { height: 4; width: 1fr; layout: horizontal; }
    AddedThumbs Picture { width: 8; height: 4; margin-right: 1; }
    """

    class Wanted(Message):
        """Somebody wants to see a reference.

        Attributes:
            address: Of the reference.
        """

        def __init__(self, address: str) -> None:
            super().__init__()
            self.address = address

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._added: tuple[AddedReference, ...] = ()

    def prepare(self, pictures: "Thumbnails | None", terminal: "TerminalPictures") -> None:
        """Know where pictures come from."""
        if pictures is not None and not self.children:
            self.mount(*(Picture(pictures, terminal, captioned=False) for _ in range(_MOST)))
            self._fill()

    def show(self, added: tuple[AddedReference, ...]) -> None:
        """Show these."""
        self._added = added
        self._fill()

    def on_resize(self) -> None:
        """More or fewer fit."""
        self._fill()

    def _fill(self) -> None:
        fit = self.size.width // (_THUMB[0] + 1)
        for at, picture in enumerate(self.query(Picture)):
            picture.display = at < fit and at < len(self._added)
            if picture.display:
                picture.show(self._added[at].sha256)

    def on_click(self, event: events.Click) -> None:
        """Go to the one under the mouse."""
        at = event.x // (_THUMB[0] + 1)
        if at < len(self._added):
            event.stop()
            self.post_message(self.Wanted(self._added[at].address))


class CompareAside(Widget):
    """The figures, at the side of the pictures or below them."""

    DEFAULT_CSS = """
    CompareAside { layout: vertical; width: 1fr; height: 1fr; overflow: hidden; }
    CompareAside .aside-heading { color: $text-muted; text-style: none; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    CompareAside #figures { height: auto; }
    CompareAside #per-prompt { height: 6; margin-top: 1; }
    CompareAside #per-prompt PromptBars { height: 1fr; }
    CompareAside #added { height: 5; margin-top: 1; }
    CompareAside #votes { height: auto; margin-top: 1; }
    CompareAside #blind-words { height: auto; color: $text-muted; }
    CompareAside.-below { layout: horizontal; }
    CompareAside.-below #figures { width: 1fr; height: 100%; margin-right: 2; }
    CompareAside.-below #per-prompt { width: 26; height: 100%; margin: 0 2 0 0; }
    CompareAside.-below #added { width: 19; height: 100%; margin: 0; }
    CompareAside.-below.-roomy #per-prompt { width: 50; }
    CompareAside.-below.-roomy #added { width: 37; }
    """

    def compose(self) -> ComposeResult:
        """Three groups."""
        with Vertical(id="figures"):
            yield Static("", classes="aside-heading", id="figures-heading", markup=False)
            yield IntervalBars(id="bars")
            yield LikenessLine(id="likeness")
            yield Static("", id="votes", markup=False)
        with Vertical(id="per-prompt"):
            yield Static("", classes="aside-heading", id="prompts-heading", markup=False)
            yield PromptBars(id="prompt-bars")
        with Vertical(id="added"):
            yield Static("", classes="aside-heading", id="added-heading", markup=False)
            yield AddedThumbs(id="thumbs")
        yield Static(Content(_BLIND), id="blind-words", markup=False)

    def prepare(self, pictures: "Thumbnails | None", terminal: "TerminalPictures") -> None:
        """Know where pictures come from."""
        self.query_one(AddedThumbs).prepare(pictures, terminal)

    def show(self, facts: Compared) -> None:
        """Show the figures of a comparison."""
        bars = self.query_one("#bars", IntervalBars)
        bars.show(facts.bars, facts.edge)
        self.query_one("#likeness", LikenessLine).show(() if facts.bars else facts.likeness)
        said = (
            "what changed"
            if facts.bars
            else "on the way to the references"
            if facts.likeness
            else "nothing was measured"
        )
        self.query_one("#figures-heading", Static).update(Content.assemble(said, "   ", dim("f  all figures")))
        self.query_one("#prompt-bars", PromptBars).show([change for _prompt, change in facts.prompts], facts.margin)
        worse = sum(change < 0 for _prompt, change in facts.prompts)
        self.query_one("#prompts-heading", Static).update(Content(f"{worse} of {len(facts.prompts)} prompts lost"))
        self.query_one("#thumbs", AddedThumbs).show(facts.added)
        self.query_one("#added-heading", Static).update(Content(f"{len(facts.added)} new in {facts.dataset}   j"))
        self.tell_votes(facts.poll, facts)
        self._facts = facts

    _facts: Compared | None = None

    def tell_votes(self, poll: "Poll", facts: Compared) -> None:
        """What the votes say now."""
        said = tally(poll, facts.new.name, facts.old.name)
        votes = self.query_one("#votes", Static)
        votes.update(said)
        votes.display = bool(said.plain)

    def place(self, arrangement: "Arrangement", width: int, *, blind: bool) -> None:
        """Take the place that there is; in a blind vote there are words only, which tell nothing of either version."""
        facts = self._facts
        below = arrangement.aside == "below"
        self.display = arrangement.aside != "none"
        self.set_class(below, "-below")
        self.set_class(width >= _ROOMY, "-roomy")
        self.styles.width = arrangement.aside_size if arrangement.aside == "side" else "1fr"
        self.styles.height = arrangement.aside_size if below else "1fr"
        self.query_one("#bars", IntervalBars).limit(arrangement.aside_size - 1 if below else 0)
        added = bool(facts and facts.added) and not blind
        room = width - (19 if added else 0)
        self.query_one("#figures").display = not blind
        self.query_one("#blind-words").display = blind
        self.query_one("#added").display = added
        self.query_one("#per-prompt").display = (
            not blind and facts is not None and len(facts.prompts) > 1 and (not below or room >= _ROOM_FOR_PROMPTS)
        )

    def lines_below(self, width: int) -> int:
        """How many lines the figures need below the pictures."""
        bars = len(self.query_one("#bars", IntervalBars).lines(max(60, width)))
        return max(5, bars + 1)
