"""Which cells a person has had before their eyes, and for how long; kept with the comparison, since decisions ask for it."""

import time
from typing import TYPE_CHECKING

from assetforge.tui.screens.compare_part import ComparePart
from assetforge.tui.screens.compare_stage import PictureStage

if TYPE_CHECKING:
    from textual.timer import Timer

    from assetforge.services.reviews import ReviewStatus

__all__ = ["LOOK_S", "Looking"]

LOOK_S = 0.6
"""A cell that was on the screen for so long was looked at."""

_AGAIN_S = 0.1
_WORTH_S = 1.0
"""Time beyond the first look is kept when it is at least so much."""


class Looking(ComparePart):
    """A part of the comparison screen."""

    _seen_cell: int | None = None
    _seen_since: float = 0.0
    _seen_kept: float = 0.0
    _seen_timer: "Timer | None" = None

    def look(self, cell: int | None) -> None:
        """A cell is on the screen from now on, or none."""
        if cell == self._seen_cell:
            return
        self.forget_look()
        if cell is None or self.query_one(PictureStage).off or not self.is_current:
            return
        self._seen_cell, self._seen_since, self._seen_kept = cell, time.monotonic(), 0.0
        self._seen_timer = self.set_timer(LOOK_S, self._looked)

    def forget_look(self) -> None:
        """Nothing is looked at any more; time that is worth it is kept."""
        if self._seen_timer is not None:
            self._seen_timer.stop()
            self._seen_timer = None
        cell, self._seen_cell = self._seen_cell, None
        if cell is not None and self._seen_kept:
            more = time.monotonic() - self._seen_since - self._seen_kept
            if more >= _WORTH_S:
                self.note_look(cell, more)

    def _looked(self) -> None:
        cell = self._seen_cell
        if cell is None or not self.is_current:
            return
        if not self.query_one(PictureStage).shows(cell):
            # The pictures are not there yet; nothing was seen so far.
            self._seen_since = time.monotonic()
            self._seen_timer = self.set_timer(LOOK_S if self._seen_kept else _AGAIN_S, self._looked)
            return
        seconds = time.monotonic() - self._seen_since
        if seconds < LOOK_S:
            self._seen_timer = self.set_timer(LOOK_S - seconds, self._looked)
            return
        self._seen_kept = seconds
        self.note_look(cell, seconds)

    def note_look(self, cell: int, seconds: float) -> None:
        """Keep that the person had a cell before their eyes, here or elsewhere."""
        facts = self.facts
        if facts is None:
            return
        fresh = cell not in self.opened
        self.opened[cell] = self.opened.get(cell, 0.0) + seconds
        if fresh:
            self.redraw_list()
        comparison = facts.info.id

        async def keep() -> None:
            from assetforge.services.reviews import note_view

            try:
                await self.session.run(note_view, comparison, cell, round(seconds, 1))
            except Exception as error:  # noqa: BLE001 - told, and the screen lives on
                self.opened.pop(cell, None)
                self.film_app.tell_error(error)

        # The app's, so that leaving the screen does not lose it.
        self.app.run_worker(keep(), group="looks", exit_on_error=False)

    def on_screen_suspend(self) -> None:
        """Something else is in front."""
        self.forget_look()

    def on_screen_resume(self) -> None:
        """Looked at again."""
        self.look(getattr(self, "current", None))

    def on_unmount(self) -> None:
        """Keep what is worth it."""
        if self.film_app.session is not None:
            self.forget_look()

    def show_votes(self, status: "ReviewStatus") -> None:
        """What all votes say now."""
        raise NotImplementedError
