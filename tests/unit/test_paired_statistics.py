import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assetforge.domain.paired_statistics import (
    EXACT_PROMPTS,
    FLIPS,
    Interval,
    as_table,
    auc,
    cluster_bootstrap,
    fewest_prompts,
    hodges_lehmann,
    holm,
    normalised_fidelity,
    paired,
    prompt_means,
    prompts_needed,
    retrain_noise,
    sign_flip,
)

NAN = math.nan
scores = st.integers(-1000, 1000).map(lambda value: value / 1000)


@st.composite
def tables(draw, most=16):
    """Differences with cells that were not measured, at least one measured in each prompt."""
    prompts, seeds = draw(st.integers(1, most)), draw(st.integers(1, 4))
    rows = [draw(st.lists(scores | st.none(), min_size=seeds, max_size=seeds)) for _ in range(prompts)]
    for row in rows:
        row[0] = draw(scores) if row[0] is None else row[0]
    return as_table(rows)


def noisy(prompts, seeds=2, mean=0.0, number=0):
    random = np.random.default_rng(number)
    return mean + random.normal(0, 0.03, (prompts, 1)) + random.normal(0, 0.05, (prompts, seeds))


def test_cells_that_one_side_could_not_measure_are_dropped_in_pairs_and_counted():
    pairs = paired([[0.5, None], [0.4, 0.3], [NAN, None]], [[0.4, 0.2], [NAN, 0.1], [0.3, math.inf]])
    np.testing.assert_allclose(pairs.differences, [[0.1, NAN], [NAN, 0.2]])
    assert (pairs.prompts, pairs.cells, pairs.dropped, pairs.lost, pairs.prompts_dropped) == (2, 2, 4, 2, 1)
    # As zeros they would have given 0.05 and 0.1.
    np.testing.assert_allclose(prompt_means(pairs.differences), [0.1, 0.2])


def test_prompts_may_have_different_numbers_of_seeds_but_the_same_ones_on_both_sides():
    pairs = paired([[1.0, 2.0], [3.0]], [[0.0, 0.0], [0.0]])
    assert (pairs.cells, pairs.dropped) == (3, 0)
    for other in ([[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0]], [[0.0], [0.0, 0.0]]):
        with pytest.raises(ValueError, match="same prompts and seeds"):
            paired([[1.0, 2.0], [3.0]], other)


def test_without_any_pair_there_is_nothing():
    assert paired([], []).prompts == 0
    assert paired([[None, None]], [[1.0, 1.0]]).lost == 2


def test_few_prompts_are_counted_exactly():
    means = np.array([0.05, 0.02, -0.01, 0.04, 0.03])
    flips = sign_flip(means[:, None])
    patterns = [np.mean(means * signs) for signs in itertools.product((1, -1), repeat=5)]
    assert flips.patterns == 32
    assert flips.p_above(0.0) == sum(value >= means.mean() - 1e-12 for value in patterns) / 32
    shifted = [np.mean((means + 0.03) * signs) for signs in itertools.product((1, -1), repeat=5)]
    assert flips.p_above(-0.03) == sum(value >= means.mean() + 0.03 - 1e-12 for value in shifted) / 32


def test_many_prompts_agree_with_the_exact_count():
    means = noisy(14, number=3)[:, 0]
    every = (np.arange(1, 2**14)[:, None] >> np.arange(14)) & 1
    exact = np.sort(every @ means / every.sum(axis=1))
    flips = sign_flip(means[:, None])
    assert flips.patterns == FLIPS + 1
    for bound in (-0.03, -0.01, 0.0, 0.02):
        p = (1 + np.sum(exact <= bound)) / 2**14
        assert flips.p_above(bound) == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / FLIPS) + 1 / FLIPS)


def test_a_p_value_is_never_zero():
    assert sign_flip(np.full((6, 1), 0.5)).p_above(0.0) == 1 / 64
    assert sign_flip(np.full((40, 1), 0.5)).p_above(0.0) == 1 / (FLIPS + 1)


