"""The verdict: whether a new version is worse than its baseline, by the scores of the renders that both made.

One metric, named before anything was rendered, decides. The new version passes when the mean loss over prompts is shown to be smaller than a margin, and has
regressed when it is shown to be larger; anything else is inconclusive and asks for more prompts, then for a person. Both are one-sided sign-flip tests against the
same bound, and the interval that is shown is the one that agrees with them (:mod:`assetforge.domain.paired_statistics`): "pass" is a lower end above -margin,
"regressed" an upper end below it, and each errs at most at the level alpha. Letting a bootstrap interval speak as well, "regressed when either says so", was
measured: it called up to 5.8 % of the versions that lie exactly on the margin regressed, at a nominal 2.5 %.

Secondary metrics have margins of their own and are corrected for their number (Holm, for each of the two claims). A regression of one takes the pass away, and a
person decides. Guard rails are vetoes: one alone makes a regression, and one that is suspect takes the pass away, as long as more prompts have not cleared it. They are corrected neither for their number nor for repeated looks; a false veto costs a
look, a missed one a film. A metric that cannot tell the asset from others like it, or whose ceiling is not above its floor, gates nothing and says so.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from assetforge.domain import paired_statistics as stats
from assetforge.domain.paired_statistics import Auc, Fidelity, Grid, Interval

__all__ = [
    "Calibration",
    "GuardEvidence",
    "GuardOutcome",
    "GuardVerdict",
    "MetricEvidence",
    "MetricVerdict",
    "Outcome",
    "Reason",
    "Verdict",
    "VerdictRules",
    "judge",
]

Outcome: TypeAlias = Literal["pass", "regressed", "inconclusive"]
GuardOutcome: TypeAlias = Literal["clear", "veto", "suspect", "open", "not measured"]

_FEWEST_TO_TELL = 3
_NOISE_FACTOR = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What scores of a metric mean for one asset, in the metric's own direction.

    Attributes:
        references: Each held-out reference against the others: the ceiling.
        floor: Renders of the bare base against the references.
        impostors: Other assets of the same type against the references.
        retrain: Mean differences between two trainings of one recipe that differ in their seed only, one for each pair.
    """

    references: Sequence[float] = ()
    floor: Sequence[float] = ()
    impostors: Sequence[float] = ()
    retrain: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricEvidence:
    """Scores of one metric.

    Attributes:
        name: Of the metric.
        title: What it measures, in a word or two, such as ``identity``.
        new: Scores of the new version per prompt and seed; ``None`` or NaN where there was nothing to measure.
        baseline: The same cells of the baseline.
        minimum_margin: The smallest loss that a reviewer can see, at least 0.
        calibration: What the scores mean.
        higher_is_better: ``False`` for distances.
        can_pass: ``False`` for metrics that show change only, such as pixel metrics: they may flag a version, never pass it.
    """

    name: str
    title: str
    new: Grid
    baseline: Grid
    minimum_margin: float
    calibration: Calibration = field(default_factory=Calibration)
    higher_is_better: bool = True
    can_pass: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.minimum_margin < math.inf:
            raise ValueError(f"the margin of {self.name} must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardEvidence:
    """One guard rail: either a value against a limit, or differences against a margin.

    Attributes:
        name: Of the guard rail.
        title: What it watches, such as ``copy risk``.
        limit: A value beyond it is a veto.
        value: What the renders of the new version gave; ``None`` when it was not measured.
        margin: A mean change for the worse that is shown to exceed it is a veto.
        new: Scores of the new version per prompt and seed.
        baseline: The same cells of the baseline, or of the bare base.
        higher_is_better: ``True`` for diversity and prompt following, ``False`` for copy risk, bleed and broken pictures.
    """

    name: str
    title: str
    limit: float | None = None
    value: float | None = None
    margin: float | None = None
    new: Grid = ()
    baseline: Grid = ()
    higher_is_better: bool = False

    def __post_init__(self) -> None:
        if (self.limit is None) == (self.margin is None):
            raise ValueError(f"guard rail {self.name} needs a limit or a margin, and not both")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRules:
    """What holds for every metric of a verdict.

    Attributes:
        alpha: Chance of each wrong claim, one-sided; intervals have level 1 - 2 alpha.
        looks: How many verdicts may be asked for while prompts are added; each gets alpha / looks, so that looking again does not raise the chance of a wrong claim.
        min_auc: A metric that tells the asset from others less well gates nothing.
        max_lost_share: Share of the cells measured for the baseline that the new version may leave without a score and still pass.
        power: With which probability the prompts asked for should decide.
        max_prompts: Prompts in all that may be asked for.
    """

    alpha: float = 0.025
    looks: int = 1
    min_auc: float = 0.8
    max_lost_share: float = 0.1
    power: float = 0.8
    max_prompts: int = 96

    def __post_init__(self) -> None:
        if not (0.0 < self.alpha < 0.5 and 0.0 < self.power < 1.0 and self.looks >= 1):
            raise ValueError("alpha lies between 0 and 0.5, power between 0 and 1, and there is at least one look")

    @property
    def level(self) -> float:
        """Alpha of one look."""
        return self.alpha / self.looks


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that a reader of the verdict should know.

    Attributes:
        code: Stable short name.
        about: Name of the metric or guard rail.
        text: A sentence for people, without a full stop.
    """

    code: str
    about: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricVerdict:
    """What one metric says; differences are turned so that positive is better.

    Attributes:
        name: Of the metric.
        title: What it measures.
        outcome: Its own outcome, for secondary metrics after Holm's correction.
        informative: It tells the asset from others, as far as that is known.
        prompts: Prompts that count.
        cells: Pairs that count.
        dropped: Cells left out because a side was not measured.
        lost: Those that only the new version did not give.
        margin: The loss that is tolerated.
        effect: Mean over prompts of new minus baseline.
        spread: Standard deviation of the prompt means, 0 for one prompt.
        interval: Randomisation interval of level 1 - 2 alpha / looks, not corrected by Holm; ``None`` when the prompts are too few for any.
        bootstrap: Prompt-cluster bootstrap interval of the same level, for description.
        median: Hodges-Lehmann median over prompts.
        p_not_worse: P-value of the claim "loses less than the margin", corrected for secondary metrics.
        p_worse: P-value of the claim "loses more than the margin", corrected for secondary metrics.
        auc: Of the asset against impostors.
        fidelity: Of the new version between floor and ceiling.
        baseline_fidelity: Of the baseline.
        more_prompts: How many further prompts would probably decide it; ``None`` when they would not help.
        reasons: What else to know.
    """

    name: str
    title: str
    outcome: Outcome = "inconclusive"
    informative: bool = True
    prompts: int = 0
    cells: int = 0
    dropped: int = 0
    lost: int = 0
    margin: float
    effect: float | None = None
    spread: float = 0.0
    interval: Interval | None = None
    bootstrap: Interval | None = None
    median: float | None = None
    p_not_worse: float = 1.0
    p_worse: float = 1.0
    auc: Auc | None = None
    fidelity: Fidelity | None = None
    baseline_fidelity: Fidelity | None = None
    more_prompts: int | None = None
    reasons: tuple[Reason, ...] = ()

    @property
    def phrase(self) -> str:
        """Such as ``identity +0.012 [0.003, 0.021], margin 0.02, 24 prompts``."""
        if self.effect is None:
            return f"{self.title} was not measured"
        digits = _digits(self.margin)
        between = f" [{self.interval.low:.{digits}f}, {self.interval.high:.{digits}f}]" if self.interval else ""
        return f"{self.title} {self.effect:+.{digits}f}{between}, margin {self.margin:.3g}, {_prompts(self.prompts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardVerdict:
    """What one guard rail says.

    Attributes:
        name: Of the guard rail.
        title: What it watches.
        outcome: ``clear``; ``veto``; ``suspect``: beyond its margin, and chance is not excluded; ``open``: within its margin, and more is not excluded; ``not measured``.
        text: A sentence for people, without a full stop.
        value: Against the limit, or the mean change, turned so that positive is better.
        bound: The limit or the margin.
        interval: Of the change; ``None`` for limits and when the prompts are too few.
    """

    name: str
    title: str
    outcome: GuardOutcome = "not measured"
    text: str = ""
    value: float | None = None
    bound: float
    interval: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The whole verdict.

    Attributes:
        outcome: Overall.
        headline: One sentence for people, without a full stop.
        metrics: The primary one first.
        guards: In the given order.
        reasons: Everything to know, in the order of importance.
        not_measured: Titles of metrics and guard rails without a measurement.
        more_prompts: How many further prompts would probably decide it; ``None`` when it is decided, or a person has to.
    """

    outcome: Outcome
    headline: str
    metrics: tuple[MetricVerdict, ...]
    guards: tuple[GuardVerdict, ...]
    reasons: tuple[Reason, ...]
    not_measured: tuple[str, ...]
    more_prompts: int | None

    def as_json(self) -> dict[str, Any]:
        """For files and interfaces: the same names, and each metric's ``phrase``."""
        document = asdict(self)
        for given, metric in zip(document["metrics"], self.metrics, strict=True):
            given["phrase"] = metric.phrase
        return document


def judge(
    new: str,
    baseline: str,
    primary: MetricEvidence,
    *,
    secondary: Sequence[MetricEvidence] = (),
    guards: Sequence[GuardEvidence] = (),
    rules: VerdictRules | None = None,
    unready: Sequence[str] = (),
) -> Verdict:
    """The verdict over a new version.

    Args:
        new: Its name, for the headline.
        baseline: The name of what it is compared with.
        primary: The metric that decides, declared before anything was rendered.
        secondary: Metrics that may take a pass away.
        guards: Guard rails.
        rules: Levels and limits.
        unready: Titles of metrics that could not run; they are named among what was not measured.

    Raises:
        ValueError: New and baseline scores of a metric are not of the same cells.
    """
    rules = rules or VerdictRules()
    first = _decided(_weighed(primary, rules), primary, rules)
    others = _secondary(secondary, rules)
    rails = tuple(_guarded(one, rules) for one in guards)
    worse = [one for one in others if one.outcome == "regressed"]
    vetoes = [one for one in rails if one.outcome == "veto"]
    suspects = [one for one in rails if one.outcome == "suspect"]
    undone = first.outcome == "pass" and (worse or suspects)
    outcome: Outcome = "regressed" if vetoes else "inconclusive" if undone else first.outcome
    metrics = (first, *others)
    unmeasured = [one.title for one in metrics if one.effect is None]
    losses = [Reason("secondary-regressed", one.name, f"worse by {one.phrase}") for one in worse]
    notes = [Reason(f"guard-{one.outcome.replace(' ', '-')}", one.name, one.text) for one in rails]
    return Verdict(
        outcome=outcome,
        headline=_headline(new, baseline, first, worse, vetoes, suspects),
        metrics=metrics,
        guards=rails,
        reasons=(*notes, *losses, *(reason for one in metrics for reason in one.reasons)),
        not_measured=(*unmeasured, *(one.title for one in rails if one.outcome == "not measured"), *unready),
        more_prompts=_more(first, suspects, rules) if outcome == "inconclusive" else None,
    )


def _more(first: MetricVerdict, suspects: Sequence[GuardVerdict], rules: VerdictRules) -> int | None:
    """Prompts that would help: what the deciding metric asks for, or twice as many as there are where a guard rail is suspect."""
    if first.outcome == "inconclusive" or not suspects:
        return first.more_prompts
    return min(first.prompts, max(0, rules.max_prompts - first.prompts)) or None


def _weighed(evidence: MetricEvidence, rules: VerdictRules) -> MetricVerdict:
    """Everything about a metric but its outcome."""
    sign = 1.0 if evidence.higher_is_better else -1.0
    pairs = stats.paired(evidence.new, evidence.baseline)
    known = evidence.calibration
    own, floor, impostors = (
        [sign * value for value in values if math.isfinite(value)]
        for values in (known.references, known.floor, known.impostors)
    )
    told_apart = stats.auc(own, impostors)
    noise = stats.retrain_noise(known.retrain)
    margin = max(evidence.minimum_margin, _NOISE_FACTOR * (noise or 0.0))
    span = float(np.median(own) - np.median(floor)) if own and floor else None
    known_power = tuple(_power(evidence, told_apart, span, rules))
    verdict = MetricVerdict(
        name=evidence.name,
        title=evidence.title,
        informative=not any(reason.code.startswith("uninformative") for reason in known_power),
        margin=margin,
        cells=pairs.cells,
        dropped=pairs.dropped,
        lost=pairs.lost,
        auc=told_apart,
        reasons=(*known_power, *_about_margin(evidence, noise, margin, span)),
    )
    if not pairs.prompts:
        return _noted(verdict, "unmeasured", f"{evidence.title} was not measured on both sides of any cell")
    differences = sign * pairs.differences
    means, flips = np.sort(stats.prompt_means(differences)), stats.sign_flip(differences)
    sides = [sign * stats.prompt_means(stats.as_table(scores)) for scores in (evidence.new, evidence.baseline)]
    return replace(
        verdict,
        prompts=pairs.prompts,
        effect=flips.mean,
        spread=float(means.std(ddof=1)) if len(means) > 1 else 0.0,
        interval=flips.interval(rules.level),
        bootstrap=stats.cluster_bootstrap(differences, rules.level),
        median=stats.hodges_lehmann(means),
        p_not_worse=flips.p_above(-margin),
        p_worse=flips.p_below(-margin),
        fidelity=stats.normalised_fidelity(sides[0].tolist(), floor, own),
        baseline_fidelity=stats.normalised_fidelity(sides[1].tolist(), floor, own),
    )


def _secondary(evidence: Sequence[MetricEvidence], rules: VerdictRules) -> list[MetricVerdict]:
    """Secondary metrics, decided after Holm's correction; those that gate nothing do not count among them."""
    weighed = [_weighed(one, rules) for one in evidence]
    gating = [number for number, one in enumerate(weighed) if one.informative and one.effect is not None]
    passes = stats.holm([weighed[number].p_not_worse for number in gating])
    regressions = stats.holm([weighed[number].p_worse for number in gating])
    for number, p_not_worse, p_worse in zip(gating, passes, regressions, strict=True):
        weighed[number] = replace(weighed[number], p_not_worse=p_not_worse, p_worse=p_worse)
    return [_decided(one, given, rules) for one, given in zip(weighed, evidence, strict=True)]


def _decided(verdict: MetricVerdict, evidence: MetricEvidence, rules: VerdictRules) -> MetricVerdict:
    """The metric with its outcome, and why it has none."""
    measurable = verdict.cells + verdict.lost
    if verdict.dropped:
        text = f"{verdict.dropped} of {verdict.cells + verdict.dropped} cells could not be measured on both sides and are left out"
        verdict = _noted(verdict, "dropped-cells", text)
    if verdict.effect is None or not verdict.informative:
        return verdict
    if verdict.p_worse <= rules.level:
        return replace(verdict, outcome="regressed")
    if verdict.p_not_worse > rules.level:
        return _asking(verdict, rules)
    if verdict.lost > rules.max_lost_share * measurable:
        text = f"{evidence.title} could be measured in {measurable} cells of the baseline and in {verdict.lost} of them not for the new version, too many to pass by the rest"
        return _noted(verdict, "lost-cells", text)
    if not evidence.can_pass:
        return _noted(verdict, "cannot-pass", f"{evidence.title} shows change only and passes no version")
    return replace(verdict, outcome="pass")


def _asking(verdict: MetricVerdict, rules: VerdictRules) -> MetricVerdict:
    """An undecided metric with the prompts that would probably decide it."""
    fewest, have = stats.fewest_prompts(rules.level), verdict.prompts
    distance = (verdict.effect or 0.0) + verdict.margin
    needed = fewest if have == 1 else stats.prompts_needed(verdict.spread, distance, rules.level, rules.power)
    # At least a quarter more: a design that just missed would probably just miss again.
    more = None if needed is None else max(needed - have, math.ceil(have / 4))
    room = max(0, rules.max_prompts - have)
    code, text = "undecided", f"about {_prompts(more or 0)} more would probably decide"
    if have < fewest:
        code = "too-few-prompts"
        text = f"{_prompts(have)} cannot decide anything, however clear the scores are; at least {fewest} are needed"
    elif more is None:
        code, text = "on-margin", f"{verdict.title} lies on the margin, where no number of prompts decides"
    elif more > room:
        code = "past-limit"
        text = f"about {have + more} prompts would be needed to decide, and {rules.max_prompts} is the limit"
    verdict = _noted(verdict, code, text)
    return replace(verdict, more_prompts=(room if more is None else min(more, room)) or None)


def _power(evidence: MetricEvidence, apart: Auc | None, span: float | None, rules: VerdictRules) -> Iterator[Reason]:
    """What is known about the metric's power to tell the asset from others; codes that begin with ``uninformative`` say that it gates nothing."""
    title, others = evidence.title, "tells this asset from others like it"
    if apart is None or min(apart.own, apart.impostors) < _FEWEST_TO_TELL:
        text = f"whether {title} {others} was not checked: fewer than {_FEWEST_TO_TELL} references or scores of others"
        yield Reason("auc-unknown", evidence.name, text)
    elif apart.value < rules.min_auc:
        text = f"{title} cannot tell this asset from others like it (AUC {apart.value:.2f}, at least {rules.min_auc:g} is needed) and decides nothing"
        yield Reason("uninformative-auc", evidence.name, text)
    elif apart.low < rules.min_auc:
        between = f"{apart.value:.2f} [{apart.low:.2f}, {apart.high:.2f}]"
        text = f"{title} probably {others} (AUC {between} from {apart.own} references and {apart.impostors} scores of others)"
        yield Reason("auc-uncertain", evidence.name, text)
    if span is not None and span <= 0.0:
        text = f"the references score no better in {title} than the bare base, so it decides nothing"
        yield Reason("uninformative-ceiling", evidence.name, text)


def _about_margin(evidence: MetricEvidence, noise: float | None, margin: float, span: float | None) -> Iterator[Reason]:
    if noise is None:
        text = f"how much {evidence.title} changes when the same recipe is trained again is not known; the declared margin of {margin:.3g} stands"
        yield Reason("retrain-unknown", evidence.name, text)
    elif margin > evidence.minimum_margin:
        pairs = len(evidence.calibration.retrain)
        text = f"the margin of {margin:.3g} is twice the noise of training again ({noise:.3g}, from {pairs} {'pair' if pairs == 1 else 'pairs'} of trainings)"
        yield Reason("retrain-margin", evidence.name, text)
    if span is not None and 0.0 < span <= 2.0 * margin:
        text = f"the margin of {margin:.3g} is half or more of the way from the bare base to the references ({span:.3g}), so passing says little"
        yield Reason("margin-wide", evidence.name, text)


def _guarded(evidence: GuardEvidence, rules: VerdictRules) -> GuardVerdict:
    worse, sign = ("below", 1.0) if evidence.higher_is_better else ("above", -1.0)
    if evidence.limit is not None:
        given = evidence.value
        verdict = GuardVerdict(name=evidence.name, title=evidence.title, value=given, bound=evidence.limit)
        if given is None or not math.isfinite(given):
            return replace(verdict, value=None, text=f"{evidence.title} was not measured")
        veto = sign * (given - evidence.limit) < 0.0
        text = f"{evidence.title} {given:.3g} is {worse if veto else 'within'} its limit of {evidence.limit:.3g}"
        return replace(verdict, outcome="veto" if veto else "clear", text=text)
    margin = evidence.margin or 0.0
    pairs = stats.paired(evidence.new, evidence.baseline)
    verdict = GuardVerdict(name=evidence.name, title=evidence.title, bound=margin)
    if not pairs.prompts:
        return replace(verdict, text=f"{evidence.title} was not measured")
    flips = stats.sign_flip(sign * pairs.differences)
    change = f"{flips.mean:+.{_digits(margin)}f}"
    counted = f"over {_prompts(pairs.prompts)} (margin {margin:.3g})"
    verdict = replace(verdict, value=flips.mean, interval=flips.interval(rules.alpha))
    if flips.p_below(-margin) <= rules.alpha:
        return replace(verdict, outcome="veto", text=f"{evidence.title} got worse, {change} {counted}")
    text = f"{evidence.title} changed by {change} {counted}, positive is better"
    if flips.p_above(-margin) <= rules.alpha:
        return replace(verdict, outcome="clear", text=text)
    if flips.mean < -margin:
        return replace(verdict, outcome="suspect", text=f"{text}; that is beyond the margin, and may be chance")
    return replace(verdict, outcome="open", text=f"{text}; whether that exceeds the margin is open")


def _headline(
    new: str,
    baseline: str,
    first: MetricVerdict,
    worse: Sequence[MetricVerdict],
    vetoes: Sequence[GuardVerdict],
    suspects: Sequence[GuardVerdict],
) -> str:
    if vetoes:
        return f"{new} is vetoed against {baseline}: {', '.join(one.text for one in vetoes)}; {first.phrase}"
    if first.outcome == "pass" and worse:
        return f"{new} is not worse than {baseline} in {first.phrase}, but worse in {'; '.join(one.phrase for one in worse)}; a person has to decide"
    if first.outcome == "pass" and suspects:
        return f"{new} is not worse than {baseline} in {first.phrase}, but suspect in {'; '.join(one.text for one in suspects)}"
    if first.outcome == "pass":
        return f"{new} is not worse than {baseline}: {first.phrase}"
    if first.outcome == "regressed":
        return f"{new} is worse than {baseline}: {first.phrase}"
    why = "" if first.informative or first.effect is None else ", which cannot tell this asset from others"
    return f"It is open whether {new} is worse than {baseline}: {first.phrase}{why}"


def _noted(verdict: MetricVerdict, code: str, text: str) -> MetricVerdict:
    # What keeps a metric from an outcome comes before remarks about its margin and calibration.
    return replace(verdict, reasons=(Reason(code, verdict.name, text), *verdict.reasons))


def _prompts(count: int) -> str:
    return "1 prompt" if count == 1 else f"{count} prompts"


def _digits(margin: float) -> int:
    """Decimals that show a tenth of the margin."""
    return 3 if margin <= 0.0 else min(8, max(0, 1 - math.floor(math.log10(margin))))
