import dataclasses
import math
import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assetforge.domain.verdict import Calibration, GuardEvidence, MetricEvidence, VerdictRules, judge

KNOWN = Calibration(
    references=[0.8, 0.82, 0.79, 0.85, 0.81, 0.83, 0.8, 0.84] * 2,
    floor=[0.3, 0.32, 0.35, 0.28, 0.31],
    impostors=[0.4, 0.5, 0.45, 0.55, 0.42, 0.5, 0.44, 0.47] * 2,
    retrain=[0.004, -0.003],
)
SPREAD = np.resize([-0.02, 0.01, 0.02, -0.01, 0.005, -0.005], 96)
BENCH = Path(__file__).parents[1] / "benchmarks" / "bench_verdict.py"


def metric(mean=0.0, prompts=24, spread=1.0, seeds=2, **more):
    """A metric whose differences have this mean, a spread of 0.014 between prompts, and seeds that agree."""
    base = np.linspace(0.5, 0.7, prompts)[:, None] + np.zeros(seeds)
    scatter = SPREAD[:prompts] - (SPREAD[:prompts].mean() if prompts else 0.0)
    new = base + (mean + spread * scatter)[:, None]
    given = {"name": "dino", "title": "identity", "minimum_margin": 0.02, "calibration": KNOWN, **more}
    return MetricEvidence(**{"new": new, "baseline": base, **given})


def verdict(primary, **more):
    return judge("mara/v7", "mara/v6", primary, **more)


def codes(result):
    return [reason.code for reason in result.reasons]


UNKNOWN = dataclasses.replace(KNOWN, retrain=())
CASES = {
    "clear pass": (metric(0.012), "pass", []),
    "a loss smaller than the margin passes": (metric(-0.008), "pass", []),
    "a loss larger than the margin": (metric(-0.04), "regressed", []),
    "between": (metric(-0.016), "inconclusive", ["undecided"]),
    "on the margin": (metric(-0.02), "inconclusive", ["on-margin"]),
    "near the margin": (metric(-0.0205), "inconclusive", ["past-limit"]),
    "five prompts": (metric(0.5, prompts=5), "inconclusive", ["too-few-prompts"]),
    "one prompt": (metric(0.5, prompts=1), "inconclusive", ["too-few-prompts"]),
    "no prompts": (metric(prompts=0), "inconclusive", ["unmeasured"]),
    "equal versions": (metric(spread=0.0), "pass", []),
    "noise unknown": (metric(0.012, calibration=UNKNOWN), "pass", ["retrain-unknown"]),
    "noise large": (
        metric(-0.04, calibration=dataclasses.replace(KNOWN, retrain=[0.03])),
        "pass",
        ["retrain-margin"],
    ),
    "margin wide": (metric(0.012, minimum_margin=0.3), "pass", ["margin-wide"]),
    "not told from others": (
        metric(-0.04, calibration=dataclasses.replace(KNOWN, impostors=KNOWN.references)),
        "inconclusive",
        ["uninformative-auc"],
    ),
    "probably told from others": (
        metric(0.012, calibration=dataclasses.replace(KNOWN, references=[0.8, 0.9, 0.7])),
        "pass",
        ["auc-uncertain"],
    ),
    "too little to tell": (
        metric(0.012, calibration=dataclasses.replace(KNOWN, impostors=[0.9, 0.9])),
        "pass",
        ["auc-unknown"],
    ),
    "nothing known": (metric(0.012, calibration=Calibration()), "pass", ["auc-unknown", "retrain-unknown"]),
    "references no better than the base": (
        metric(-0.04, calibration=dataclasses.replace(KNOWN, floor=[0.9] * 5)),
        "inconclusive",
        ["uninformative-ceiling"],
    ),
    "change only": (metric(0.012, can_pass=False), "inconclusive", ["cannot-pass"]),
    "change only can flag": (metric(-0.04, can_pass=False), "regressed", []),
}


