import subprocess
import sys

import numpy as np
import pytest

from assetforge.builtin.flip_metric import Flip, needs

pytest.importorskip("flip_evaluator")


def flat(*colour, size=24):
    return np.full((size, size, 3), colour, np.uint8)


def lab_of(colour):
    """CIE Lab with the matrix and the white of the authors' code."""
    value = np.asarray(colour) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    matrix = np.array(
        [
            [10135552 / 24577794, 8788810 / 24577794, 4435075 / 24577794],
            [2613072 / 12288897, 8788810 / 12288897, 887015 / 12288897],
            [1425312 / 73733382, 8788810 / 73733382, 70074185 / 73733382],
        ]
    )
    ratio = matrix @ linear / (matrix @ np.ones(3))
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def flip_of_flat_pictures(first, second):
    """The paper's formulas where nothing depends on the surroundings: no edges, and filters that sum up to 1 change nothing."""

    def hunted(colour):
        lightness, a, b = lab_of(colour)
        return np.array([lightness, 0.01 * lightness * a, 0.01 * lightness * b])

    def hyab(one, two):
        difference = hunted(one) - hunted(two)
        return (abs(difference[0]) + np.hypot(difference[1], difference[2])) ** 0.7

    largest = hyab((0, 255, 0), (0, 0, 255))
    error, bend = hyab(first, second), 0.4 * largest
    return 0.95 / bend * error if error < bend else 0.95 + (error - bend) / (largest - bend) * 0.05


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0, 0, 0), (255, 255, 255)),
        ((0, 255, 0), (0, 0, 255)),
        ((128, 128, 128), (140, 128, 120)),
        ((90, 60, 30), (90, 61, 30)),
        ((200, 30, 30), (30, 200, 30)),
    ],
)
def test_flat_pictures_score_what_the_paper_says(first, second):
    assert Flip().compare([(flat(*first), flat(*second))]) == pytest.approx(
        [flip_of_flat_pictures(first, second)], abs=2e-4
    )


def test_equal_pictures_score_0_and_edges_count():
    picture = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    moved = np.roll(picture, 1, axis=0)
    equal, different = Flip().compare([(picture, picture), (picture, moved)])
    assert equal == 0.0
    assert 0.2 < different < 1.0
    line, plain = flat(120, 120, 120), flat(120, 120, 120)
    line[:, 12] = 150
    assert Flip().compare([(line, plain)])[0] > 0.02


def test_two_sizes_are_refused_and_tiny_ones_are_not():
    assert Flip().compare([(flat(0, 0, 0, size=1), flat(0, 0, 0, size=1))]) == [0.0]
    with pytest.raises(ValueError, match="one size"):
        Flip().compare([(flat(0, 0, 0, size=8), flat(0, 0, 0, size=9))])


def test_the_library_says_nothing_and_brings_no_plots_along():
    code = (
        "import sys, numpy as np\n"
        "from assetforge.builtin.flip_metric import Flip\n"
        "Flip().compare([(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8, 3), np.uint8))])\n"
        "assert 'flip_evaluator' in sys.modules and 'matplotlib' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_without_the_library_it_says_what_it_needs(monkeypatch):
    assert needs() == ""
    monkeypatch.setitem(sys.modules, "flip_evaluator", None)
    assert "pip install flip-evaluator" in needs()
