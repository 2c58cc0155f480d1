import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetforge.domain.csls import csls


def at(*degrees):
    """Unit vectors in the plane."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def cos(degrees):
    return np.cos(np.radians(degrees))


def drawn(seed, rows, width=6):
    return np.random.default_rng(seed).normal(size=(rows, width))


def test_by_hand_with_all_others_as_neighbours():
    (score,) = csls(at(10), at(0, 30), at(90, 180), k=10)
    near = (cos(10) + cos(20)) / 2
    picture = (cos(80) + cos(170)) / 2
    references = ((cos(90) + cos(180)) / 2 + (cos(60) + cos(150)) / 2) / 2
    assert score == pytest.approx(2 * near - picture - references)


def test_by_hand_with_the_nearest_other_alone():
    scores = csls(at(10, 80), at(0), at(90, 180, 270), k=1)
    np.testing.assert_allclose(scores, [2 * cos(10) - cos(80) - cos(90), 2 * cos(80) - cos(10) - cos(90)])
    assert scores[0] > 0 > scores[1]


def test_it_is_the_mean_over_pairs():
    pictures, references, others = drawn(0, 4), drawn(1, 3), drawn(2, 20)
    pairs = [csls(pictures, references[[number]], others, k=5) for number in range(3)]
    np.testing.assert_allclose(csls(pictures, references, others, k=5), np.mean(pairs, axis=0))


def test_a_hub_loses_what_it_owes_to_being_near_to_everything():
    axes = np.eye(9)
    own, others, elsewhere = axes[:1], axes[1:8], axes[8]
    hub, plain = 0.6 * axes[0] + 0.8 * others.mean(axis=0) * 7**0.5, 0.6 * axes[0] + 0.8 * elsewhere
    assert hub @ own[0] == plain @ own[0] == pytest.approx(0.6)
    scores = csls(np.stack([hub, plain]), own, others)
    np.testing.assert_allclose(scores, [1.2 - 0.8 / 7**0.5, 1.2])


def test_other_pictures_beside_it_and_their_order_change_nothing():
    pictures, references, others = drawn(3, 5), drawn(4, 4), drawn(5, 15)
    together = csls(pictures, references, others, k=3)
    alone = [csls(pictures[[number]], references, others, k=3)[0] for number in range(5)]
    np.testing.assert_allclose(together, alone)
    np.testing.assert_allclose(csls(pictures, references[::-1], others[::-1], k=3), together)


@given(st.integers(0, 500), st.integers(1, 12), st.floats(0.1, 50))
def test_lengths_do_not_matter_and_scores_stay_in_range(seed, k, length):
    pictures, references, others = drawn(seed, 3), drawn(seed + 1, 2), drawn(seed + 2, 7)
    scores = csls(pictures, references, others, k)
    np.testing.assert_allclose(csls(pictures * length, references / length, others * length, k), scores, atol=1e-12)
    assert (np.abs(scores) <= 4).all()


def test_what_could_not_be_measured_is_nan_or_left_out():
    nothing = np.zeros((1, 6))
    pictures, references, others = drawn(6, 2), drawn(7, 3), drawn(8, 9)
    expected = csls(pictures, references, others)
    broken = np.full((1, 6), np.nan)
    given_more = csls(
        np.concatenate([pictures, nothing, broken]),
        np.concatenate([references, nothing]),
        np.concatenate([broken, others, nothing]),
    )
    np.testing.assert_allclose(given_more[:2], expected)
    assert np.isnan(given_more[2:]).all()
    assert csls(np.zeros((0, 6)), references, others).shape == (0,)


def test_without_references_others_or_neighbours_there_is_no_score():
    pictures = drawn(9, 2)
    for references, others in (
        (np.zeros((0, 6)), pictures),
        (pictures, np.zeros((0, 6))),
        (pictures, np.zeros((3, 6))),
    ):
        with pytest.raises(ValueError, match="at least one reference and one other"):
            csls(pictures, references, others)
    with pytest.raises(ValueError, match="k must be at least 1"):
        csls(pictures, pictures, pictures, k=0)