@pytest.mark.parametrize("name", CASES)
def test_outcome_and_reasons_of_the_primary_metric(name):
    primary, outcome, reasons = CASES[name]
    result = verdict(primary)
    assert (result.outcome, codes(result)) == (outcome, reasons)
    assert result.metrics[0].outcome == outcome
    assert all(reason.about == "dino" and not reason.text.endswith(".") for reason in result.reasons)


def test_the_headline_is_one_sentence():
    figures = "identity +0.012 [0.006, 0.018], margin 0.02, 24 prompts"
    assert verdict(metric(0.012)).headline == f"mara/v7 is not worse than mara/v6: {figures}"
    assert verdict(metric(-0.04)).headline.startswith("mara/v7 is worse than mara/v6: identity -0.040 [-0.046, ")
    assert verdict(metric(-0.016)).headline.startswith("It is open whether mara/v7 is worse than mara/v6: identity")
    assert verdict(metric(0.5, prompts=1)).headline.endswith("identity +0.500, margin 0.02, 1 prompt")
    nothing = verdict(metric(prompts=0))
    assert nothing.headline == "It is open whether mara/v7 is worse than mara/v6: identity was not measured"
    assert nothing.not_measured == ("identity",)


def test_distances_are_turned_so_that_positive_is_better():
    turned = dataclasses.replace(
        KNOWN, **{side: [1.2 - v for v in getattr(KNOWN, side)] for side in ("references", "floor", "impostors")}
    )
    better = metric(-0.012, higher_is_better=False, calibration=turned)
    result = verdict(better).metrics[0]
    assert (result.outcome, result.auc.value) == ("pass", 1.0)
    assert result.effect == pytest.approx(0.012)
    assert verdict(metric(0.04, higher_is_better=False, calibration=turned)).outcome == "regressed"
    assert 0.0 < result.baseline_fidelity.value < 1.0


def test_too_few_prompts_say_how_many_are_needed_and_ask_for_them():
    result = verdict(metric(0.5, prompts=4))
    assert "at least 6 are needed" in result.reasons[0].text
    assert result.more_prompts == 2
    assert verdict(metric(0.5, prompts=4), rules=VerdictRules(looks=3)).more_prompts == 3


def test_prompts_are_asked_for_up_to_a_limit_and_only_when_they_help():
    assert 6 <= verdict(metric(-0.016)).more_prompts <= 96 - 24
    assert verdict(metric(-0.02)).more_prompts == 96 - 24
    assert verdict(metric(-0.02), rules=VerdictRules(max_prompts=24)).more_prompts is None
    for decided in (metric(0.012), metric(-0.04), metric(prompts=0), metric(0.012, can_pass=False)):
        assert verdict(decided).more_prompts is None


def test_repeated_looks_need_stronger_evidence():
    once, often = verdict(metric(-0.0135)), verdict(metric(-0.0135), rules=VerdictRules(looks=5))
    assert (once.outcome, often.outcome) == ("pass", "inconclusive")
    assert often.metrics[0].interval.low < once.metrics[0].interval.low


def test_cells_without_a_score_are_counted_and_too_many_lost_ones_keep_it_from_passing():
    few, many = metric(0.012), metric(0.012)
    few.new[3, 1] = math.nan
    many.new[:6, 0] = math.nan
    result = verdict(few)
    assert (result.outcome, codes(result), result.metrics[0].cells) == ("pass", ["dropped-cells"], 47)
    assert result.metrics[0].effect == pytest.approx(0.012)
    result = verdict(many)
    assert (result.outcome, codes(result)) == ("inconclusive", ["lost-cells", "dropped-cells"])
    assert result.metrics[0].lost == 6
    # Cells that the baseline could not measure either say nothing against the new version.
    many.baseline[:6, 0] = math.nan
    assert verdict(many).outcome == "pass"
    many = metric(-0.04)
    many.new[:6, 0] = math.nan
    assert verdict(many).outcome == "regressed"


