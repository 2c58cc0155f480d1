"""Evidence by readout: scores, ceiling and impostors are read in one way, and the verdict says what could not be."""

import numpy as np
import pytest

from assetforge.api.job import Cell
from assetforge.domain.csls import csls
from assetforge.domain.evidence import Question, ScoredMetric, verdict_of
from assetforge.domain.regression import cell_scores, image_key, unit_vectors

PROMPTS = 8
REFERENCES = tuple(f"ref/{n}" for n in range(5))
OTHERS = tuple(f"other/{n}" for n in range(8))


def scores_of(baseline, new, *, leaning=(1.0, 1.0)):
    """Pictures pulled towards an own style; everything leans towards one direction that all styles share."""
    rng = np.random.default_rng(3)
    shared, own, *foreign = rng.normal(size=(6, 24))
    centres = dict.fromkeys(REFERENCES, own) | {key: foreign[n // 2] for n, key in enumerate(OTHERS)}
    for side, pull in (("new", new), ("baseline", baseline), ("control", 0.0)):
        centres |= {image_key(side, n): pull * own for n in range(PROMPTS)}
    leans = dict(zip(("baseline", "new"), leaning, strict=True))
    return {
        "probe": {
            key: list(centre + leans.get(key.partition("/")[0], 1.0) * shared + 0.3 * rng.normal(size=24))
            for key, centre in centres.items()
        }
    }


def verdict(scores, readout, others=OTHERS, **about):
    cells = [Cell(index=n, block="core", prompt=f"p{n}", seed=1) for n in range(PROMPTS)]
    rows = cell_scores(
        cells,
        {n: n for n in range(PROMPTS)},
        ("new", "baseline", "control"),
        scores,
        kinds={"probe": "embedding"},
        references=REFERENCES,
        hashes=dict.fromkeys(
            (image_key(side, n) for side in ("new", "baseline", "control") for n in range(PROMPTS)), ""
        ),
        others=others,
        readouts={"probe": readout},
    )
    metric = ScoredMetric(name="probe", title="style", kind="embedding", gates=True, margin=0.05, readout=readout)
    question = Question(
        new="a/v2",
        baseline="a/v1",
        metrics=(metric,),
        references=REFERENCES,
        others=others,
        **{"primary": "probe", **about},
    )
    return verdict_of(rows, scores, question)


@pytest.mark.parametrize("readout", ["mean", "nearest", "csls"])
def test_a_loss_is_a_loss_in_every_readout(readout):
    worse = verdict(scores_of(1.0, 0.2), readout)
    assert worse.outcome == "regressed", worse.headline
    assert worse.metrics[0].auc.value == 1.0
    assert worse.metrics[0].fidelity.value < worse.metrics[0].baseline_fidelity.value
    assert verdict(scores_of(1.0, 1.0), readout).outcome == "pass"


def test_a_picture_that_is_near_to_everything_gains_in_the_mean_and_not_against_others():
    """Of two versions equally far in their own style, one leans to what all styles share."""
    scores = scores_of(0.7, 0.7, leaning=(0.0, 1.0))
    plain, against = (verdict(scores, readout).metrics[0].effect for readout in ("mean", "csls"))
    assert plain > 0.05
    assert against < plain / 2


def test_figures_are_those_of_csls():
    scores = scores_of(1.0, 0.5)
    vectors = unit_vectors(scores["probe"])
    table = {
        kind: np.stack([v for key, v in vectors.items() if key.startswith(kind)])
        for kind in ("ref", "other", "new", "base")
    }
    read = {side: csls(table[side], table["ref"], table["other"]) / 2 for side in ("new", "base")}
    assert verdict(scores, "csls").metrics[0].effect == pytest.approx(float((read["new"] - read["base"]).mean()))


def test_without_others_the_mean_stands_in_and_the_verdict_says_so():
    scores = scores_of(1.0, 0.9)
    fallen, plain = verdict(scores, "csls", others=()), verdict(scores, "mean", others=())
    assert fallen.metrics == plain.metrics
    (reason,) = [one for one in fallen.reasons if one.code == "readout-mean"]
    assert (reason.about, "no references of other assets" in reason.text) == ("probe", True)
    assert "readout-mean" not in {one.code for said in (plain, verdict(scores, "csls")) for one in said.reasons}


def test_a_chosen_metric_that_did_not_run_leaves_nothing_that_decides():
    said = verdict(scores_of(1.0, 1.0), "mean", primary="", chosen="Faces")
    assert (said.outcome, said.metrics[0].effect, said.metrics[0].name) == ("inconclusive", None, "likeness")
    assert "likeness" in said.not_measured
    assert said.reasons[0].code == "primary-not-measured"
    assert (
        said.reasons[0].text == "Faces was chosen to decide and could not run here, and no other metric takes its place"
    )
