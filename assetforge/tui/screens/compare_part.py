"""What the parts of the comparison screen know of each other."""

from typing import TYPE_CHECKING

from assetforge.tui.screens.base import FilmScreen
from assetforge.tui.screens.compare_facts import CellFacts, Compared, Unfinished

if TYPE_CHECKING:
    from assetforge.services.reviews import ReviewStatus
    from assetforge.tui.screens.compare_blind import Ballots

__all__ = ["ComparePart"]


class ComparePart(FilmScreen):
    """The screen as each of its parts sees it; last in the order of bases, so that whoever does something comes before this.

    Attributes:
        facts: What is shown; ``None`` before it was read and for an unfinished comparison.
        unfinished: The comparison while it is not finished.
        current: Index of the cell that is shown.
        opened: Seconds that the person had each cell open.
        votes: What the person preferred, by cell.
        ballots: The blind vote that is going on.
        shown_at: When the cell was put up, on the monotonic clock.
    """

    facts: Compared | None = None
    unfinished: Unfinished | None = None
    current: int | None = None
    opened: dict[int, float]
    votes: dict[int, str]
    ballots: "Ballots | None" = None
    shown_at: float = 0.0

    def show_everything(self, cell: int | None = None) -> None:
        """Write every part of the screen anew, at a cell, or at the one that is shown."""
        raise NotImplementedError

    async def show_comparison(self, comparison_id: int) -> None:
        """Show another comparison on this screen."""
        raise NotImplementedError

    def look_at(self, cell: int) -> None:
        """Show a cell, among all when it is not among those that are listed."""
        raise NotImplementedError

    def note_look(self, cell: int, seconds: float) -> None:
        """Keep that the person had a cell before their eyes."""
        raise NotImplementedError

    def neighbours(self) -> list[CellFacts]:
        """The cells after and before the one that is shown."""
        raise NotImplementedError

    def show_cell(self, cell: CellFacts | None) -> None:
        """Show a cell: its pictures at once, then its words."""
        raise NotImplementedError

    def show_verdict(self) -> None:
        """Write the lines above everything."""
        raise NotImplementedError

    def lay_out(self) -> None:
        """Give everything its place."""
        raise NotImplementedError

    def redraw_list(self) -> None:
        """The cells' marks changed."""
        raise NotImplementedError

    def show_votes(self, status: "ReviewStatus") -> None:
        """What all votes say now."""
        raise NotImplementedError