def test_differences_on_the_bound_are_no_evidence_for_either_side():
    # 0.48 - 0.5 is not -0.02 in floating point.
    flips = sign_flip(np.full((8, 1), 0.48 - 0.5))
    assert flips.p_above(-0.02) == flips.p_below(-0.02) == 1.0


def test_few_prompts_have_no_interval():
    assert sign_flip(noisy(5)).interval(0.025) is None
    assert sign_flip(noisy(6)).interval(0.025) is not None
    assert [fewest_prompts(alpha) for alpha in (0.5, 0.25, 0.05, 0.025, 0.0125)] == [1, 2, 5, 6, 7]


def test_versions_without_a_difference_have_an_interval_without_length():
    for prompts in (8, 24):
        assert sign_flip(np.zeros((prompts, 2))).interval(0.025) == Interval(0.0, 0.0)
        assert cluster_bootstrap(np.zeros((prompts, 2)), 0.025) == Interval(0.0, 0.0)


@given(tables(), st.floats(-1, 1))
def test_the_interval_agrees_with_the_tests(table, bound):
    flips = sign_flip(table)
    interval = flips.interval(0.025)
    if interval is None:
        assert min(flips.p_above(bound), flips.p_below(bound)) > 0.025
        return
    assert interval.low <= flips.mean + 1e-9
    assert interval.high >= flips.mean - 1e-9
    if abs(bound - interval.low) > 1e-9:
        assert (flips.p_above(bound) <= 0.025) == (bound < interval.low)
    if abs(bound - interval.high) > 1e-9:
        assert (flips.p_below(bound) <= 0.025) == (bound > interval.high)


@settings(max_examples=50)
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_prompts_and_seeds_changes_nothing(table, order):
    shuffled = table.tolist()
    order.shuffle(shuffled)
    for row in shuffled:
        order.shuffle(row)
    shuffled = np.array(shuffled)
    assert sign_flip(shuffled).interval(0.05) == sign_flip(table).interval(0.05)
    assert sign_flip(shuffled).p_above(0.01) == sign_flip(table).p_above(0.01)
    assert cluster_bootstrap(shuffled, 0.05) == cluster_bootstrap(table, 0.05)


@settings(max_examples=50)
@given(tables(most=EXACT_PROMPTS))
def test_swapped_signs_mirror_the_interval(table):
    interval, swapped = sign_flip(table).interval(0.05), sign_flip(-table).interval(0.05)
    assert (interval is None) == (swapped is None)
    if interval is not None and swapped is not None:
        assert (swapped.low, swapped.high) == pytest.approx((-interval.high, -interval.low), abs=1e-12)


@pytest.mark.parametrize("number", range(5))
def test_swapped_signs_mirror_random_draws_exactly(number):
    table = noisy(17, number=number)
    assert sign_flip(-table).interval(0.025) == sign_flip(table).interval(0.025).mirrored()
    assert sign_flip(-table).p_below(0.01) == sign_flip(table).p_above(-0.01)
    assert cluster_bootstrap(-table, 0.025) == cluster_bootstrap(table, 0.025).mirrored()


def test_the_same_scores_see_the_same_draws_and_others_do_not():
    table = noisy(24)
    assert sign_flip(table).interval(0.025) == sign_flip(table.copy()).interval(0.025)
    lowest = {tuple(sign_flip(noisy(24, number=number)).subset_means[:3]) for number in range(3)}
    assert len(lowest) == 3


def test_the_bootstrap_draws_measured_seeds_only():
    table = as_table([[1.0, None, None], [2.0, 2.0, None], [3.0, 3.0, 3.0]] * 4)
    interval = cluster_bootstrap(table, 0.025)
    assert 1.0 <= interval.low <= 2.0 <= interval.high <= 3.0


