"""From the scores of cells to what a verdict rests on: which cells count, what the guard rails watch, what is not measured."""

import math

import pytest

from assetforge.api.job import Cell
from assetforge.domain.evidence import Question, ScoredMetric, margins, seed_pairs, verdict_of
from assetforge.domain.regression import cell_scores
from assetforge.domain.suite import control_index

PROMPTS = 8
PROBE = ScoredMetric(name="probe", title="likeness", kind="embedding", gates=True, margin=0.02)
PALETTE = ScoredMetric(name="palette", title="Colours", kind="embedding", margin=0.01)
BLACK = ScoredMetric(name="black-share", title="Black share", kind="single", direction="lower")
FOLLOWS = ScoredMetric(name="follows", title="prompts", kind="prompt", gates=True, margin=0.05)
COPIES = ScoredMetric(name="copies", title="Copies", kind="embedding", gates=True, copy_limit=0.9)
SSIM = ScoredMetric(name="ssim", title="SSIM", kind="pair", direction="higher")
REFERENCES = tuple(f"ref/{number}" for number in range(4))


def plan(blocks=(("core", (1, 2), (1.0,)), ("bleed", (1,), (1.0,)), ("strength", (1,), (0.0, 0.5)))):
    cells = [
        (block, f"{block} prompt {number}", seed, strength)
        for block, seeds, strengths in blocks
        for number in range(PROMPTS)
        for seed in seeds
        for strength in strengths
    ]
    return [
        Cell(index=index, block=block, prompt=prompt, seed=seed, strength=strength)
        for index, (block, prompt, seed, strength) in enumerate(cells)
    ]


CELLS = plan()


def along(similarity):
    """A vector with this cosine to the references, which all lie in one direction."""
    return [similarity, math.sqrt(1.0 - similarity**2)]


def embeddings(cells=CELLS, **sides):
    """Per side a similarity, the same for all cells or a function of the cell."""
    scores = {key: [1.0, 0.0] for key in REFERENCES}
    for side, given in sides.items():
        for cell in cells:
            similarity = given(cell) if callable(given) else given
            if similarity is not None:
                scores[f"{side}/{cell.index:04d}"] = along(similarity)
    return scores


def singles(cells=CELLS, **sides):
    return {
        f"{side}/{cell.index:04d}": given(cell) if callable(given) else given
        for side, given in sides.items()
        for cell in cells
    }


def judged(scores, metrics=(PROBE,), cells=CELLS, **about):
    rows = cell_scores(
        cells,
        control_index(cells),
        ("new", "baseline", "control"),
        scores,
        kinds={metric.name: metric.kind for metric in metrics if metric.copy_limit is None},
        references=REFERENCES,
        hashes={f"{side}/{cell.index:04d}": side for side in ("new", "baseline", "control") for cell in cells},
    )
    known = {"primary": "probe", "references": REFERENCES, **about}
    return verdict_of(rows, scores, Question(new="mara/v2", baseline="mara/v1", metrics=tuple(metrics), **known))


def guards(verdict):
    return {one.name: one for one in verdict.guards}


USUAL = {"new": 0.8, "baseline": 0.8, "control": 0.3}


def test_core_cells_decide_with_their_seeds_averaged_in_their_prompt():
    def new(cell):
        if cell.block != "core":
            return 0.1
        return 0.9 if cell.seed == 1 else 0.7

    verdict = judged({"probe": embeddings(**{**USUAL, "new": new})})
    (metric,) = verdict.metrics
    assert (metric.prompts, metric.cells) == (PROMPTS, 2 * PROMPTS)
    assert metric.effect == pytest.approx(0.0)
    assert verdict.outcome == "pass"
    assert metric.margin == 0.02


def test_a_picture_without_a_measurement_is_dropped_on_both_sides():
    first = CELLS[0].index
    verdict = judged({"probe": embeddings(**{**USUAL, "new": lambda cell: None if cell.index == first else 0.8})})
    (metric,) = verdict.metrics
    assert (metric.cells, metric.dropped, metric.lost) == (2 * PROMPTS - 1, 1, 1)


def test_suites_without_core_blocks_are_judged_by_full_strength():
    cells = plan((("looks", (1, 2), (1.0,)), ("strength", (1,), (0.5,)), ("bleed", (1,), (1.0,))))
    scores = {"probe": embeddings(cells, **{**USUAL, "new": lambda cell: 0.8 if cell.block == "looks" else 0.1})}
    (metric,) = judged(scores, cells=cells).metrics
    assert (metric.prompts, metric.cells, metric.effect) == (PROMPTS, 2 * PROMPTS, 0.0)
    assert seed_pairs(cells) == [(2 * number, 2 * number + 1) for number in range(PROMPTS)]


