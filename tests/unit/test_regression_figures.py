import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetforge.api.job import Cell
from assetforge.domain.csls import csls
from assetforge.domain.readouts import Yardstick
from assetforge.domain.regression import (
    badness,
    ceiling,
    cell_scores,
    find_flags,
    image_key,
    pixel_means,
    similarity_figures,
    unit_vectors,
)
from assetforge.domain.regression_text import sentence

KINDS = {"probe": "embedding", "ssim": "pair", "black-share": "single"}


def angle(degrees):
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]


def cell(index, block="core", prompt="p", seed=0, strength=1.0):
    return Cell(index=index, block=block, prompt=prompt, seed=seed, strength=strength)


def rows_of(cells, new, baseline, control, controls=None, references=(0.0,), extra=None):
    """Rows of cells whose pictures lie at angles from the references."""
    scores = {"probe": {}, "ssim": {}, "black-share": {}}
    sides = [
        side for side, values in (("new", new), ("baseline", baseline), ("control", control)) if values is not None
    ]
    for side, values in (("new", new), ("baseline", baseline), ("control", control)):
        for index, value in (values or {}).items():
            scores["probe"][image_key(side, index)] = value if isinstance(value, list) else angle(value)
    keys = [f"ref/{number}" for number in range(len(references))]
    scores["probe"] |= {key: angle(value) for key, value in zip(keys, references, strict=True)}
    for name, values in (extra or {}).items():
        scores[name] |= values
    controls = controls or {one.index: one.index for one in cells}
    hashes = {key: key for key in scores["probe"]}
    return scores, cell_scores(cells, controls, sides, scores, kinds=KINDS, references=keys, hashes=hashes)


def test_similarity_is_the_mean_cosine_and_nearest_the_best_one():
    _, (row,) = rows_of([cell(0)], {0: 0}, {0: 60}, {0: 90}, references=(0.0, 60.0))
    assert row.similarity["probe"]["new"] == pytest.approx(0.75)
    assert row.nearest["probe"]["new"] == pytest.approx(1.0)
    assert row.delta("probe") == pytest.approx(0.75 - 0.75)
    assert row.delta("probe", "control") == pytest.approx(0.75 - math.cos(math.radians(30)) / 2)
    assert row.nearer_than_control("probe") is True
    assert row.to_control["probe"]["new"] == pytest.approx(1.0)


def test_figures_leave_out_strength_zero_and_keep_bleed_apart():
    cells = [
        cell(0, seed=1),
        cell(1, seed=2),
        cell(2, "strength", strength=0.0),
        cell(3, "strength", strength=1.0),
        cell(4, "bleed", "no trigger"),
    ]
    _, rows = rows_of(
        cells,
        {0: 10, 1: 20, 2: 80, 3: 30, 4: 75},
        {0: 20, 1: 10, 2: 80, 3: 60, 4: 80},
        {0: 80, 1: 80, 2: 80, 4: 80},
        controls={0: 0, 1: 1, 2: 2, 3: 2, 4: 4},
    )
    figures = similarity_figures(rows, "probe")
    assert figures["overall"]["cells"] == 3
    assert figures["core"]["nearer_than_control"] == {"new": {"yes": 2, "of": 2}, "baseline": {"yes": 2, "of": 2}}
    assert figures["core"]["better_than_baseline"] == {"yes": 1, "of": 2}
    assert figures["core"]["delta"] == pytest.approx(0.0, abs=1e-9)
    assert figures["blocks"]["strength"]["cells"] == 1
    assert figures["bleed"]["distance_to_control"]["new"] == pytest.approx(1 - math.cos(math.radians(5)))
    assert figures["bleed"]["distance_to_control"]["baseline"] == pytest.approx(0.0)
    assert {(one["block"], one["strength"]): one["seeds"] for one in figures["prompts"]} == {
        ("core", 1.0): 2,
        ("strength", 0.0): 1,
        ("strength", 1.0): 1,
        ("bleed", 1.0): 1,
    }