def test_one_odd_prompt_hardly_moves_the_hodges_lehmann_median():
    means = np.array([0.01, 0.02, 0.03, 0.02, 0.01])
    assert hodges_lehmann(means) == pytest.approx(0.0175, abs=0.0026)
    assert hodges_lehmann(np.append(means, -5.0)) == pytest.approx(0.0175, abs=0.01)
    pairs = [(a + b) / 2 for a, b in itertools.combinations_with_replacement(means, 2)]
    assert hodges_lehmann(means) == float(np.median(pairs))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.6, 0.9]) == (1.0, 1.0)
    assert holm([]) == ()


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=6))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(values):
    adjusted = holm(values)
    assert all(after >= before for before, after in zip(values, adjusted, strict=True))
    assert [adjusted[number] for number in np.argsort(values)] == sorted(adjusted)
    assert min(adjusted) <= len(values) * min(values) + 1e-12


def test_prompts_needed_follow_spread_and_distance():
    # ((1.96 + 0.8416) * 0.05 / 0.02)^2 + 1.96^2 / 2 = 50.98
    assert prompts_needed(0.05, 0.02, 0.025, 0.8) == 51
    assert prompts_needed(0.05, -0.02, 0.025, 0.8) == 51
    assert prompts_needed(0.05, 0.5, 0.025, 0.8) == 6
    assert prompts_needed(0.0, 0.1, 0.025, 0.8) == 6
    assert prompts_needed(0.05, 0.0, 0.025, 0.8) is None
    assert prompts_needed(0.0, 0.0, 0.025, 0.8) is None


def test_auc_counts_ties_as_half_and_says_how_little_few_values_say():
    assert auc([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]).value == 0.5
    assert auc([1.0, NAN], [0.0]).own == 1
    assert auc([], [1.0]) is None
    few, many = auc([1.0] * 4, [0.0] * 4), auc([1.0] * 30, [0.0] * 30)
    assert (few.value, few.high, many.value) == (1.0, 1.0, 1.0)
    assert few.low == pytest.approx(0.582, abs=0.001)
    assert many.low > 0.9
    mixed, swapped = auc([1, 3, 5, 7], [2, 4, 0]), auc([2, 4, 0], [1, 3, 5, 7])
    assert (swapped.value, swapped.low, swapped.high) == pytest.approx((1 - mixed.value, 1 - mixed.high, 1 - mixed.low))


def test_fidelity_lies_between_floor_and_ceiling():
    floor, ceiling = [0.2, 0.3, 0.25, 0.35, 0.3], [0.8, 0.7, 0.75, 0.8, 0.85]
    share = normalised_fidelity([0.55] * 6, floor, ceiling)
    assert share.value == pytest.approx(0.5)
    assert share.interval.low < 0.5 < share.interval.high
    assert share == normalised_fidelity([0.55] * 6, floor, ceiling)
    assert normalised_fidelity([0.9] * 6, floor, ceiling).value > 1.0


def test_fidelity_says_nothing_without_room_and_no_interval_from_few_values():
    assert normalised_fidelity([0.5], [0.4, 0.6], [0.5]) is None
    assert normalised_fidelity([], [0.1], [0.5]) is None
    assert normalised_fidelity([0.5] * 9, [0.2, 0.3], [0.8] * 9).interval is None
    overlapping = normalised_fidelity([0.5] * 9, [0.1, 0.2, 0.49, 0.8, 0.9], [0.1, 0.3, 0.5, 0.7, 0.9])
    assert overlapping.interval is None


def test_retrain_noise_is_the_root_mean_square():
    assert retrain_noise([0.03, -0.04]) == pytest.approx(math.sqrt(0.00125))
    assert retrain_noise([-0.01]) == pytest.approx(0.01)
    assert retrain_noise([NAN]) is None


def test_twenty_four_prompts_take_little_time():
    table, times = noisy(24), []
    for _ in range(5):
        start = time.perf_counter()
        sign_flip(table).interval(0.025)
        cluster_bootstrap(table, 0.025)
        hodges_lehmann(prompt_means(table))
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05
