import importlib
import subprocess
import sys

import numpy as np
import pytest

from assetforge.builtin.pixel_metric_specs import PIXEL_METRICS
from assetforge.builtin.pixel_metrics import (
    BlackShare,
    ClippedShare,
    Contrast,
    LabDifference,
    Sharpness,
    Ssim,
    lab,
    luma,
    ssim,
)


def flat(red, green, blue, size=32):
    return np.full((size, size, 3), (red, green, blue), np.uint8)


def noise(seed, size=48):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def test_lab_agrees_with_published_values_of_the_srgb_primaries():
    for colour, expected in [
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((255, 255, 255), (100, 0, 0)),
    ]:
        assert lab(flat(*colour, size=1))[0, 0] == pytest.approx(expected, abs=0.02)


def test_lab_difference_of_grey_levels_is_their_lightness_difference():
    black, white = flat(0, 0, 0), flat(255, 255, 255)
    assert LabDifference().compare([(black, white), (black, black)]) == pytest.approx([100.0, 0.0], abs=0.01)


def ssim_by_definition(first, second):
    """The formula of the paper, window by window."""
    a, b = luma(first), luma(second)
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            x, y = a[top : top + 11, left : left + 11], b[top : top + 11, left : left + 11]
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
            cov = (window * (x - mx) * (y - my)).sum()
            values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


def test_ssim_equals_the_formula_of_the_paper():
    first = noise(1, 24)
    second = np.clip(first.astype(int) + np.random.default_rng(2).integers(-40, 40, first.shape), 0, 255).astype(
        np.uint8
    )
    assert ssim(first, second) == pytest.approx(ssim_by_definition(first, second), abs=1e-10)
    assert ssim(first, first) == pytest.approx(1.0)
    assert ssim(first, noise(3, 24)) < 0.2


def test_ssim_takes_large_and_tiny_pictures_and_refuses_two_sizes():
    assert ssim(noise(1, 600), noise(1, 600)) == pytest.approx(1.0)
    assert ssim(noise(1, 8), noise(1, 8)) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="one size"):
        Ssim().compare([(noise(1, 24), noise(1, 25))])


def test_broken_pictures_stand_out():
    black, grey, textured = flat(0, 0, 0), flat(128, 128, 128), noise(5)
    assert BlackShare().score([black, grey, textured]) == pytest.approx([1.0, 0.0, 0.0], abs=0.02)
    assert ClippedShare().score([flat(255, 0, 0), grey]) == [1.0, 0.0]
    assert Contrast().score([grey])[0] == pytest.approx(0.0, abs=1e-9)
    assert Contrast().score([textured])[0] > 10
    blurred = textured[::1].astype(float)
    for _ in range(3):
        blurred = (blurred + np.roll(blurred, 1, 0) + np.roll(blurred, 1, 1)) / 3
    sharp, soft, tiny = Sharpness().score([textured, blurred.astype(np.uint8), noise(1, 2)])
    assert sharp > 5 * soft
    assert tiny == 0.0


def test_specs_name_code_that_exists_and_never_gate():
    for spec in PIXEL_METRICS:
        module, attribute = spec.load.split(":")
        metric = getattr(importlib.import_module(module), attribute)()
        assert hasattr(metric, {"pair": "compare", "single": "score", "embedding": "embed"}[spec.kind])
        assert not spec.gates
        assert spec.ready == "" or importlib.import_module(spec.ready.split(":")[0]).needs() == ""
        assert 0 <= spec.margin < 3


def test_listing_the_metrics_loads_neither_them_nor_numpy():
    code = "import sys, assetforge.builtin.pixel_metric_specs; print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
