"""Ranking: several candidates by one metric, with everything that is compared accounted for. It suggests and never picks.

Two families of claims are made, and in each the chance of even one wrong claim is at most alpha. Each candidate against a reference: the claims "better" and "worse" are
Holm-corrected over the candidates, with half of alpha each, and the intervals are simultaneous (Bonferroni); Holm may be sure where an interval still touches zero.
Candidates among each other: whoever is best was chosen by looking at the scores, so that tests of the best against the others, corrected for these alone, would err
too often; all pairs are tested and Holm-corrected, and who is not shown to differ from the best one stays beside it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Literal, TypeAlias

from assetforge.domain import paired_statistics as stats
from assetforge.domain.paired_statistics import Grid, Interval

__all__ = ["Candidate", "Claim", "Ranked", "Ranking", "rank"]

Claim: TypeAlias = Literal["better", "worse", "open", "reference", "not measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What can be picked.

    Attributes:
        name: Such as ``mara/v4``.
        scores: Of the primary metric per prompt and seed, higher is better; ``None`` or NaN where there was nothing to measure.
        effort: What it costs, the dearest first, such as parameters and steps: of candidates that cannot be told apart the lowest is suggested.
        vetoes: Guard rails that speak against it; such a candidate is ranked and never suggested.
    """

    name: str
    scores: Grid
    effort: tuple[float, ...] = ()
    vetoes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A candidate in its place.

    Attributes:
        name: Its name.
        place: From 1.
        score: Mean over prompts; ``None`` when nothing was measured.
        effect: Mean difference to the reference over the prompts that both have; ``None`` without any, and 0 for the reference itself.
        centre: Hodges-Lehmann centre of the same differences.
        interval: Simultaneous interval of the effect; ``None`` for the reference, and when the prompts are too few for one.
        p_better: Holm-corrected p-value of "not better than the reference".
        p_worse: Holm-corrected p-value of "not worse".
        claim: What was shown.
        beside_best: It is the best one, or was not shown to differ from it.
        prompts: Prompts that count.
        dropped: Cells that it or the reference could not measure.
        vetoes: Guard rails that speak against it.
    """

    name: str
    place: int
    score: float | None
    effect: float | None
    centre: float | None = None
    interval: Interval | None = None
    p_better: float | None = None
    p_worse: float | None = None
    claim: Claim = "open"
    beside_best: bool = False
    prompts: int = 0
    dropped: int = 0
    vetoes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The table.

    Attributes:
        reference: Name of what all are compared with.
        rows: Best first.
        beside_best: Names that cannot be told apart from the best one, itself included; empty when guard rails speak against all.
        suggestion: The cheapest of these; a suggestion and no more.
        comparisons: Candidates that were compared with the reference.
        pairs: Pairs of candidates that were compared with each other.
        alpha: Chance of even one wrong claim in each of the two families, at most.
        sentence: The same for people.
        notes: What limits it.
    """

    reference: str
    rows: tuple[Ranked, ...]
    beside_best: tuple[str, ...]
    suggestion: str
    comparisons: int
    pairs: int
    alpha: float
    sentence: str
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For documents."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Against:
    """A candidate against the reference."""

    pairs: stats.Paired
    flips: stats.SignFlip | None


def rank(candidates: Sequence[Candidate], reference: Candidate, *, alpha: float = 0.05, effort: str = "") -> Ranking:
    """Rank candidates against a reference, which may be one of them.

    Args:
        candidates: At least one, no two of one name; all with the same prompts and seeds in the same order.
        reference: What all are compared with: the approved version, or the last checkpoint.
        alpha: Chance of even one wrong claim, 0 to 1.
        effort: What the suggested one is among those that cannot be told apart, such as ``earliest``.

    Raises:
        ValueError: There is no candidate, two have one name, or prompts and seeds differ.
    """
    names = [one.name for one in candidates]
    if not names or len(set(names)) != len(names):
        raise ValueError("a ranking needs candidates, no two of one name")
    others = [one for one in candidates if one.name != reference.name]
    against = {one.name: _against(one, reference) for one in others}
    rows = _rows(candidates, reference, against, alpha)
    fit = [one for one in candidates if not one.vetoes]
    pairs = list(combinations(fit, 2))
    beside = _beside(rows, pairs, alpha)
    suggestion = min(
        (one for one in candidates if one.name in beside),
        key=lambda one: (one.effort, names.index(one.name)),
        default=None,
    )
    placed = tuple(replace(row, place=place, beside_best=row.name in beside) for place, row in enumerate(rows, start=1))
    return Ranking(
        reference=reference.name,
        rows=placed,
        beside_best=beside,
        suggestion=suggestion.name if suggestion is not None else "",
        comparisons=len(others),
        pairs=len(pairs),
        alpha=alpha,
        sentence=_sentence(placed, reference.name, beside, suggestion.name if suggestion is not None else "", effort),
        notes=_notes(placed, len(others), len(pairs), alpha),
    )


def _against(one: Candidate, reference: Candidate) -> _Against:
    pairs = stats.paired(one.scores, reference.scores)
    return _Against(pairs, stats.sign_flip(pairs.differences) if pairs.prompts else None)