def test_nothing_to_measure_is_counted_and_not_averaged():
    _, rows = rows_of([cell(0), cell(1)], {0: [0.0, 0.0], 1: 0}, None, {0: 90, 1: [float("nan"), 1.0]})
    figures = similarity_figures(rows, "probe")["core"]
    assert figures["unmeasured"] == 1
    assert figures["similarity"]["new"] == pytest.approx(1.0)
    assert figures["nearer_than_control"]["new"] == {"yes": 0, "of": 0}
    assert figures["delta"] is None


def test_ceiling_compares_references_with_the_others():
    scores = {"probe": {"a": angle(0), "b": angle(60), "c": angle(60)}}
    top = ceiling(scores, "probe", ["a", "b", "c"])
    assert top["per_reference"] == pytest.approx([0.5, 0.75, 0.75])
    assert ceiling(scores, "probe", ["a"])["similarity"] is None


def random_scores(count, references=5, others=6, width=8, seed=0):
    """Scores of cells with three sides, references and references of others; two styles that are not far apart."""
    rng = np.random.default_rng(seed)
    own, foreign = rng.normal(size=width), rng.normal(size=width)
    keys = {f"ref/{n}": own for n in range(references)} | {f"other/{n}": foreign for n in range(others)}
    keys |= {
        image_key(side, n): own * pull
        for side, pull in (("new", 1.0), ("baseline", 0.6), ("control", 0.1))
        for n in range(count)
    }
    return {"probe": {key: list(centre + rng.normal(size=width)) for key, centre in keys.items()}}


def read(scores, count, readout, others=6):
    cells = [cell(index, seed=index) for index in range(count)]
    keys = [key for key in scores["probe"] if key.startswith("ref/")]
    hashes = dict.fromkeys(scores["probe"], "")
    about = {} if readout is None else {"readouts": {"probe": readout}, "others": [f"other/{n}" for n in range(others)]}
    controls = {one.index: one.index for one in cells}
    sides = ("new", "baseline", "control")
    return cell_scores(
        cells, controls, sides, scores, kinds={"probe": "embedding"}, references=keys, hashes=hashes, **about
    )


def test_mean_is_the_readout_of_those_that_say_nothing_bit_for_bit():
    scores = random_scores(6)
    table = np.stack([vector for key, vector in unit_vectors(scores["probe"]).items() if key.startswith("ref/")])
    for plain, named in zip(read(scores, 6, None), read(scores, 6, "mean"), strict=True):
        assert plain == named
        for side, value in plain.similarity["probe"].items():
            assert value == float((table @ unit_vectors(scores["probe"])[image_key(side, plain.cell.index)]).mean())
    assert ceiling(scores, "probe", ["ref/0", "ref/1"]) == ceiling(
        scores, "probe", ["ref/0", "ref/1"], others=["other/0"], readout="mean"
    )


def test_nearest_reads_the_best_reference():
    scores = random_scores(6)
    for row in read(scores, 6, "nearest"):
        assert row.similarity == row.nearest
    keys = [f"ref/{n}" for n in range(5)]
    top = ceiling(scores, "probe", keys, readout="nearest")["per_reference"]
    cosines = np.stack([unit_vectors(scores["probe"])[key] for key in keys])
    assert top == pytest.approx(
        [max(c for j, c in enumerate(row) if j != i) for i, row in enumerate(cosines @ cosines.T)]
    )


def test_csls_reads_against_references_of_others_in_units_of_a_cosine():
    scores = random_scores(6)
    rows = read(scores, 6, "csls")
    vectors = unit_vectors(scores["probe"])
    own, foreign = (
        np.stack([vectors[f"{kind}/{n}"] for n in range(size)]) for kind, size in (("ref", 5), ("other", 6))
    )
    new = np.stack([vectors[image_key("new", n)] for n in range(6)])
    assert [row.similarity["probe"]["new"] for row in rows] == pytest.approx(csls(new, own, foreign) / 2)
    assert [row.nearest for row in rows] == [row.nearest for row in read(scores, 6, "mean")]
    yardstick = Yardstick([*own], [*foreign], "csls")
    assert np.mean(yardstick.impostors()) < 0 < np.mean(yardstick.among())
    assert len(yardstick.impostors()) == 6
    assert yardstick.impostors()[2] == pytest.approx(csls(foreign[2:3], own, np.delete(foreign, 2, axis=0))[0] / 2)
    assert yardstick.among()[1] == pytest.approx(csls(own[1:2], np.delete(own, 1, axis=0), foreign)[0] / 2)


