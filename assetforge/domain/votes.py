"""What blind votes say: which of two pictures people preferred without knowing which version made which.

Two figures stand beside each other, as in the verdict. The share of the new version among the votes that preferred one, with Wilson's interval (Wilson 1927, "Probable
inference, the law of succession, and statistical inference"), describes; it takes cells for independent, which those of one prompt are not. The sign-flip test over
prompts (:func:`assetforge.domain.paired_statistics.sign_flip`) of +1 for the new version, -1 for the baseline and 0 for no difference decides whether anybody preferred
anything. Ties leave the share alone and pull the mean over prompts towards 0.

Several people are told one by one, and pooled so that nobody counts more for having voted more often: a prompt's value is the mean over people of their own means,
and a cell is won by the version that more of them preferred.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import NormalDist, fmean
from typing import Any, Literal, TypeAlias

from assetforge.domain import paired_statistics as stats
from assetforge.domain.paired_statistics import Interval
from assetforge.domain.states import VoteChoice

__all__ = ["Ballot", "Poll", "Tally", "VotedSide", "count_votes", "left_sides", "wilson"]

VotedSide: TypeAlias = Literal["new", "baseline"]

_BLOCK = 4
_QUANTILE = NormalDist().inv_cdf(0.975)
_VALUES = {"new": 1.0, "baseline": -1.0, "tie": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """One person's answer about one cell.

    Attributes:
        person: Who.
        cell: Index of the cell.
        prompt: Its prompt; cells of one prompt resemble each other.
        choice: What was liked better.
    """

    person: str
    cell: int
    prompt: str
    choice: VoteChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What one person's votes say, or those of all.

    Attributes:
        wins: Cells in which the new version was preferred.
        losses: Cells in which the baseline was.
        ties: Cells without a preference.
        prompts: Prompts with a vote.
        share: Wins among wins and losses; ``None`` when there is neither.
        interval: Wilson's of the share, 95 %; ``None`` like it.
        lean: Mean over prompts, from -1 for the baseline to 1 for the new version; ``None`` without votes.
        p_value: Two-sided, of "nobody prefers either"; 1 without votes.
    """

    wins: int = 0
    losses: int = 0
    ties: int = 0
    prompts: int = 0
    share: float | None = None
    interval: Interval | None = None
    lean: float | None = None
    p_value: float = 1.0

    @property
    def phrase(self) -> str:
        """Such as ``new preferred in 9 of 12 (75%, 47 to 91), 3 ties, 8 prompts, p 0.031``."""
        if not self.wins + self.losses + self.ties:
            return "no votes"
        parts = ["no preference"]
        if self.share is not None and self.interval is not None:
            between = f"{100 * self.interval.low:.0f} to {100 * self.interval.high:.0f}"
            parts = [f"new preferred in {self.wins} of {self.wins + self.losses} ({self.share:.0%}, {between})"]
        parts += [f"{self.ties} {'tie' if self.ties == 1 else 'ties'}"] if self.ties else []
        parts += [f"{self.prompts} {'prompt' if self.prompts == 1 else 'prompts'}", f"p {self.p_value:.2g}"]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What everybody's votes say.

    Attributes:
        pooled: All people together; a cell counts once.
        people: Each of them, by name.
        agreement: Share of the pairs of votes by two people on one cell that chose the same; ``None`` without such pairs.
        pairs: Number of those pairs.
    """

    pooled: Tally
    people: dict[str, Tally]
    agreement: float | None
    pairs: int

    @property
    def phrase(self) -> str:
        """Of all together, with how many people voted and how far they agree."""
        if not self.people:
            return self.pooled.phrase
        several = len(self.people) > 1
        who = [f"{len(self.people)} people" if several else next(iter(self.people))]
        who += [f"agreeing in {self.agreement:.0%} of {self.pairs}"] if self.agreement is not None else []
        return f"{self.pooled.phrase}; {', '.join(who)}"

    def as_json(self) -> dict[str, Any]:
        """For the evidence of approvals and for interfaces: the same names, and ``phrase``."""
        return {**asdict(self), "phrase": self.phrase}


def count_votes(ballots: Iterable[Ballot]) -> Poll:
    """What votes say.

    Args:
        ballots: In the order they were cast; of several by one person on one cell the last counts.
    """
    latest = {(one.person, one.cell): one for one in ballots}
    own: dict[str, list[Ballot]] = {}
    for (person, _cell), one in sorted(latest.items()):
        own.setdefault(person, []).append(one)
    by_cell: dict[int, list[Ballot]] = {}
    for one in latest.values():
        by_cell.setdefault(one.cell, []).append(one)
    same = [a.choice == b.choice for members in by_cell.values() for a, b in combinations(members, 2)]
    return Poll(
        pooled=_tally([_mean(members) for members in by_cell.values()], list(own.values())),
        people={person: _tally([_VALUES[one.choice] for one in members], [members]) for person, members in own.items()},
        agreement=sum(same) / len(same) if same else None,
        pairs=len(same),
    )


def _tally(cells: Sequence[float], people: Sequence[Sequence[Ballot]]) -> Tally:
    """The tally of values per cell, and of the prompts of some people."""
    if not cells:
        return Tally()
    wins, losses = sum(value > 0 for value in cells), sum(value < 0 for value in cells)
    table = []
    for prompt in sorted({one.prompt for members in people for one in members}):
        answers = [[one for one in members if one.prompt == prompt] for members in people]
        table.append([_mean(given) if given else None for given in answers])
    flips = stats.sign_flip(stats.as_table(table))
    return Tally(
        wins=wins,
        losses=losses,
        ties=len(cells) - wins - losses,
        prompts=flips.prompts,
        share=wins / (wins + losses) if wins + losses else None,
        interval=wilson(wins, wins + losses),
        lean=flips.mean,
        p_value=flips.p_other(),
    )


def _mean(ballots: Sequence[Ballot]) -> float:
    return fmean(_VALUES[one.choice] for one in ballots)


def wilson(successes: int, trials: int) -> Interval | None:
    """Wilson's (1927) 95 % score interval of a share, without continuity correction; ``None`` without trials.

    Raises:
        ValueError: There are more successes than trials, or fewer than none.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is no share")
    if not trials:
        return None
    share, square = successes / trials, _QUANTILE**2
    middle = share + square / (2 * trials)
    reach = _QUANTILE * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    scale = 1 + square / trials
    return Interval(max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale))


def left_sides(comparison: str, cells: Sequence[int], person: str) -> dict[int, VotedSide]:
    """Which version each cell shows on the left, for one person.

    Drawn in blocks of four, with each version on the left in half of a block: a person who looks at the first few cells only has seen both on both sides. The draw follows from
    its arguments, so that asking again shows the same.

    Args:
        comparison: What tells the comparison from all others.
        cells: Indexes of the cells in the order they are shown.
        person: Who will vote.
    """
    sides: dict[int, VotedSide] = {}
    for start in range(0, len(cells), _BLOCK):
        block = cells[start : start + _BLOCK]
        drawn = sorted(block, key=lambda cell: _draw(comparison, cell, person))
        # Of an odd number the one in the middle goes to either side.
        half = len(drawn) // 2 + (len(drawn) % 2 and _draw(comparison, drawn[-1], person)[0] % 2)
        sides |= {cell: "new" if place < half else "baseline" for place, cell in enumerate(drawn)}
    return sides


def _draw(comparison: str, cell: int, person: str) -> bytes:
    return hashlib.sha256(f"{comparison}\n{cell}\n{person}".encode()).digest()
