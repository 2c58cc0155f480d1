"""What a filter did not understand, in a line below it that is only there when there is something to say."""

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from assetforge.tui.words import plain

__all__ = ["FilterProblem"]


class FilterProblem(Static):
    """Sentences about a filter.

    Args:
        id: As of every widget.
    """

    DEFAULT_CSS = "FilterProblem { height: auto; color: $warning; padding: 0 1; display: none; }"

    def __init__(self, *, id: str) -> None:
        super().__init__("", markup=False, id=id)
        self._said = ""

    def say(self, problems: Sequence[str]) -> None:
        """Say these, or go when there are none; the screen is laid out anew only when that is another text than before."""
        said = " ".join(plain(one) for one in problems)
        if said != self._said:
            self._said = said
            self.display = bool(said)
            self.update(Content(said))
