"""Curves stay small, keep their peaks, and forget what an attempt takes back."""

import math
import random

import pytest

from assetforge.domain.curves import MOST_POINTS, Curve, Series


def test_few_points_are_all_kept() -> None:
    curve = Curve()
    for step in range(1, 1001):
        curve.add(step, step / 2)
    assert curve.series() == Series(tuple(range(1, 1001)), tuple(step / 2 for step in range(1, 1001)), 500.0)
    assert curve.series() is curve.series()
    assert Curve().series() == Series()


@pytest.mark.parametrize("most", [2, 7, 100, MOST_POINTS])
def test_many_points_keep_the_peaks_and_their_order(most: int) -> None:
    rng, curve = random.Random(1), Curve(most)
    values = {step: rng.random() for step in range(3, 60_000, 3)}
    values[30_000], values[45_000] = -5.0, 9.0
    for step, value in values.items():
        curve.add(step, value)
    found = curve.series()
    assert len(found.steps) == len(found.values) <= most
    assert list(found.steps) == sorted(set(found.steps))
    assert all(values[step] == value for step, value in zip(found.steps, found.values, strict=True))
    assert (min(found.values), max(found.values), found.last) == (-5.0, 9.0, values[59_997])


def test_going_back_forgets_what_came_after() -> None:
    curve = Curve(100)
    for step in range(10_000):
        curve.add(step, float(step))
    curve.cut(5_000)
    assert 4_800 < curve.series().steps[-1] <= 5_000
    assert curve.series().last is not None
    assert curve.series().last <= 5_000
    curve.add(5_001, 1.0)
    assert curve.series().steps[-1] == 5_001
    curve.add(10, 2.0)
    assert curve.series().steps[-1] == 10
    curve.cut(-1)
    assert curve.series() == Series()


def test_what_is_not_finite_is_left_out() -> None:
    curve = Curve()
    for value in (math.nan, math.inf, 1.0):
        curve.add(1, value)
    assert curve.series() == Series((1,), (1.0,), 1.0)