@pytest.mark.parametrize(
    ("mean", "others", "outcome", "second"),
    [
        (0.012, [-0.04], "inconclusive", "regressed"),
        (0.012, [0.0], "pass", "pass"),
        (0.012, [-0.016], "pass", "inconclusive"),
        (-0.04, [0.012], "regressed", "pass"),
        (-0.016, [-0.04], "inconclusive", "regressed"),
    ],
)
def test_secondary_metrics_may_take_a_pass_away_and_nothing_else(mean, others, outcome, second):
    secondary = [metric(value, name="clip", title="likeness") for value in others]
    result = verdict(metric(mean), secondary=secondary)
    assert (result.outcome, result.metrics[1].outcome) == (outcome, second)
    assert ("secondary-regressed" in codes(result)) == (second == "regressed")
    if (mean, second) == (0.012, "regressed"):
        assert ", but worse in likeness -0.040 [" in result.headline
        assert result.headline.endswith("24 prompts; a person has to decide")
        assert result.more_prompts is None


def test_secondary_metrics_are_corrected_for_their_number():
    barely = metric(-0.034, prompts=12, spread=1.4, name="a", title="a")
    alone = verdict(metric(0.012), secondary=[barely])
    assert alone.metrics[1].outcome == "regressed"
    quiet = [metric(-0.016, name=name, title=name) for name in "bcdefgh"]
    among = verdict(metric(0.012), secondary=[barely, *quiet])
    assert among.metrics[1].outcome == "inconclusive"
    assert among.metrics[1].p_worse == pytest.approx(8 * alone.metrics[1].p_worse)
    assert among.metrics[0].p_not_worse == alone.metrics[0].p_not_worse
    # Metrics that gate nothing do not count.
    useless = dataclasses.replace(KNOWN, floor=[0.9] * 5)
    mute = [dataclasses.replace(one, calibration=useless) for one in quiet]
    assert verdict(metric(0.012), secondary=[barely, *mute]).metrics[1].p_worse == alone.metrics[1].p_worse


def paired_guard(mean, **more):
    one = metric(mean, **{key: more.pop(key) for key in ("prompts",) if key in more})
    return GuardEvidence(name="bleed", title="bleed", new=one.new, baseline=one.baseline, margin=0.02, **more)


def limit_guard(value, limit=0.75, **more):
    return GuardEvidence(name="copy", title="copy risk", value=value, limit=limit, **more)


@pytest.mark.parametrize(
    ("guard", "outcome"),
    [
        (limit_guard(0.81), "veto"),
        (limit_guard(0.75), "clear"),
        (limit_guard(None), "not measured"),
        (limit_guard(math.nan), "not measured"),
        (limit_guard(0.2, 0.3, higher_is_better=True), "veto"),
        (limit_guard(0.4, 0.3, higher_is_better=True), "clear"),
        (paired_guard(0.04), "veto"),
        (paired_guard(0.016), "open"),
        (paired_guard(-0.1), "clear"),
        (paired_guard(-0.04, higher_is_better=True), "veto"),
        (paired_guard(0.5, prompts=5), "suspect"),
        (paired_guard(0.5, prompts=0), "not measured"),
    ],
)
def test_a_guard_rail_alone_makes_a_regression(guard, outcome):
    result = verdict(metric(0.012), guards=[guard])
    assert result.guards[0].outcome == outcome
    assert result.outcome == {"veto": "regressed", "suspect": "inconclusive"}.get(outcome, "pass")
    assert codes(result) == [f"guard-{outcome.replace(' ', '-')}"]
    assert result.not_measured == ((guard.title,) if outcome == "not measured" else ())
    if outcome == "veto":
        assert result.headline.startswith(f"mara/v7 is vetoed against mara/v6: {guard.title}")
        assert result.headline.endswith("24 prompts")
    assert verdict(metric(-0.016), guards=[guard]).outcome == ("regressed" if outcome == "veto" else "inconclusive")