def test_ceiling_floor_and_impostors_calibrate():
    scores = {"probe": embeddings(**USUAL)}
    others = tuple(f"other/{number}" for number in range(4))
    scores["probe"] |= {key: along(0.2) for key in others}
    (metric,) = judged(scores, others=others).metrics
    assert (metric.auc.value, metric.auc.own, metric.auc.impostors) == (1.0, 4, 4)
    assert metric.fidelity.value == pytest.approx(5 / 7)
    scores["probe"] |= {key: [1.0, 0.0] for key in others}
    (metric,) = judged(scores, others=others).metrics
    assert not metric.informative


def test_without_a_metric_that_decides_likeness_was_not_measured():
    verdict = judged({"probe": embeddings(**USUAL)}, metrics=(), primary="")
    assert verdict.headline == "It is open whether mara/v2 is worse than mara/v1: likeness was not measured"
    assert (verdict.outcome, verdict.not_measured) == ("inconclusive", ("likeness",))
    unready = judged({"probe": {}}, metrics=(PALETTE,), primary="", unready=("Faces",))
    assert unready.not_measured == ("likeness", "Colours", "Faces")


def test_broken_pictures_are_a_veto_unless_the_bare_base_breaks_as_well():
    scores = {"probe": embeddings(**USUAL)}
    black = {"black-share": singles(new=lambda cell: float(cell.index == 3), baseline=0.0, control=0.0)}
    verdict = judged(scores | black, metrics=(PROBE, BLACK))
    assert guards(verdict)["validity"].outcome == "veto"
    assert verdict.outcome == "regressed"
    both = {"black-share": {**black["black-share"], "control/0003": 1.0}}
    assert guards(judged(scores | both, metrics=(PROBE, BLACK)))["validity"].outcome == "clear"
    # Nothing that could tell was run, so nothing is claimed.
    read = {"follows": singles(new=0.5, baseline=0.5, control=0.5)}
    assert "validity" not in guards(judged(scores | read, metrics=(PROBE, FOLLOWS)))


def copies(new, baseline):
    """So many core pictures of each side are near a training picture."""
    scores = {"train/a": [1.0, 0.0]}
    for side, count in (("new", new), ("baseline", baseline)):
        scores |= {
            f"{side}/{cell.index:04d}": along(0.95 if cell.index < count else 0.5)
            for cell in CELLS
            if cell.block == "core"
        }
    return scores


@pytest.mark.parametrize(
    ("new", "baseline", "outcome"), [(0, 0, "clear"), (1, 0, "veto"), (1, 1, "clear"), (2, 1, "veto")]
)
def test_copies_count_against_what_the_baseline_has_of_them(new, baseline, outcome):
    scores = {"probe": embeddings(**USUAL), "copies": copies(new, baseline)}
    found = guards(judged(scores, metrics=(PROBE, COPIES), training=("train/a",)))["copies"]
    assert (found.outcome, found.value) == (outcome, new / (2 * PROMPTS))
    assert found.bound == max(0.05, baseline / (2 * PROMPTS))


def test_what_finds_copies_is_no_likeness_and_needs_training_pictures():
    scores = {"probe": embeddings(**USUAL), "copies": copies(9, 0)}
    verdict = judged(scores, metrics=(PROBE, COPIES))
    assert [one.name for one in verdict.metrics] == ["probe"]
    assert guards(verdict)["copies"].outcome == "not measured"
    weak = ScoredMetric(name="copies", title="Copies", kind="embedding", copy_limit=0.9)
    assert "copies" not in guards(judged(scores, metrics=(PROBE, weak), training=("train/a",)))


def test_likeness_without_the_trigger_is_bleed_and_distance_from_the_base_is_stray():
    def leaks(cell):
        return 0.6 if cell.block == "bleed" else 0.8

    def tight(cell):
        return 0.3 if cell.block == "bleed" else 0.8

    verdict = judged({"probe": embeddings(new=leaks, baseline=tight, control=0.3)})
    found = guards(verdict)
    assert {name: found[name].outcome for name in ("bleed", "stray")} == {"bleed": "veto", "stray": "veto"}
    assert found["bleed"].value == pytest.approx(-0.3)
    assert found["stray"].value == pytest.approx(-(1.0 - (0.6 * 0.3 + math.sqrt(0.64 * 0.91))))
    away = judged(
        {"probe": embeddings(new=lambda cell: 0.0 if cell.block == "bleed" else 0.8, baseline=tight, control=0.3)}
    )
    found = guards(away)
    assert (found["bleed"].outcome, found["stray"].outcome) == ("clear", "veto")
    alone = plan((("core", (1, 2), (1.0,)),))
    assert guards(judged({"probe": embeddings(alone, **USUAL)}, cells=alone)) == {}


def prompts(new, baseline=0.6, control=0.6, references=0.5, count=4):
    return {**singles(new=new, baseline=baseline, control=control), **dict.fromkeys(REFERENCES[:count], references)}


