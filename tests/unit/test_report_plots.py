import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetforge.domain.verdict import GuardEvidence, MetricEvidence, judge
from assetforge.services.report_lineage import caption_diff
from assetforge.services.report_plots import likeness_axis, prompt_plot, strength_curves, verdict_plot
from assetforge.services.report_verdict import number, signed, verdict_view


def evidence(mean, *, margin=0.02, name="dino", prompts=24):
    base = np.full((prompts, 2), 0.7)
    scatter = np.linspace(-0.01, 0.01, prompts)[:, None]
    return MetricEvidence(name=name, title="identity", new=base + mean + scatter, baseline=base, minimum_margin=margin)


def summary(verdict, **more):
    return {
        "new": "mara/v2",
        "baseline": "mara/v1",
        "primary": "dino",
        "references": {"used": 3},
        "sentence": f"{verdict.headline}. The rest." if verdict else "Only this.",
        "verdict": verdict.as_json() if verdict else None,
        **more,
    }


def view(*metrics, guards=()):
    return verdict_view(summary(judge("mara/v2", "mara/v1", metrics[0], secondary=metrics[1:], guards=guards)))


def cell(index, prompt, delta, block="core", strength=1.0):
    scores = {"delta": delta, "delta_to_control": None if delta is None else delta + 1}
    return {"index": index, "prompt": prompt, "block": block, "strength": strength, "embeddings": {"dino": scores}}


@pytest.mark.parametrize(("mean", "word"), [(0.01, "Pass"), (-0.05, "Regressed"), (-0.0195, "Inconclusive")])
def test_the_word_follows_the_outcome(mean, word):
    said = view(evidence(mean))
    assert said["word"] == word
    assert said["sentence"].endswith("24 prompts.")
    assert said["more"] == "The rest."


def test_what_has_no_verdict_says_why_and_what_was_not_measured():
    older = verdict_view({key: value for key, value in summary(None).items() if key != "verdict"})
    assert older["word"] == "Not judged"
    assert older["metrics"] == older["guards"] == older["reasons"] == []
    assert older["not_measured"] == []
    first = verdict_view(summary(None, baseline=""))
    assert first["word"] == "First version"
    assert first["more"] == "Only this."
    assert verdict_view(summary(None, primary=""))["not_measured"] == ["likeness"]


def test_the_words_of_a_guard_rail_stand_once():
    guard = GuardEvidence(name="validity", title="number of broken pictures", limit=0.0, value=2.0)
    said = view(evidence(0.01), guards=[guard])
    assert said["word"] == "Regressed"
    assert [one["outcome"] for one in said["guards"]] == ["veto"]
    assert not any("broken" in reason["text"] for reason in said["reasons"])
    assert not said["guards"][0]["change"]


def test_metrics_of_different_margins_share_one_axis():
    plot = verdict_plot(view(evidence(-0.04), evidence(-0.4, margin=0.2, name="lpips")))
    first, second = plot["rows"]
    assert first["at"] == second["at"] < plot["edge"] < plot["zero"]
    assert first["from"] < first["at"] < first["to"]
    assert first["effect_text"] == "−0.040"
    assert plot["bounded"]


def test_a_metric_without_a_margin_has_its_own_scale():
    (row,) = verdict_plot(view(evidence(0.01, margin=0.0)))["rows"]
    assert not row["bounded"]
    assert 50.0 < row["at"] < row["to"] <= 98.0


def test_what_was_not_measured_has_no_row():
    assert verdict_plot(view(evidence(0.0, prompts=0))) is None
    assert prompt_plot([], "", None, True) is None
    assert prompt_plot([cell(0, "a", None)], "dino", 0.02, True) is None


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e3))
def test_marks_stay_in_the_plot(mean, margin):
    (row,) = verdict_plot(view(evidence(mean, margin=margin, prompts=8)))["rows"]
    assert 2.0 <= row["from"] <= row["at"] <= row["to"] <= 98.0


def test_prompts_come_worst_first_and_name_their_worst_seed():
    cells = [
        cell(0, "hill", 0.01),
        cell(1, "hill", 0.03),
        cell(2, "night", -0.05),
        cell(3, "night", -0.15),
        cell(4, "field", -0.9, block="bleed"),
        cell(5, "hill", 0.5, block="strength"),
    ]
    plot = prompt_plot(cells, "dino", 0.02, True)
    assert [row["prompt"] for row in plot["rows"]] == ["night", "hill"]
    assert [row["index"] for row in plot["rows"]] == [3, 0]
    assert [row["worse"] for row in plot["rows"]] == [True, False]
    assert plot["rows"][0]["text"] == "−0.100"
    assert plot["better"] == 1
    assert plot["edge"] < 50.0
    assert [tick["label"] for tick in plot["ticks"]] == ["−0.1", "0", "+0.1"]


def test_without_core_blocks_full_strength_is_shown_and_without_a_baseline_the_base():
    cells = [cell(0, "hill", -0.2, block="own"), cell(1, "hill", -0.2, block="own", strength=0.5)]
    plot = prompt_plot(cells, "dino", None, False)
    assert [row["text"] for row in plot["rows"]] == ["+0.800"]
    assert plot["edge"] is None


def test_the_axis_needs_two_values():
    core = {"cells": 2, "similarity": {"new": 0.8, "baseline": None, "control": 0.3}}
    given_ = {"verdict_inputs": {"dino": {"core": core, "ceiling": {"similarity": 0.9}}}}
    assert [one["name"] for one in likeness_axis(given_, "dino")] == ["control", "new", "ceiling"]
    core["similarity"] = {"new": None, "control": None}
    assert likeness_axis(given_, "dino") == []
    assert likeness_axis(given_, "") == []


def test_strength_curves_begin_at_the_base_and_leave_gaps_out():
    strip = [{"similarity": {"new": value, "baseline": 0.4, "control": 0.2}} for value in (0.3, None, 0.9)]
    curves = {curve["side"]: curve["points"] for curve in strength_curves(strip)}
    assert [x for x, _ in curves["new"]] == [12.5, 37.5, 87.5]
    assert [y for _, y in curves["new"]] == sorted((y for _, y in curves["new"]), reverse=True)
    assert len(curves["baseline"]) == 4


@given(st.text(), st.text())
def test_a_caption_diff_holds_both_captions(before, after):
    parts = caption_diff(before, after)
    said = {kind: "".join(words for one, words in parts if one in ("same", kind)).split() for kind in ("gone", "new")}
    assert said == {"gone": before.split(), "new": after.split()}


def test_a_caption_diff_is_about_words():
    assert caption_diff("a red coat, night", "a green coat, night") == [
        ("same", "a "),
        ("gone", "red "),
        ("new", "green "),
        ("same", "coat, night"),
    ]


def test_numbers_have_a_real_minus():
    assert signed(-0.0401) == "−0.040"
    assert signed(0.0001) == signed(-0.0001) == "±0"
    assert signed(None) == number(None) == ""
    assert number(-1.0, 2) == "−1.00"
    assert signed(2.0, 0) == "+2"
    assert math.isclose(float(signed(0.5).replace("+", "")), 0.5)
