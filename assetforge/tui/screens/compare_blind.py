"""A blind vote: pairs in the order of the service, sides that the service drew, answers that are kept while the next pair is on the screen already."""

import time
from typing import TYPE_CHECKING, Literal

from assetforge.tui.screens.base import acting
from assetforge.tui.screens.compare_part import ComparePart
from assetforge.tui.screens.dialogs import ConfirmDialog

if TYPE_CHECKING:
    from assetforge.domain.states import VoteChoice
    from assetforge.domain.votes import VotedSide
    from assetforge.services.reviews import BlindPair, ReviewStatus

__all__ = ["Ballots", "Blind"]


class Ballots:
    """The pairs of a vote and which of them have an answer.

    Args:
        pairs: In the order in which they are shown.
        answered: Cells that the person voted on before.

    Attributes:
        pairs: The pairs by their cell.
        order: Their cells.
        answered: Cells with an answer.
        given: How many answers were given now.
    """

    def __init__(self, pairs: "list[BlindPair]", answered: set[int]) -> None:
        self.pairs = {pair.shown.cell: pair for pair in pairs}
        self.order = [pair.shown.cell for pair in pairs]
        self.answered = answered
        self.given = 0

    def after(self, cell: int | None) -> int | None:
        """The next cell without an answer, from a cell on and round; ``None`` when all have one."""
        start = self.order.index(cell) + 1 if cell in self.pairs else 0
        rest = [*self.order[start:], *self.order[:start]]
        return next((one for one in rest if one not in self.answered), None)

    def choice(self, cell: int, side: Literal["left", "right", "same"]) -> "VoteChoice":
        """What an answer means, as a side of the comparison."""
        left = self.pairs[cell].left
        if side == "same":
            return "tie"
        other: VoteChoice = "baseline" if left == "new" else "new"
        return left if side == "left" else other


class Blind(ComparePart):
    """A part of the comparison screen."""

    @acting
    async def action_blind(self) -> None:
        """Begin to vote, or end it."""
        if self.ballots is not None:
            self.leave_blind()
            return
        facts = self.facts
        if facts is None:
            return
        from assetforge.services.reviews import blind_pairs

        pairs = await self.session.run(blind_pairs, facts.info.id)
        if not pairs:
            self.film_app.tell("No picture differs, so there is nothing to vote on.")
            return
        answered = {cell for cell in self.votes if any(pair.shown.cell == cell for pair in pairs)}
        if len(answered) == len(pairs):
            title = "You voted on every pair. Vote on them anew?"
            if not await self.app.push_screen_wait(
                ConfirmDialog(title, "A newer vote on a cell replaces the one before.", yes="Vote anew")
            ):
                return
            answered = set()
        self.ballots = Ballots(pairs, answered)
        self.show_everything(self.ballots.after(None))

    def action_left(self) -> None:
        """The left one."""
        self._vote("left")

    def action_right(self) -> None:
        """The right one."""
        self._vote("right")

    def action_same(self) -> None:
        """Neither."""
        self._vote("same")

    def _vote(self, side: Literal["left", "right", "same"]) -> None:
        ballots, cell, facts = self.ballots, self.current, self.facts
        if ballots is None or facts is None or cell is None or cell not in ballots.pairs:
            return
        choice, seconds = ballots.choice(cell, side), round(time.monotonic() - self.shown_at, 1)
        ballots.answered.add(cell)
        ballots.given += 1
        self.votes[cell] = choice
        # A vote counts as having looked.
        self.opened.setdefault(cell, seconds)
        self._keep_vote(facts.info.id, cell, ballots.pairs[cell].left, choice, seconds)
        after = ballots.after(cell)
        if after is None:
            self.leave_blind()
        else:
            self.look_at(after)

    def _keep_vote(self, comparison: int, cell: int, left: "VotedSide", choice: "VoteChoice", seconds: float) -> None:
        async def keep() -> None:
            from assetforge.services.reviews import cast_vote

            try:
                await self.session.run(cast_vote, comparison, cell, left=left, choice=choice, seconds=seconds)
            except Exception as error:  # noqa: BLE001 - the vote is told to be lost, the screen lives on
                self.votes.pop(cell, None)
                if self.ballots is not None:
                    self.ballots.answered.discard(cell)
                self.film_app.tell_error(error)

        self.run_worker(keep(), group="votes", exit_on_error=False)

    def leave_blind(self) -> None:
        """Names come back, and what all votes say is told."""
        ballots, self.ballots = self.ballots, None
        self.show_everything()
        if ballots is not None and ballots.given:
            self.run_worker(self._tally(ballots.given), group="tally", exit_on_error=False)

    async def _tally(self, given: int) -> None:
        from assetforge.services.reviews import review_status

        facts = self.facts
        if facts is None:
            return
        await self._votes_kept()
        try:
            status: ReviewStatus = await self.session.run(review_status, facts.info.id)
        except Exception as error:  # noqa: BLE001 - told, and the screen lives on
            self.film_app.tell_error(error)
            return
        self.show_votes(status)
        phrase = status.poll.phrase.replace("new preferred", f"{facts.new.name} preferred")
        self.film_app.tell(f"{given} answers are kept. All together: {phrase}.", title="votes")

    async def _votes_kept(self) -> None:
        """Wait for answers that are still being written."""
        kept = [worker for worker in self.workers if worker.group == "votes" and worker.node is self]
        if kept:
            await self.workers.wait_for_complete(kept)

    def show_votes(self, status: "ReviewStatus") -> None:
        """What all votes say now."""
        raise NotImplementedError