def _rows(
    candidates: Sequence[Candidate], reference: Candidate, against: dict[str, _Against], alpha: float
) -> list[Ranked]:
    measured = [name for name, one in against.items() if one.flips is not None]
    flips = {name: one.flips for name, one in against.items() if one.flips is not None}
    better = dict(zip(measured, stats.holm([flips[name].p_above(0.0) for name in measured]), strict=True))
    worse = dict(zip(measured, stats.holm([flips[name].p_below(0.0) for name in measured]), strict=True))
    rows = []
    for one in candidates:
        table = stats.as_table(one.scores)
        means = stats.prompt_means(table) if len(table) else table
        score = float(means.mean()) if len(means) else None
        row = Ranked(name=one.name, place=0, score=score, effect=None, claim="not measured", vetoes=one.vetoes)
        if one.name == reference.name:
            if score is not None:
                row = replace(row, effect=0.0, claim="reference", prompts=len(means))
        elif one.name in flips:
            differences = against[one.name].pairs.differences
            row = replace(
                row,
                effect=flips[one.name].mean,
                centre=stats.hodges_lehmann(stats.prompt_means(differences)),
                # The level of an interval is 1 minus twice its argument.
                interval=flips[one.name].interval(alpha / (2 * len(against))),
                p_better=better[one.name],
                p_worse=worse[one.name],
                claim=_claim(better[one.name], worse[one.name], alpha),
                prompts=len(differences),
                dropped=against[one.name].pairs.dropped,
            )
        rows.append(row)
    return sorted(rows, key=lambda row: (row.effect is None, -(row.effect or 0.0)))


def _claim(p_better: float, p_worse: float, alpha: float) -> Claim:
    if p_better <= alpha / 2:
        return "better"
    return "worse" if p_worse <= alpha / 2 else "open"


def _beside(rows: Sequence[Ranked], pairs: Sequence[tuple[Candidate, Candidate]], alpha: float) -> tuple[str, ...]:
    """The best candidate that no guard rail speaks against, and those that no test tells apart from it, in the order of the table."""
    best = next((row.name for row in rows if row.effect is not None and not row.vetoes), None)
    if best is None:
        return ()
    differ = [stats.paired(first.scores, second.scores).differences for first, second in pairs]
    found = stats.holm([stats.sign_flip(one).p_other() if len(one) else 1.0 for one in differ])
    apart = {
        name
        for (first, second), p_value in zip(pairs, found, strict=True)
        if p_value <= alpha and best in (first.name, second.name)
        for name in (first.name, second.name)
    }
    return tuple(
        row.name
        for row in rows
        if row.effect is not None and not row.vetoes and (row.name == best or row.name not in apart)
    )


def _sentence(rows: Sequence[Ranked], reference: str, beside: Sequence[str], suggestion: str, effort: str) -> str:
    vetoed = any(row.vetoes for row in rows)
    if not suggestion:
        return (
            "Guard rails speak against every candidate, so none is suggested."
            if vetoed
            else "Nothing was measured, so nothing can be ranked."
        )
    fit = [row for row in rows if row.effect is not None and not row.vetoes]
    if len(fit) == 1:
        said = f"{suggestion} is the only candidate that can be picked."
    elif len(beside) == 1:
        others = "every other one that no guard rail speaks against" if vetoed else "every other candidate"
        said = f"{suggestion} was shown to be better than {others}."
    else:
        every = "All" if len(beside) == len(fit) else "These"
        cheapest = f"the {effort} of them, {suggestion}, is suggested" if effort else f"{suggestion} is suggested"
        said = f"{every} {len(beside)} cannot be told apart: {', '.join(beside)}; {cheapest}."
    return f"{said} {_to_reference(rows, reference)}".strip()


def _to_reference(rows: Sequence[Ranked], reference: str) -> str:
    compared = [row for row in rows if row.claim in ("better", "worse", "open")]
    if not compared:
        return ""
    better = [row.name for row in compared if row.claim == "better"]
    worse = [row.name for row in compared if row.claim == "worse"]
    parts = [
        f"{_listed(better)} shown to be better than {reference}"
        if better
        else f"None was shown to be better than {reference}"
    ]
    if worse:
        parts.append(f"{_listed(worse)} shown to be worse")
    return f"{'; '.join(parts)}."


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'was' if len(names) == 1 else 'were'}"


def _notes(rows: Sequence[Ranked], comparisons: int, pairs: int, alpha: float) -> tuple[str, ...]:
    notes = [f"{row.name}: {', '.join(row.vetoes)}." for row in rows if row.vetoes]
    notes += [f"{row.name} was not measured." for row in rows if row.effect is None]
    prompts = min((row.prompts for row in rows if row.effect is not None), default=0)
    needed = stats.fewest_prompts(alpha / (2 * max(comparisons, pairs, 1)))
    if prompts and prompts < needed:
        notes.append(
            f"With {prompts} prompts and so many candidates hardly any difference can be shown; {needed} prompts are the fewest."
        )
    return tuple(notes)
