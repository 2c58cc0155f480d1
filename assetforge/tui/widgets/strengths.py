"""The strengths at which a prompt and seed was rendered, in one line: which there are, which one is shown, what each gained or lost."""

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message
from textual.style import Style
from textual.widget import Widget

from assetforge.tui.words import signed

__all__ = ["Strength", "StrengthStrip"]


@dataclass(frozen=True, slots=True)
class Strength:
    """A strength of the strip.

    Attributes:
        cell: Index of the cell that has it.
        value: The strength.
        change: What the new version gained there; ``None`` when it was not measured or is not told.
    """

    cell: int
    value: float
    change: float | None = None


class StrengthStrip(Widget):
    """``strength  0.4 ░  0.6 ░  1.0 ▓``: the one that is shown is full. A click goes to another."""

    DEFAULT_CSS = """
    StrengthStrip { height: 1; width: 1fr; }
    """

    ALLOW_SELECT = False

    class Chosen(Message):
        """Somebody wants to see another strength.

        Attributes:
            cell: Index of its cell.
        """

        def __init__(self, cell: int) -> None:
            super().__init__()
            self.cell = cell

    def __init__(self, *, id: str | None = None) -> None:
        """Shows nothing yet."""
        super().__init__(id=id)
        self._strengths: tuple[Strength, ...] = ()
        self._shown = -1

    def show(self, strengths: Sequence[Strength], shown: int) -> None:
        """Show these.

        Args:
            strengths: From the weakest on.
            shown: Index of the cell that is on the screen.
        """
        self._strengths, self._shown = tuple(strengths), shown
        self.refresh()

    def render(self) -> Content:
        """Those that fit."""
        if not self._strengths:
            return Content("")
        parts: list[Content] = []
        for one in self._strengths:
            here = one.cell == self._shown
            glyph = ("▓", "$primary") if here else ("░", "$dim")
            label = (f"{one.value:g}", "bold" if here else "")
            change = (f" {signed(one.change)}", "$dim") if one.change is not None and len(self._strengths) > 1 else ""
            part = Content.assemble(label, " ", glyph, change)
            parts.append(part.stylize(Style.from_meta({"cell": one.cell})))
        head = Content.styled("strength  ", "$dim")
        return Content.assemble(head, Content("   ").join(parts))

    def on_click(self, event: events.Click) -> None:
        """Go to the strength under the mouse."""
        cell = event.style.meta.get("cell")
        if isinstance(cell, int) and cell != self._shown:
            event.stop()
            self.post_message(self.Chosen(cell))
