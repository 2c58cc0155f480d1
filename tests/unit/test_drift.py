"""What a check for drift looks at, and what it says."""

import pytest

from assetforge.api.job import Cell
from assetforge.domain.drift import (
    DriftEvidence,
    FieldChange,
    FileState,
    PictureDifference,
    engine_changes,
    judge_drift,
    sentinel_cells,
    tolerance,
)
from assetforge.domain.suite import control_cells

WHOLE = FileState("a" * 64, "a" * 64)
TORCH = (FieldChange("ran.torch", "2.13", "2.14"),)


def equal(*indices):
    return tuple(PictureDifference(index, 0, 0.0, 0.0) for index in indices)


def other(*indices, largest=9, mean=0.5):
    return tuple(PictureDifference(index, largest, mean, 0.3) for index in indices)


def judge(**given):
    return judge_drift(
        DriftEvidence(**{"version": "mara/v2", "base": "tiny", "base_files": WHOLE, "lora": WHOLE, **given})
    )


def plan():
    cells = []
    for block, prompts, seeds, strengths in (
        ("core", ("hill", "night", "sea"), (1, 2), (1.0,)),
        ("strength", ("hill",), (1,), (0.0, 0.5, 1.0)),
        ("bleed", ("field",), (1,), (1.0,)),
    ):
        for prompt in prompts:
            for seed in seeds:
                cells += [
                    Cell(index=len(cells), block=block, prompt=prompt, seed=seed, strength=strength)
                    for strength in strengths
                ]
                cells = [cell.model_copy(update={"index": index}) for index, cell in enumerate(cells)]
    return cells


def test_a_sentinel_is_small_and_looks_at_every_block():
    cells = plan()
    for most in (2, 3, 5, 8, 100):
        chosen = sentinel_cells(cells, most, with_control=True)
        assert len(chosen) + len(control_cells(chosen)) <= most
        assert all(cell.strength for cell in chosen)
        assert [cell.index for cell in chosen] == sorted(cell.index for cell in chosen)
    eight = sentinel_cells(cells, 8, with_control=True)
    assert {cell.block for cell in eight} == {"core", "strength", "bleed"}
    assert len({cell.prompt for cell in eight if cell.block == "core"}) == sum(cell.block == "core" for cell in eight)
    assert len(sentinel_cells(cells, 8, with_control=False)) == 8
    assert sentinel_cells([cell for cell in cells if not cell.strength], 8, with_control=True) == ()


def test_engines_are_compared_field_by_field():
    before = {"engine": {"name": "d", "version": "1"}, "ran": {"torch": "2.13", "size": [8, 8], "gone": 1}}
    after = {"engine": {"name": "d", "version": "1"}, "ran": {"torch": "2.14", "size": [8, 8], "driver": "570"}}
    assert engine_changes(before, after) == (
        FieldChange("ran.driver", "", "570"),
        FieldChange("ran.gone", "1", ""),
        FieldChange("ran.torch", "2.13", "2.14"),
    )
    assert engine_changes(before, before) == ()


def test_equal_pictures_are_the_same_whatever_the_engine_says():
    assert judge(pictures=equal(0, 1), controls=equal(0)).outcome == "same"
    newer = judge(pictures=equal(0), controls=equal(0), engine=TORCH)
    assert (newer.outcome, newer.same_engine) == ("same", False)
    assert "although the engine changed: ran.torch 2.13 -> 2.14" in newer.statement


def test_another_engine_explains_other_pictures_and_the_control_says_where():
    found = judge(pictures=other(0, 1), controls=equal(0), engine=TORCH)
    assert (found.outcome, found.differing, found.controls_differing) == ("engine", (0, 1), ())
    assert "ran.torch 2.13 -> 2.14" in found.statement
    assert "only what wears the LoRA changed" in found.statement
    both = judge(pictures=other(0), controls=other(0), engine=TORCH)
    assert "it is not the LoRA" in both.statement


def test_other_pictures_of_one_engine_are_unexplained_and_are_its_noise():
    found = judge(pictures=other(0, mean=0.5) + equal(1), controls=(), hardware={"ran.device_name": "H100"})
    assert (found.outcome, found.same_engine, found.mean, found.largest) == ("unexplained", True, 0.25, 9)
    assert "1 of 2 pictures differ" in found.statement
    assert "ran.device_name H100" in found.statement


def test_what_batches_may_differ_is_not_drift():
    record = {"ran": {"batch_tolerance": [1, 0.02]}}
    assert tolerance({"ran": {}}) == (0.0, 0.0)
    within = judge(pictures=other(0, largest=2, mean=0.03), controls=equal(0), tolerance=tolerance(record))
    assert within.outcome == "same"
    assert "in batches" in within.statement
    assert judge(pictures=other(0, largest=3, mean=0.03), tolerance=tolerance(record)).outcome == "unexplained"


@pytest.mark.parametrize(
    ("given", "outcome", "says"),
    [
        ({"base_files": FileState("a" * 64, "b" * 64)}, "base", "base model tiny changed"),
        ({"base_files": FileState("a" * 64, "")}, "base", "not there any more"),
        ({"lora": FileState("a" * 64, "b" * 64)}, "lora", "mara/v2 is damaged"),
        ({"lora": FileState("a" * 64, "")}, "lora", "mara/v2 is missing"),
    ],
)
def test_changed_files_come_first(given, outcome, says):
    found = judge(**given, engine=TORCH, pictures=other(0), error="the renders failed")
    assert found.outcome == outcome
    assert says in found.statement
    assert not found.same_engine


def test_no_pictures_are_no_answer():
    found = judge(error="the renders failed (out of memory)", base_files=None)
    assert found.outcome == "failed"
    assert "out of memory" in found.statement
