"""Statistics of paired differences: what a few prompts with a few seeds each say about a new version against a baseline.

Differences come as a table ``d[p][s]``, new minus baseline, one row per prompt and one column per seed; ``NaN`` is a cell that could not be measured. Seeds of one
prompt resemble each other, so the prompt is the unit: seeds are averaged within it, and everything is said about the mean over prompts.

One randomisation distribution (:class:`SignFlip`) gives p-values for every bound and the interval that agrees with them, so that no sentence of a verdict can
contradict another. The choice is measured, see ``tests/benchmarks/bench_verdict.py``: at nominal 95 % and 8 to 24 prompts the interval covers 94 to 96 %
however the spread is shared between prompts and seeds. A percentile bootstrap over prompts covers 89 to 93 %, and so does BCa; a studentised one covers as
well as the randomisation interval and is wider, by far when resamples repeat a few prompts; resampling the seeds as well counts their noise twice, which makes up for
the first fault where seeds differ much (94 to 98 %) and not where they differ little (88 to 94 %). The bootstrap is therefore for description only.

What none of them can do: when few prompts lose much and the others nothing, the mean scatters unevenly, and a sample without one of those prompts looks perfect. The
interval then covers 92 to 95 % where seeds differ much (8 to 24 prompts, a tenth of them lost); where they hardly differ it cannot cover more often than such a
prompt is sampled at all, which for 8 prompts is 57 %. More prompts help, more seeds do not.

Everything is a function of the scores alone: random draws are seeded by them, and the order of prompts and seeds changes nothing.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EXACT_PROMPTS",
    "FLIPS",
    "Auc",
    "Fidelity",
    "Grid",
    "Interval",
    "Paired",
    "SignFlip",
    "as_table",
    "auc",
    "cluster_bootstrap",
    "fewest_prompts",
    "hodges_lehmann",
    "holm",
    "normalised_fidelity",
    "paired",
    "prompt_means",
    "prompts_needed",
    "random_numbers",
    "retrain_noise",
    "sign_flip",
]

Vector: TypeAlias = NDArray[np.float64]
Grid: TypeAlias = Sequence[Sequence[float | None]] | NDArray[np.float64]
"""Scores per prompt and seed; ``None`` and values that are not finite were not measured, and rows may differ in length."""

EXACT_PROMPTS = 12
"""Up to so many prompts every pattern of signs is tried."""

FLIPS = 10_000
"""Random patterns of signs for more prompts than that."""

_RESAMPLES = 2_000
_FEWEST_TO_RESAMPLE = 5
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval with ``low <= high``."""

    low: float
    high: float

    def mirrored(self) -> "Interval":
        """The interval of the differences with their signs swapped."""
        return Interval(-self.high, -self.low)


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """Differences of the cells that both sides measured.

    Attributes:
        differences: New minus baseline, shape (prompts, seeds), ``NaN`` where a side is missing; prompts without any pair are left out.
        cells: Pairs that count.
        dropped: Cells that one side or both could not measure.
        lost: Those of them that the baseline could measure and the new version could not.
        prompts_dropped: Prompts without any pair.
    """

    differences: Vector
    cells: int
    dropped: int
    lost: int
    prompts_dropped: int

    @property
    def prompts(self) -> int:
        """Prompts that count."""
        return len(self.differences)


