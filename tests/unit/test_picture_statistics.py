import numpy as np
import pytest
from PIL import Image, ImageFilter

from assetforge.builtin.picture_statistics import LabStatistics, TextureStatistics, _patterns

METRICS = (LabStatistics(), TextureStatistics())


def flat(*colour, size=32):
    return np.full((size, size, 3), colour, np.uint8)


def noise(seed, size=64):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def stripes(turned=False, width=4, size=64):
    rows = np.where(np.arange(size) // width % 2, 200, 60).astype(np.uint8)
    grid = np.broadcast_to(rows, (size, size)) if turned else np.broadcast_to(rows[:, None], (size, size))
    return np.repeat(grid[..., None], 3, axis=2)


def cosine(metric, first, second):
    a, b = metric.embed([first, second])
    return float(a @ b)


@pytest.mark.parametrize("metric", METRICS, ids=["lab", "texture"])
def test_vectors_have_length_1_whatever_the_picture(metric):
    odd = [flat(0, 0, 0), flat(255, 0, 255), noise(1), noise(2, 1), noise(3, 2), noise(4, 5), noise(5, 700)[:, :300]]
    vectors = metric.embed(odd)
    assert vectors.shape == (len(odd), 36)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(odd)), abs=1e-6)
    assert (vectors == metric.embed(odd)).all()


@pytest.mark.parametrize("metric", METRICS, ids=["lab", "texture"])
def test_statistics_do_not_ask_what_is_where(metric):
    picture = np.asarray(Image.fromarray(noise(7, 16)).resize((128, 128), Image.Resampling.BICUBIC))
    assert cosine(metric, picture, picture[:, ::-1]) > 0.995
    assert cosine(metric, picture, np.roll(picture, 40, axis=1)) > 0.995


def test_colours_agree_less_the_further_they_are_apart():
    metric = LabStatistics()
    base = flat(120, 120, 120)
    near, further, opposite = (flat(126, 120, 120), flat(150, 120, 110), flat(0, 0, 255))
    agreements = [cosine(metric, base, one) for one in (base, near, further, opposite)]
    assert agreements[0] == pytest.approx(1.0)
    assert agreements == sorted(agreements, reverse=True)
    assert agreements[1] > 0.95
    assert agreements[3] < 0.6


def test_means_of_the_lab_part_are_angles_of_60_units_a_quarter_turn():
    grey = LabStatistics().embed([flat(119, 119, 119)])[0]
    # L* 50 is the middle, so all six cosines are 1 and all six sines 0: six parts of nine, and three histograms.
    assert grey[:6] == pytest.approx(np.full(6, 1 / 3), abs=2e-3)
    assert grey[6:12] == pytest.approx(np.zeros(6), abs=2e-3)
    assert [(part**2).sum() for part in grey[12:].reshape(3, 8)] == pytest.approx([1 / 9] * 3, abs=1e-6)


def test_a_bin_border_is_no_cliff():
    metric = LabStatistics()
    steps = [cosine(metric, flat(level, level, level), flat(level + 1, level + 1, level + 1)) for level in range(255)]
    assert min(steps) > 0.98


def test_textures_know_directions_blur_and_fineness_and_no_colours():
    metric = TextureStatistics()
    lying = stripes()
    assert cosine(metric, lying, stripes(turned=True)) < 0.9
    assert cosine(metric, lying, stripes(width=2)) < 0.98
    soft = np.asarray(Image.fromarray(lying).filter(ImageFilter.GaussianBlur(1.5)))
    assert cosine(metric, lying, soft) < 0.97
    assert cosine(metric, noise(1), noise(2)) > 0.99
    tinted = lying.copy()
    tinted[..., 2] = 255 - tinted[..., 2] // 4
    assert cosine(metric, lying, tinted) > 0.97


def test_faint_noise_leaves_an_even_surface_even():
    metric, even = TextureStatistics(), flat(128, 128, 128, size=64)
    faint = (even.astype(int) + np.random.default_rng(1).integers(-1, 2, even.shape)).astype(np.uint8)
    assert cosine(metric, even, faint) > 0.99


def test_patterns_are_counted_as_defined():
    values = np.random.default_rng(3).uniform(0, 255, (12, 9))
    counts = np.zeros(10)
    for y in range(2, 10):
        for x in range(2, 7):
            ring = [(-2, -2), (-2, 0), (-2, 2), (0, 2), (2, 2), (2, 0), (2, -2), (0, -2)]
            bits = [values[y + dy, x + dx] >= values[y, x] + 3 for dy, dx in ring]
            changes = sum(bits[place] != bits[place - 1] for place in range(8))
            counts[sum(bits) if changes <= 2 else 9] += 1
    assert _patterns(values, 2) ** 2 == pytest.approx(counts / counts.sum())


def test_a_large_picture_is_scored_quickly():
    import time

    picture = noise(1, 1024)
    for metric in METRICS:
        start = time.process_time()
        metric.embed([picture])
        assert time.process_time() - start < 1.0
