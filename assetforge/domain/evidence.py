"""From the scores of cells to the evidence of a verdict: which metric decides, what its scores mean for the asset, and what the guard rails watch.

Everything is paired by cell. Core cells answer whether the asset looks right; cells without the trigger whether the version keeps to itself.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from assetforge.api.job import Cell
from assetforge.domain import paired_statistics as stats
from assetforge.domain.readouts import Yardstick
from assetforge.domain.regression import CellScores, Scores, image_key, is_broken, unit_vectors
from assetforge.domain.suite import BLEED_PREFIX, CORE_PREFIX
from assetforge.domain.verdict import Calibration, GuardEvidence, MetricEvidence, Reason, Verdict, VerdictRules, judge

__all__ = ["LIMITED", "Margin", "Question", "ScoredMetric", "margins", "seed_pairs", "verdict_of"]

_Rows: TypeAlias = Sequence[CellScores]
_Grid: TypeAlias = list[list[float | None]]

LIMITED = ("validity",)
"""Guard rails that are held against a limit and so have no margin; metrics that find copies are so too."""

_BROKEN = frozenset({"black-share", "contrast"})
"""Metrics that tell a broken picture."""

_BLEED = "likeness without the trigger"
_STRAY = "distance from the base without the trigger"
_SEEDS = "difference between seeds"

_NOISE_FACTOR = 2.0
_FEW = 3
_COPIES = 0.05
"""Share of the core pictures that may be copies; single ones happen where the references are all alike."""

_SAMENESS = 0.1
"""Loss of difference between seeds, on a scale from 0 (one picture) to 1, that a reviewer sees who lays the seeds side by side."""

_READABLE = 0.5
"""Share of the bare base's prompt following that the references must reach by their own captions; a metric that cannot read them cannot read the asset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredMetric:
    """A metric as the plan of a comparison names it; see :class:`assetforge.api.specs.MetricSpec`."""

    name: str
    title: str
    kind: str
    direction: str = "higher"
    gates: bool = False
    margin: float = 0.0
    copy_limit: float | None = None
    readout: str = "mean"

    @property
    def likeness(self) -> bool:
        """It says how near a picture is to the asset's references."""
        return self.kind == "embedding" and self.copy_limit is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a verdict is about, besides the scores.

    Attributes:
        new: Name of the version under test.
        baseline: Name of what it is compared with.
        primary: Name of the metric that decides, chosen before anything was rendered; empty when no installed one can.
        metrics: All metrics that were run.
        references: Keys of the held-out references.
        training: Keys of the pictures the new version was trained on.
        others: Keys of references of other assets.
        diversity: Name of the pair metric that says how much the seeds of a prompt differ; empty when there is none.
        retrain: Per metric and guard rail: mean differences between versions of one recipe that differ in their seed only.
        unready: Titles of metrics that could not run, such as for want of weights.
        chosen: Title of the metric that somebody chose to decide, when it could not run; nothing decides then.
    """

    new: str
    baseline: str
    primary: str
    metrics: tuple[ScoredMetric, ...]
    references: tuple[str, ...] = ()
    training: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    diversity: str = ""
    retrain: Mapping[str, Sequence[float]] = field(default_factory=dict)
    unready: tuple[str, ...] = ()
    chosen: str = ""


def verdict_of(rows: _Rows, scores: Scores, question: Question, rules: VerdictRules | None = None) -> Verdict:
    """The verdict over a version, from the scores of its cells and its baseline's.

    Args:
        rows: All cells with new, baseline and control.
        scores: What the metrics gave, see :func:`assetforge.domain.regression.cell_scores`.
        question: What it is about.
        rules: Levels and limits.
    """
    core = _core(rows)
    primary = next((metric for metric in question.metrics if metric.name == question.primary), None)
    others = [
        metric
        for metric in question.metrics
        if metric.likeness and metric is not primary and not _watches(question, metric)
    ]
    if primary is None:
        deciding = MetricEvidence(name="likeness", title="likeness", new=(), baseline=(), minimum_margin=0.0)
    else:
        deciding = _likeness(core, scores, question, primary)
    verdict = judge(
        question.new,
        question.baseline,
        deciding,
        secondary=[_likeness(core, scores, question, metric) for metric in others],
        guards=list(_guards(rows, core, scores, question, primary)),
        rules=rules,
        unready=question.unready,
    )
    return replace(verdict, reasons=(*_unmeasured_choice(question), *verdict.reasons, *_read_plainly(scores, question)))


def _unmeasured_choice(question: Question) -> Iterator[Reason]:
    if question.chosen:
        text = f"{question.chosen} was chosen to decide and could not run here, and no other metric takes its place"
        yield Reason("primary-not-measured", "likeness", text)


def _read_plainly(scores: Scores, question: Question) -> Iterator[Reason]:
    """Metrics that should have been read against other assets where there is none."""
    for metric in question.metrics:
        if not metric.likeness or metric.readout != "csls":
            continue
        yardstick = _yardstick(scores, question, metric)
        if yardstick.references and yardstick.applied != metric.readout:
            text = f"{metric.title} is read as a plain mean of cosines: there are no references of other assets to compare with"
            yield Reason("readout-mean", metric.name, text)


def _yardstick(scores: Scores, question: Question, metric: ScoredMetric) -> Yardstick:
    vectors = unit_vectors(scores.get(metric.name, {}))
    return Yardstick.of_keys(vectors, question.references, question.others, metric.readout)


def _watches(question: Question, metric: ScoredMetric) -> bool:
    """A metric of mere pixels is a guard rail where it is known what training again does to it; elsewhere it only flags, as a secondary metric."""
    return metric.likeness and not metric.gates and bool(question.retrain.get(metric.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """How much one metric or guard rail of a verdict may lose.

    Attributes:
        name: Of the metric or guard rail.
        title: What it measures.
        guard: It is a guard rail.
        declared: The smallest loss that a reviewer can see.
        noise: What training again changes, root mean square; ``None`` when that was never measured.
        pairs: Pairs of trainings that it comes from.
        counts: The margin that counts.
    """

    name: str
    title: str
    guard: bool
    declared: float
    noise: float | None
    pairs: int
    counts: float


def margins(
    metrics: Sequence[ScoredMetric], primary: str, diversity: str, retrain: Mapping[str, Sequence[float]]
) -> list[Margin]:
    """The margins of a verdict, the deciding metric first; what is held against a limit has none.

    Args:
        metrics: All metrics that would run.
        primary: Name of the one that decides; empty when no installed one can.
        diversity: See :class:`Question`.
        retrain: See :class:`Question`.
    """
    question = Question(
        new="", baseline="", primary=primary, metrics=tuple(metrics), diversity=diversity, retrain=retrain
    )

    def margin(name: str, title: str, declared: float, *, guard: bool = True) -> Margin:
        known = retrain.get(name, ())
        return Margin(
            name=name,
            title=title,
            guard=guard,
            declared=declared,
            noise=stats.retrain_noise(known),
            pairs=len(known),
            counts=_widened(declared, known),
        )

    likenesses = sorted((one for one in metrics if one.likeness), key=lambda one: one.name != primary)
    found = [margin(one.name, one.title, one.margin, guard=_watches(question, one)) for one in likenesses]
    found += [margin(one.name, one.title, one.margin) for one in metrics if one.kind == "prompt" and one.gates]
    if diversity:
        found.append(margin("diversity", _SEEDS, _SAMENESS))
    deciding = next((one for one in metrics if one.name == primary), None)
    if deciding is not None:
        found += [margin("bleed", _BLEED, deciding.margin), margin("stray", _STRAY, deciding.margin)]
    return found


def _core(rows: _Rows) -> _Rows:
    """The cells that ask whether the asset looks right; in suites without core blocks all cells with the trigger at full strength."""
    wanted = {cell.index for cell in _core_cells([row.cell for row in rows])}
    return [row for row in rows if row.cell.index in wanted]


def _core_cells(cells: Sequence[Cell]) -> list[Cell]:
    worn = [cell for cell in cells if cell.strength != 0]
    return [cell for cell in worn if cell.block.startswith(CORE_PREFIX)] or [
        cell for cell in worn if not cell.block.startswith(BLEED_PREFIX) and cell.strength == 1.0
    ]


def _grid(rows: _Rows, value: Callable[[CellScores], float | None]) -> _Grid:
    """Values by prompt and seed."""
    return [[value(row) for row in members] for members in _by_prompt(rows)]


def _by_prompt(rows: _Rows) -> list[list[CellScores]]:
    groups: dict[tuple[str, str, float], list[CellScores]] = {}
    for row in rows:
        groups.setdefault((row.cell.block, row.cell.prompt, row.cell.strength), []).append(row)
    return list(groups.values())


def _likeness(core: _Rows, scores: Scores, question: Question, metric: ScoredMetric) -> MetricEvidence:
    def side(name: str) -> _Grid:
        return _grid(core, lambda row: row.similarity.get(metric.name, {}).get(name))

    floor = [value for prompt in side("control") for value in prompt if value is not None]
    yardstick = _yardstick(scores, question, metric)
    return MetricEvidence(
        name=metric.name,
        title=metric.title,
        new=side("new"),
        baseline=side("baseline"),
        minimum_margin=metric.margin,
        calibration=Calibration(
            references=yardstick.among(),
            floor=floor,
            impostors=yardstick.impostors(),
            retrain=question.retrain.get(metric.name, ()),
        ),
        can_pass=metric.gates,
    )


def _guards(
    rows: _Rows, core: _Rows, scores: Scores, question: Question, primary: ScoredMetric | None
) -> Iterator[GuardEvidence]:
    """One-sided vetoes: broken pictures, copies of training pictures, leaks without the trigger, sameness, prompts that are no longer followed."""
    broken = [row for row in rows if row.cell.strength != 0 and is_broken(row, "new") and not is_broken(row, "control")]
    if any(_BROKEN & row.singles.keys() for row in rows):
        # Black or flat pictures come from numbers that ran away; not one of them is by chance.
        yield GuardEvidence(name="validity", title="number of broken pictures", limit=0.0, value=float(len(broken)))
    for metric in question.metrics:
        if metric.copy_limit is not None and metric.gates:
            yield _copies(core, scores, question, metric)
        if _watches(question, metric):
            yield _change(question, metric.name, metric.title, metric.margin, core, _near(metric.name), higher=True)
        if metric.kind == "prompt" and metric.gates:
            yield _prompt_following(core, scores, question, metric)
        if metric.name == question.diversity:
            yield _diversity(core, scores, question, metric)
    if primary is None:
        return
    bleeding = [row for row in rows if row.cell.strength != 0 and row.cell.block.startswith(BLEED_PREFIX)]
    if bleeding:
        yield _change(question, "bleed", _BLEED, primary.margin, bleeding, _near(primary.name))
        yield _change(question, "stray", _STRAY, primary.margin, bleeding, _strayed(primary.name))


def _change(
    question: Question,
    name: str,
    title: str,
    margin: float,
    rows: _Rows,
    value: Callable[[CellScores, str], float | None],
    *,
    higher: bool = False,
) -> GuardEvidence:
    return GuardEvidence(
        name=name,
        title=title,
        margin=_margin(question, name, margin),
        new=_grid(rows, lambda row: value(row, "new")),
        baseline=_grid(rows, lambda row: value(row, "baseline")),
        higher_is_better=higher,
    )


def _margin(question: Question, name: str, declared: float) -> float:
    """As for metrics: what a reviewer can see, or twice what training again changes."""
    return _widened(declared, question.retrain.get(name, ()))


def _widened(declared: float, retrain: Sequence[float]) -> float:
    return max(declared, _NOISE_FACTOR * (stats.retrain_noise(retrain) or 0.0))


def _prompt_following(core: _Rows, scores: Scores, question: Question, metric: ScoredMetric) -> GuardEvidence:
    """How well prompts are followed, as far as the references follow their own captions by this metric.

    What lies beyond that counts for nothing: a picture without the asset is easier to read than one with it. Where the references are hardly readable at all
    nothing is measured.
    """
    given = scores.get(metric.name, {})
    read = [given.get(key) for key in question.references]
    known = [float(one) for one in read if isinstance(one, int | float) and math.isfinite(one)]
    ceiling = float(np.mean(known)) if len(known) >= _FEW else math.inf

    def value(row: CellScores, side: str) -> float | None:
        seen = row.singles.get(metric.name, {}).get(side)
        return None if seen is None else min(seen, ceiling)

    floor = [seen for row in core if (seen := row.singles.get(metric.name, {}).get("control")) is not None]
    if floor and ceiling < _READABLE * float(np.mean(floor)):
        title = f"{metric.title} (which cannot read this asset's references)"
        return GuardEvidence(name=metric.name, title=title, margin=metric.margin)
    return _change(question, metric.name, metric.title, metric.margin, core, value, higher=True)


def _near(metric: str) -> Callable[[CellScores, str], float | None]:
    return lambda row, side: row.similarity.get(metric, {}).get(side)


def _strayed(metric: str) -> Callable[[CellScores, str], float | None]:
    return lambda row, side: row.to_control.get(metric, {}).get(side)


def _copies(core: _Rows, scores: Scores, question: Question, metric: ScoredMetric) -> GuardEvidence:
    """The share of core pictures that are copies of training pictures, against what the baseline has of them anyway."""
    vectors = unit_vectors(scores.get(metric.name, {}))
    learned = [vectors[key] for key in question.training if key in vectors]
    shares: dict[str, float | None] = {}
    for side in ("new", "baseline"):
        seen = [vectors[key] for row in core if (key := image_key(side, row.cell.index)) in vectors]
        near = (np.stack(seen) @ np.stack(learned).T).max(axis=1) if seen and learned else None
        shares[side] = None if near is None else float((near > (metric.copy_limit or math.inf)).mean())
    return GuardEvidence(
        name=metric.name,
        title=f"{metric.title}: share of copies of training pictures",
        limit=max(_COPIES, shares["baseline"] or 0.0),
        value=shares["new"],
    )


def seed_pairs(cells: Sequence[Cell]) -> list[tuple[int, int]]:
    """Indexes of core cells that differ in their seed only, each with the next of its prompt; in suites without core blocks of those that stand in for them."""
    groups: dict[tuple[str, str, float], list[int]] = {}
    for cell in _core_cells(cells):
        groups.setdefault((cell.block, cell.prompt, cell.strength), []).append(cell.index)
    return [pair for indexes in groups.values() for pair in pairwise(indexes)]


def _diversity(core: _Rows, scores: Scores, question: Question, metric: ScoredMetric) -> GuardEvidence:
    """How much pictures of one prompt differ between seeds: a version that always paints the same picture has lost something.

    By what the pictures look like and not by an embedding of likeness: that has to be the same for all seeds.
    """
    given = scores.get(metric.name, {})

    def distance(side: str, first: int, second: int) -> float | None:
        seen = given.get(f"{image_key(side, first)}|{image_key(side, second)}")
        if not isinstance(seen, int | float):
            return None
        return 1.0 - float(seen) if metric.direction == "higher" else float(seen)

    def spread(side: str) -> _Grid:
        return [
            [distance(side, first.cell.index, second.cell.index) for first, second in pairwise(rows)]
            for rows in _by_prompt(core)
            if len(rows) > 1
        ]

    return GuardEvidence(
        name="diversity",
        title=_SEEDS,
        margin=_margin(question, "diversity", _SAMENESS),
        new=spread("new"),
        baseline=spread("baseline"),
        higher_is_better=True,
    )