def test_a_veto_asks_for_no_prompts_and_is_not_weakened_by_looks():
    guard = paired_guard(0.5, prompts=6)
    result = verdict(metric(-0.016), guards=[guard], rules=VerdictRules(looks=4))
    assert (result.outcome, result.more_prompts) == ("regressed", None)
    text = verdict(metric(0.012), guards=[limit_guard(0.81)]).reasons[0].text
    assert text == "copy risk 0.81 is above its limit of 0.75"


def test_evidence_and_rules_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="margin of dino"):
        metric(minimum_margin=-0.1)
    with pytest.raises(ValueError, match="limit or a margin"):
        GuardEvidence(name="copy", title="copy risk")
    with pytest.raises(ValueError, match="limit or a margin"):
        GuardEvidence(name="copy", title="copy risk", limit=1.0, margin=1.0)
    for wrong in ({"alpha": 0.5}, {"alpha": 0.0}, {"looks": 0}, {"power": 1.0}):
        with pytest.raises(ValueError, match="alpha lies between"):
            VerdictRules(**wrong)
    with pytest.raises(ValueError, match="same prompts and seeds"):
        verdict(metric(new=[[0.5]], baseline=[[0.5, 0.5]]))


values = st.integers(-100, 100).map(lambda value: value / 1000)
grids = st.integers(1, 3).flatmap(
    lambda seeds: st.lists(st.lists(values | st.none(), min_size=seeds, max_size=seeds), min_size=1, max_size=14)
)


def of(grid, shift=0.0, sign=1.0, minimum_margin=0.02):
    new = [[None if value is None else sign * value + shift for value in row] for row in grid]
    zeros = [[0.0] * len(row) for row in grid]
    return MetricEvidence(name="m", title="m", new=new, baseline=zeros, minimum_margin=minimum_margin)


@settings(max_examples=60, deadline=None)
@given(grids, st.floats(0.021, 1.0))
def test_a_version_that_gains_more_than_the_margin_is_never_called_worse_for_it(grid, gain):
    order = ["regressed", "inconclusive", "pass"]
    rules = VerdictRules(max_lost_share=1.0)
    before, after = verdict(of(grid), rules=rules).outcome, verdict(of(grid, gain), rules=rules).outcome
    assert order.index(after) >= order.index(before)


@settings(max_examples=60, deadline=None)
@given(grids, st.randoms(use_true_random=False))
def test_the_same_scores_in_any_order_give_the_same_verdict(grid, order):
    shuffled = [order.sample(row, len(row)) for row in order.sample(grid, len(grid))]
    result, other = verdict(of(grid)), verdict(of(shuffled))
    assert result == verdict(of(grid))
    assert other == result


@settings(max_examples=60, deadline=None)
@given(grids.filter(lambda grid: len(grid) <= 12))
def test_swapped_versions_get_the_mirrored_verdict(grid):
    # At a margin of 0, worse in one direction is better in the other.
    rules = VerdictRules(max_lost_share=1.0)
    ahead = verdict(of(grid, minimum_margin=0.0), rules=rules).metrics[0]
    back = verdict(of(grid, sign=-1.0, minimum_margin=0.0), rules=rules).metrics[0]
    mirrored = {"pass": "regressed", "regressed": "pass", "inconclusive": "inconclusive"}
    assert back.outcome == mirrored[ahead.outcome]
    assert (back.p_worse, back.more_prompts) == (ahead.p_not_worse, ahead.more_prompts)
    if ahead.interval:
        assert (back.interval.low, back.interval.high) == pytest.approx((-ahead.interval.high, -ahead.interval.low))


def test_error_rates_hold_where_the_truth_is_known():
    """The short form of the benchmark, with as much room as so few trials need."""
    bench = runpy.run_path(str(BENCH))
    table = bench["simulate"](300, 60, np.random.default_rng(7))
    assert list(bench["misses"](table, 300, 60)) == []