def following(**about):
    scores = {"probe": embeddings(**USUAL), "follows": prompts(**about)}
    return guards(judged(scores, metrics=(PROBE, FOLLOWS)))["follows"]


def test_prompts_are_followed_as_far_as_the_references_follow_theirs():
    # Above the ceiling of 0.5 nothing counts: 0.9 and 0.6 are the same.
    assert following(new=0.9).value == 0.0
    assert following(new=0.5).value == pytest.approx(0.0)
    lost = following(new=0.4)
    assert (lost.outcome, lost.value) == ("veto", pytest.approx(-0.1))
    # From fewer than three references there is no ceiling.
    assert following(new=0.4, count=2).value == pytest.approx(-0.2)


def test_references_that_cannot_be_read_measure_nothing():
    unread = following(new=0.1, references=0.2)
    assert (unread.outcome, unread.value) == ("not measured", None)
    assert unread.title == "prompts (which cannot read this asset's references)"
    assert following(new=0.1, references=0.31).outcome == "veto"


def seeds(new, baseline, direction="higher"):
    pairs = seed_pairs(CELLS)
    scores = {"probe": embeddings(**USUAL)}
    scores["ssim"] = {
        f"{side}/{first:04d}|{side}/{second:04d}": value
        for side, value in (("new", new), ("baseline", baseline))
        for first, second in pairs
        if value is not None
    }
    metric = ScoredMetric(name="ssim", title="SSIM", kind="pair", direction=direction)
    return guards(judged(scores, metrics=(PROBE, metric), diversity="ssim"))["diversity"]


def test_seeds_of_a_prompt_have_to_differ_as_before():
    assert len(seed_pairs(CELLS)) == PROMPTS
    assert seeds(0.4, 0.4).outcome == "clear"
    same = seeds(0.9, 0.4)
    assert (same.outcome, same.value, same.bound) == ("veto", pytest.approx(-0.5), 0.1)
    assert seeds(0.1, 0.6, direction="lower").value == pytest.approx(-0.5)
    assert seeds(0.1, 0.6).value == pytest.approx(0.5)
    assert seeds(None, 0.4).outcome == "not measured"


def test_a_prompt_with_three_seeds_has_two_pairs_each_with_the_next():
    cells = plan((("core", (1, 2, 3), (0.0, 1.0)),))
    assert seed_pairs(cells)[:2] == [(1, 3), (3, 5)]


def test_palettes_are_a_guard_rail_once_it_is_known_what_training_again_does_to_them():
    scores = {"probe": embeddings(**USUAL), "palette": embeddings(new=0.7, baseline=0.8, control=0.3)}
    verdict = judged(scores, metrics=(PROBE, PALETTE))
    assert [one.name for one in verdict.metrics] == ["probe", "palette"]
    assert "palette" not in guards(verdict)
    assert verdict.outcome == "inconclusive", "a secondary metric takes the pass away and gives no veto"
    known = judged(scores, metrics=(PROBE, PALETTE), retrain={"palette": [0.01, -0.01]})
    assert [one.name for one in known.metrics] == ["probe"]
    assert (guards(known)["palette"].outcome, guards(known)["palette"].bound) == ("veto", pytest.approx(0.02))
    wide = judged(scores, metrics=(PROBE, PALETTE), retrain={"palette": [0.2]})
    assert guards(wide)["palette"].outcome == "clear"


def test_margins_are_those_of_the_verdict():
    metrics = (BLACK, PALETTE, PROBE, FOLLOWS, COPIES, SSIM)
    retrain = {"probe": [0.03, -0.03], "palette": [0.002], "bleed": [0.05], "diversity": [0.01], "validity": [1.0]}
    found = {one.name: one for one in margins(metrics, "probe", "ssim", retrain)}
    assert list(found) == ["probe", "palette", "follows", "diversity", "bleed", "stray"]
    assert [one.guard for one in found.values()] == [False, True, True, True, True, True]
    counts = {"probe": 0.06, "palette": 0.01, "follows": 0.05, "diversity": 0.1, "bleed": 0.1, "stray": 0.02}
    assert {name: one.counts for name, one in found.items()} == pytest.approx(counts)
    assert (found["probe"].noise, found["probe"].pairs, found["stray"].noise) == (pytest.approx(0.03), 2, None)
    scores = {"probe": embeddings(**USUAL), "palette": embeddings(**USUAL), "follows": prompts(new=0.6)}
    scores["ssim"] = {
        f"{side}/{a:04d}|{side}/{b:04d}": 0.4 for side in ("new", "baseline") for a, b in seed_pairs(CELLS)
    }
    verdict = judged(scores, metrics=metrics, diversity="ssim", retrain=retrain)
    bounds = {one.name: one.bound for one in verdict.guards if one.name in counts}
    assert {verdict.metrics[0].name: verdict.metrics[0].margin, **bounds} == pytest.approx(counts)
    assert margins((BLACK,), "", "", {}) == []