@dataclass(frozen=True, slots=True)
class Auc:
    """How often a value of the asset's own lies above one of an impostor, ties as half: 0.5 is chance, 1 is always.

    Attributes:
        value: 0 to 1.
        low: Lower end of the 95 % interval; approximate, since references that are compared with each other are not independent.
        high: Upper end.
        own: Number of own values.
        impostors: Number of impostors' values.
    """

    value: float
    low: float
    high: float
    own: int
    impostors: int


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Where scores lie between the bare base (0) and the references themselves (1); beyond both is possible.

    Attributes:
        value: The share.
        interval: 95 %, from resampled scores, floor and ceiling; ``None`` when there are too few values or floor and ceiling overlap too much to say.
    """

    value: float
    interval: Interval | None


def as_table(values: Grid) -> Vector:
    """Scores as a table of shape (prompts, most seeds of a prompt), with ``NaN`` for every cell that was not measured."""
    rows = [[math.nan if value is None else float(value) for value in row] for row in values]
    table = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    table[~np.isfinite(table)] = np.nan
    return table


def paired(new: Grid, baseline: Grid) -> Paired:
    """Differences of two versions, cell by cell; a cell that one side could not measure is dropped on both and counted.

    Raises:
        ValueError: The two tables differ in shape, so cells would be compared that do not belong together.
    """
    first, second = as_table(new), as_table(baseline)
    if first.shape != second.shape or [len(row) for row in new] != [len(row) for row in baseline]:
        raise ValueError("new and baseline must have the same prompts and seeds")
    differences = first - second
    measured = np.isfinite(differences)
    asked = sum(len(row) for row in new)
    kept = measured.any(axis=1)
    return Paired(
        differences=differences[kept],
        cells=int(measured.sum()),
        dropped=asked - int(measured.sum()),
        lost=int((np.isnan(first) & np.isfinite(second)).sum()),
        prompts_dropped=int((~kept).sum()),
    )


def prompt_means(differences: Vector) -> Vector:
    """Mean over the measured seeds of each prompt, shape (prompts,); prompts without any are left out."""
    # In the order of size, so that the order of the seeds cannot show in the last digit.
    means: Vector = np.nanmean(np.sort(differences[np.isfinite(differences).any(axis=1)], axis=1), axis=1)
    return means


@dataclass(frozen=True, slots=True, eq=False)
class SignFlip:
    """The sign-flip randomisation distribution of the mean over prompts.

    If the mean of the population is ``b`` and the differences scatter evenly to both sides of it, then each ``d_p - b`` might as well have had the other sign. The
    p-value of ``b`` is the share of sign patterns that give a mean as extreme as the observed one; the observed pattern counts as one of them (Phipson & Smyth
    2010), so it is never zero. Flipping the set S changes the mean by the mean of ``d_p - b`` over S, hence a pattern is as extreme exactly when the mean of d over S
    lies beyond ``b``: the means of random subsets answer for all bounds at once, and their order statistics are the interval (Hartigan 1969, typical values).

    Attributes:
        prompts: Number of prompts.
        mean: Observed mean.
        subset_means: Means over the prompts of each flipped set, ascending.
        unflipped: Random patterns that flipped nothing; they equal the observed one.
    """

    prompts: int
    mean: float
    subset_means: Vector
    unflipped: int

    @property
    def patterns(self) -> int:
        """Sign patterns, the observed one included."""
        return len(self.subset_means) + self.unflipped + 1

    def p_above(self, bound: float) -> float:
        """One-sided p-value of "the mean is at most ``bound``"; small speaks for a mean above it. In (0, 1]."""
        below = np.searchsorted(self.subset_means, bound + self._rounding(bound), side="right")
        return float(1 + self.unflipped + below) / self.patterns

    def p_below(self, bound: float) -> float:
        """One-sided p-value of "the mean is at least ``bound``"; small speaks for a mean below it. In (0, 1]."""
        above = len(self.subset_means) - np.searchsorted(self.subset_means, bound - self._rounding(bound), side="left")
        return float(1 + self.unflipped + above) / self.patterns

    def p_other(self, bound: float = 0.0) -> float:
        """Two-sided p-value of "the mean is ``bound``": twice the smaller one-sided one, at most 1."""
        return min(1.0, 2.0 * min(self.p_above(bound), self.p_below(bound)))

    def interval(self, alpha: float) -> Interval | None:
        """All bounds that neither one-sided test rejects at ``alpha``: level 1 - 2 alpha; ``None`` when the prompts are too few to reject any."""
        rank = math.floor(alpha * self.patterns + 1e-9) - self.unflipped
        if rank < 1:
            return None
        return Interval(float(self.subset_means[rank - 1]), float(self.subset_means[-rank]))

    def _rounding(self, bound: float) -> float:
        # Differences equal to the bound up to the last digits are no evidence for either side.
        largest = float(np.abs(self.subset_means[[0, -1]]).max()) if len(self.subset_means) else 0.0
        return _ROUNDING * max(largest, abs(bound))


def sign_flip(differences: Vector) -> SignFlip:
    """The randomisation distribution of differences of shape (prompts, seeds), with at least one prompt and one measured seed in each.

    Exact for up to :data:`EXACT_PROMPTS` prompts, otherwise :data:`FLIPS` random patterns.
    """
    table, sign = _canonical(differences)
    means = prompt_means(table)
    count = len(means)
    if count <= EXACT_PROMPTS:
        flipped = (np.arange(1, 2**count)[:, None] >> np.arange(count)) & 1
    else:
        flipped = random_numbers("flips", table).integers(0, 2, (FLIPS, count), dtype=np.int8)
    sizes = flipped.sum(axis=1)
    some = sizes > 0
    sums = flipped[some].astype(np.float64) @ means
    return SignFlip(
        prompts=count,
        mean=sign * float(means.mean()),
        subset_means=np.sort(sign * (sums / sizes[some])),
        unflipped=int((~some).sum()),
    )


def cluster_bootstrap(differences: Vector, alpha: float) -> Interval:
    """Percentile interval of level 1 - 2 alpha from resampled prompts, and seeds resampled within them; it describes and decides nothing, see the module.

    Args:
        differences: Shape (prompts, seeds), with at least one prompt and one measured seed in each.
        alpha: What lies outside on each side, 0 to 0.5.
    """
    table, sign = _canonical(differences)
    measured = np.isfinite(table).sum(axis=1)
    random = random_numbers("bootstrap", table)
    prompts = random.integers(0, len(table), (_RESAMPLES, len(table)))
    drawn = random.random((_RESAMPLES, *table.shape))
    # Measured seeds come first in a row. Rows with fewer of them draw as often as the others and count the first draws only.
    limits = measured[prompts][..., None]
    values = table[prompts[..., None], np.minimum((drawn * limits).astype(np.int64), limits - 1)]
    counted = np.arange(table.shape[1]) < limits
    means = ((values * counted).sum(axis=2) / limits[..., 0]).mean(axis=1)
    low, high = np.quantile(means, [alpha, 1.0 - alpha])
    interval = Interval(float(low), float(high))
    return interval if sign > 0 else interval.mirrored()


def hodges_lehmann(means: Vector) -> float:
    """Median of the averages of all pairs of prompts, each with itself included (Hodges & Lehmann 1963): a centre that one odd prompt hardly moves."""
    rows, columns = np.triu_indices(len(means))
    return float(np.median((means[rows] + means[columns]) / 2.0))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values in the given order: rejecting those at most alpha errs in the whole family with probability at most alpha (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, number in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = highest
    return tuple(adjusted)


def fewest_prompts(alpha: float) -> int:
    """Fewest prompts with which a sign-flip test can reject at ``alpha`` at all: all signs equal has probability 2 to the minus prompts."""
    return max(1, math.ceil(-math.log2(alpha) - 1e-9))


def prompts_needed(spread: float, distance: float, alpha: float, power: float) -> int | None:
    """Prompts with which a mean would probably be told from a bound.

    The normal approximation of a one-sided test with Guenther's (1981) correction for the estimated spread.

    Args:
        spread: Standard deviation of the prompt means.
        distance: Of the true mean from the bound; at 0 no number is enough.
        alpha: Level of the test.
        power: Probability of deciding, 0 to 1.

    Returns:
        At least :func:`fewest_prompts`; ``None`` when no number is enough.
    """
    if spread == 0.0 and distance != 0.0:
        return fewest_prompts(alpha)
    if abs(distance) <= 1e-6 * spread:
        return None
    level, chance = NormalDist().inv_cdf(1.0 - alpha), NormalDist().inv_cdf(power)
    needed = ((level + chance) * spread / distance) ** 2 + level**2 / 2.0
    return max(fewest_prompts(alpha), math.ceil(needed))


def auc(own: Sequence[float], impostors: Sequence[float]) -> Auc | None:
    """Area under the curve of the asset's own values against impostors' (Mann-Whitney), with Newcombe's (2006) interval, method 5; ``None`` without values.

    The interval stays honest for few values: 4 against 4 without any overlap are 1 [0.58, 1].
    """
    first, second = _finite(own), _finite(impostors)
    if not len(first) or not len(second):
        return None
    above = (first[:, None] > second).mean() + (first[:, None] == second).mean() / 2.0
    value = float(above)
    sizes = len(first), len(second)
    return Auc(value, _auc_low(value, *sizes), 1.0 - _auc_low(1.0 - value, *sizes), *sizes)


def _auc_low(value: float, own: int, impostors: int) -> float:
    quantile = NormalDist().inv_cdf(0.975)
    extra = (own + impostors) / 2.0 - 1.0
    low, high = 0.0, value
    for _ in range(60):
        middle = (low + high) / 2.0
        shape = 1.0 + extra * ((1.0 - middle) / (2.0 - middle) + middle / (1.0 + middle))
        reach = quantile * math.sqrt(middle * (1.0 - middle) * shape / (own * impostors))
        low, high = (middle, high) if value - middle > reach else (low, middle)
    return low


def normalised_fidelity(scores: Sequence[float], floor: Sequence[float], ceiling: Sequence[float]) -> Fidelity | None:
    """Where the mean of scores lies between the medians of the floor and the ceiling: (s - floor) / (ceiling - floor), scores with higher as better.

    ``None`` when a value is missing or the ceiling is not above the floor. The interval needs five values of each.
    """
    given, low, high = _finite(scores), _finite(floor), _finite(ceiling)
    if not (len(given) and len(low) and len(high)) or np.median(high) <= np.median(low):
        return None
    value = float((given.mean() - np.median(low)) / (np.median(high) - np.median(low)))
    if min(len(given), len(low), len(high)) < _FEWEST_TO_RESAMPLE:
        return Fidelity(value, None)
    random = random_numbers("fidelity", np.concatenate([given, low, high]))
    drawn = [values[random.integers(0, len(values), (_RESAMPLES, len(values)))] for values in (given, low, high)]
    bottom, top = np.median(drawn[1], axis=1), np.median(drawn[2], axis=1)
    apart = top > bottom
    if apart.mean() < 0.975:
        return Fidelity(value, None)
    shares = (drawn[0].mean(axis=1) - bottom)[apart] / (top - bottom)[apart]
    ends = np.quantile(shares, [0.025, 0.975])
    return Fidelity(value, Interval(float(ends[0]), float(ends[1])))


def retrain_noise(differences: Sequence[float]) -> float | None:
    """Standard deviation of the mean difference of two trainings of one recipe, from pairs of them; ``None`` without any.

    The root mean square, since such differences have mean 0 by their making. From one pair it may be wrong by any factor: a small one is no promise.
    """
    known = _finite(differences)
    return float(np.sqrt(np.mean(known**2))) if len(known) else None


def random_numbers(purpose: str, values: Vector) -> np.random.Generator:
    """A generator that the values seed: the same values always see the same draws, and nobody can draw again for a better verdict."""
    data = np.ascontiguousarray(np.where(np.isnan(values), np.nan, values) + 0.0, dtype="<f8")
    key = hashlib.sha256(f"{purpose} {values.shape}".encode() + data.tobytes())
    return np.random.default_rng(int.from_bytes(key.digest()[:16], "little"))


def _finite(values: Sequence[float]) -> Vector:
    known = np.asarray(values, dtype=np.float64)
    return np.sort(known[np.isfinite(known)])


def _canonical(differences: Vector) -> tuple[Vector, float]:
    """The differences in the one order that stands for all orders of prompts and seeds and for both signs, and the sign that was taken out.

    With it, mirrored differences see the same draws and get the mirrored answer.
    """
    plain, swapped = _ordered(differences), _ordered(-differences)
    return (plain, 1.0) if _key(plain) >= _key(swapped) else (swapped, -1.0)


def _ordered(differences: Vector) -> Vector:
    rows = np.sort(differences + 0.0, axis=1)
    ordered: Vector = rows[np.lexsort(np.nan_to_num(rows, nan=np.inf).T[::-1])]
    return ordered


def _key(table: Vector) -> list[float]:
    flat: list[float] = np.nan_to_num(table, nan=np.inf).ravel().tolist()
    return flat