def test_csls_without_others_is_the_mean():
    scores = random_scores(3)
    assert [row.similarity for row in read(scores, 3, "csls", others=0)] == [
        row.similarity for row in read(scores, 3, "mean")
    ]
    keys = [f"ref/{n}" for n in range(5)]
    assert ceiling(scores, "probe", keys, readout="csls") == ceiling(scores, "probe", keys)
    alone = Yardstick([np.ones(1)], [-np.ones(1)], "csls")
    assert (alone.among(), alone.impostors()) == ([], []), "the only one of the others has none to be near to"


def test_nothing_to_measure_stays_nothing_in_every_readout():
    for readout in ("mean", "nearest", "csls"):
        yardstick = Yardstick([np.array([1.0, 0.0])], [np.array([0.0, 1.0])], readout)
        assert yardstick.likeness(None) is None
        assert yardstick.nearest(None) is None
        assert Yardstick([], [np.array([0.0, 1.0])], readout).likeness(np.array([1.0, 0.0])) is None
        assert Yardstick([], [np.array([0.0, 1.0])], readout).impostors() == []


def test_broken_pictures_are_flagged_by_code():
    _, rows = rows_of(
        [cell(0), cell(1)], {0: 0, 1: 0}, None, {0: 0, 1: 0}, extra={"black-share": {"new/0000": 1.0, "new/0001": 0.1}}
    )
    assert [(flag["code"], flag["cells"]) for flag in find_flags(rows)] == [("black", [0])]
    assert pixel_means(rows)["singles"]["black-share"]["new"] == pytest.approx(0.55)


def test_worst_comes_first():
    cells = [cell(0, prompt="a"), cell(1, prompt="b"), cell(2, prompt="c"), cell(3, "bleed", "d")]
    new, before = {0: 50, 1: 10, 2: [0.0, 0.0], 3: 20}, {0: 10, 1: 50, 2: 10, 3: 80}
    _, rows = rows_of(cells, new, before, dict.fromkeys(range(4), 80))
    order = sorted((row.as_json() for row in rows), key=lambda one: -badness(one, "probe", True))
    # Nothing to measure, then the one that strays without its trigger, then the one that lost, then the one that gained.
    assert [one["index"] for one in order] == [2, 3, 0, 1]


@given(
    st.lists(st.tuples(*[st.floats(0, 180)] * 3), min_size=1, max_size=12),
    st.lists(st.floats(0, 180), min_size=1, max_size=4),
)
def test_every_similarity_is_a_cosine_and_figures_are_finite(angles, references):
    cells = [cell(index, seed=index) for index in range(len(angles))]
    new, baseline, control = ({index: row[side] for index, row in enumerate(angles)} for side in range(3))
    _, rows = rows_of(cells, new, baseline, control, references=tuple(references))
    core = similarity_figures(rows, "probe")["core"]
    for value in (*core["similarity"].values(), *core["nearest"].values()):
        assert -1 - 1e-9 <= value <= 1 + 1e-9
    assert core["delta"] == pytest.approx(core["similarity"]["new"] - core["similarity"]["baseline"], abs=1e-9)
    assert all(0 <= distance <= 2 + 1e-9 for row in rows for distance in row.to_control["probe"].values())


def test_the_sentence_says_lost_when_it_lost():
    _, rows = rows_of([cell(0)], {0: 50}, {0: 10}, {0: 80})
    summary = {
        "new": "mara/v2",
        "baseline": "mara/v1",
        "primary": "probe",
        "verdict_inputs": {"probe": similarity_figures(rows, "probe")},
        "references": {"used": 1},
        "pixels": pixel_means(rows),
        "counts": {"cells": 1},
    }
    assert "it lost 0.342 of similarity against mara/v1" in sentence(summary)
