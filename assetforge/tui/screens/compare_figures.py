"""Everything that a verdict rests on, as words and numbers: for small terminals, for screen readers, and for whoever wants to know."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from assetforge.tui.screens.compare_facts import Compared
from assetforge.tui.screens.compare_texts import badge, tally
from assetforge.tui.screens.window import Window
from assetforge.tui.widgets.interval_bars import IntervalBars, LikenessLine, PromptBars
from assetforge.tui.words import dim, plain, signed

__all__ = ["FiguresScreen"]

_PROMPTS = 12


class FiguresScreen(Window[None]):
    """The figures of a comparison.

    Args:
        facts: The comparison.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f,q", "dismiss(None)", "close", id="figures.close")]

    def __init__(self, facts: Compared) -> None:
        super().__init__()
        self._facts = facts

    def compose(self) -> ComposeResult:
        """Verdict, metrics, guard rails, prompts, what limits it."""
        facts = self._facts
        with Vertical(classes="dialog wide"):
            yield Static(
                Content.assemble(badge(facts.outcome, facts.word), "  ", plain(facts.sentence)), classes="dialog-title"
            )
            with VerticalScroll():
                yield Static(dim(plain(facts.more)), classes="dialog-about")
                if facts.bars:
                    yield Static(Content("What changed"), classes="keys-group")
                    bars = IntervalBars()
                    bars.show(facts.bars, facts.edge)
                    yield bars
                if facts.likeness:
                    yield Static(Content("On the way from the bare base to the references"), classes="keys-group")
                    line = LikenessLine()
                    line.show(facts.likeness)
                    yield line
                if facts.prompts:
                    yield Static(Content("Prompts, worst first"), classes="keys-group")
                    prompts = PromptBars()
                    prompts.show([change for _prompt, change in facts.prompts], facts.margin)
                    yield prompts
                    yield Static(Content("\n").join(_prompts(facts)))
                for title, lines in _lists(facts):
                    yield Static(Content(title), classes="keys-group")
                    yield Static(Content("\n").join(lines))
            yield Static(Content("esc  close      up, down  more"), classes="dialog-keys")

    def on_mount(self) -> None:
        """Keys scroll."""
        self.query_one(VerticalScroll).focus()


def _prompts(facts: Compared) -> list[Content]:
    shown = [
        Content.assemble((f"{signed(change, 3):>7}  ", "bold"), plain(prompt, 90))
        for prompt, change in facts.prompts[:_PROMPTS]
    ]
    more = len(facts.prompts) - _PROMPTS
    return [*shown, dim(f"{more} more")] if more > 0 else shown


def _lists(facts: Compared) -> list[tuple[str, list[Content]]]:
    votes = tally(facts.poll, facts.new.name, facts.old.name)
    return [
        (title, lines)
        for title, lines in (
            (
                "Guard rails",
                [Content.assemble((f"{outcome:<9}", "bold"), plain(text)) for outcome, text in facts.guards],
            ),
            ("Votes", [votes] if votes.plain else []),
            ("What limits it", [Content.assemble("· ", plain(note)) for note in facts.notes]),
            ("Not measured", [Content(plain(", ".join(facts.not_measured)))] if facts.not_measured else []),
        )
        if lines
    ]
