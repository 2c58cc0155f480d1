import pytest
from pydantic import ValidationError

from assetforge.api.specs import SuiteBlock, SuiteSpec
from assetforge.domain.canonical import canonical_json
from assetforge.domain.recipe_key import recipe_key
from assetforge.domain.suite import SuiteDefinition, control_cells, control_index, expand, plan_digest

SPEC = SuiteSpec(
    name="tiny",
    title="Tiny",
    family="sd15",
    asset_types=("character",),
    blocks=(
        SuiteBlock(name="core", prompts=("{trigger} {class} on a hill", "{trigger} at night"), seeds=(1, 2)),
        SuiteBlock(name="strength", prompts=("{trigger} {class} on a hill",), seeds=(1,), strengths=(0.0, 0.5, 1.0)),
        SuiteBlock(name="bleed", prompts=("a {class} on a hill",), seeds=(1,)),
    ),
    steps=4,
    width=64,
    height=64,
)


def definition(**changes):
    return SuiteDefinition.model_validate(SuiteDefinition.from_spec(SPEC).model_dump(mode="json") | changes)


def test_cells_are_filled_and_numbered_in_a_fixed_order():
    cells = expand(definition(), trigger="mrvale", class_word="robot")
    assert [cell.index for cell in cells] == list(range(8)) == list(range(definition().cell_count))
    assert [(cell.block, cell.seed, cell.strength) for cell in cells][:5] == [
        ("core", 1, 1.0),
        ("core", 2, 1.0),
        ("core", 1, 1.0),
        ("core", 2, 1.0),
        ("strength", 1, 0.0),
    ]
    assert cells[0].prompt == "mrvale robot on a hill"
    assert cells[7].prompt == "a robot on a hill"


def test_a_value_with_braces_is_not_filled_again():
    assert expand(definition(), trigger="{class}", class_word="robot")[0].prompt == "{class} robot on a hill"


def test_an_empty_trigger_leaves_no_double_spaces():
    assert expand(definition(), trigger="", class_word="robot")[0].prompt == "robot on a hill"


def test_control_renders_each_prompt_and_seed_once():
    cells = expand(definition(), trigger="mrvale", class_word="robot")
    controls = control_cells(cells)
    assert [cell.index for cell in controls] == [0, 1, 2, 3, 7]
    assert {cell.strength for cell in controls} == {0.0}
    assert control_index(cells) == {0: 0, 1: 1, 2: 2, 3: 3, 4: 0, 5: 0, 6: 0, 7: 7}


def test_digest_follows_pictures_and_not_words():
    same = definition(title="Another title", asset_types=["prop"], name="other")
    assert same.digest == definition().digest
    assert definition(steps=5).digest != definition().digest
    ones = definition().model_dump(mode="json")
    ones["blocks"][0]["strengths"] = [1]
    assert SuiteDefinition.model_validate(ones).digest == definition().digest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompts", ["{triger} on a hill"]),
        ("seeds", [1, 1]),
        ("seeds", [-1]),
        ("strengths", []),
        ("strengths", [9.0]),
        ("name", "Core Block"),
    ],
)
def test_a_wrong_block_is_refused(field, value):
    raw = definition().model_dump(mode="json")
    raw["blocks"][0][field] = value
    with pytest.raises(ValidationError):
        SuiteDefinition.model_validate(raw)


def test_plan_digest_changes_with_whatever_changes_pixels():
    cells = expand(definition(), trigger="t", class_word="c")
    base = {
        "weights": "aa",
        "suite_digest": "s",
        "cells": cells,
        "base_digest": "b",
        "engine": {"name": "r", "version": "1", "plugin": "p", "plugin_version": "1"},
        "params": {},
        "executor": "local",
        "device": "cpu",
    }
    changes = [
        {"weights": "bb"},
        {"suite_digest": "t"},
        {"cells": cells[:-1]},
        {"base_digest": "c"},
        {"engine": {"name": "r", "version": "2", "plugin": "p", "plugin_version": "1"}},
        {"params": {"precision": "fp16"}},
        {"device": "cuda"},
    ]
    digests = {plan_digest(**(base | change)) for change in [{}, *changes]}
    assert len(digests) == len(changes) + 1


def test_recipe_key_ignores_the_order_of_parameters_and_sees_every_change():
    base = {
        "dataset_tree": "d",
        "trainer": "t",
        "trainer_version": "1",
        "params": {"rank": 8, "lr": 1e-4},
        "base_digest": "b",
        "trigger": "mrvale",
        "class_word": "robot",
        "seed": 0,
    }
    key = recipe_key(**base)
    assert recipe_key(**(base | {"params": {"lr": 1e-4, "rank": 8}})) == key
    others = [
        {"dataset_tree": "e"},
        {"trainer_version": "2"},
        {"params": {"rank": 9, "lr": 1e-4}},
        {"seed": 1},
        {"trigger": ""},
        {"plugin_version": "2"},
    ]
    assert len({recipe_key(**(base | other)) for other in others} | {key}) == len(others) + 1


def test_nan_has_no_digest():
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json({"x": float("nan")})
