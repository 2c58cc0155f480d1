import pytest
from pydantic import ValidationError

from assetforge.api.job import Cell, Companion
from assetforge.api.specs import SuiteBlock, SuiteSpec
from assetforge.domain.canonical import canonical_json, digest
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
        {"cells": [cell.model_copy(update={"beside": ILSE}) for cell in cells]},
        {"cells": [cell.model_copy(update={"beside": LAMP}) for cell in cells]},
        {"base_digest": "c"},
        {"engine": {"name": "r", "version": "2", "plugin": "p", "plugin_version": "1"}},
        {"params": {"precision": "fp16"}},
        {"device": "cuda"},
    ]
    digests = {plan_digest(**(base | change)) for change in [{}, *changes]}
    assert len(digests) == len(changes) + 1


ILSE = Companion(name="ilse/v1", sha256="a" * 64, trigger="ilsx", class_word="woman")
LAMP = Companion(name="lamp/v2", sha256="b" * 64, strength=0.8, trigger="brslmp", class_word="lamp")
PAIRS = {
    "name": "pairs",
    "prompts": ["{trigger} {class} and {other} {other_class}", "{other} behind {trigger}", "{trigger} before {other}"],
    "reserve": ["{trigger} under {other}"],
    "seeds": [1],
    "beside": "cast",
}


def with_pairs(**changes):
    blocks = definition().model_dump(mode="json")["blocks"]
    return definition(blocks=[*blocks, PAIRS | changes])


def test_companions_take_turns_and_their_words_are_filled_in():
    suite = with_pairs()
    cells = expand(suite, trigger="mrvale", class_word="robot", beside={"pairs": [ILSE, LAMP]})
    assert [(cell.prompt, cell.beside.name) for cell in cells if cell.beside] == [
        ("mrvale robot and ilsx woman", "ilse/v1"),
        ("brslmp behind mrvale", "lamp/v2"),
        ("mrvale before ilsx", "ilse/v1"),
    ]
    # The reserve goes on where the prompts ended, and its cells are numbered after all others.
    (more,) = expand(suite, trigger="mrvale", class_word="robot", beside={"pairs": [ILSE, LAMP]}, extension=True)
    assert (more.index, more.beside) == (suite.cell_count, LAMP)


def test_a_block_without_companions_is_left_out_and_moves_no_index():
    alone = expand(with_pairs(), trigger="mrvale", class_word="robot")
    assert alone == expand(definition(), trigger="mrvale", class_word="robot")
    assert expand(with_pairs(), trigger="m", class_word="r", beside={"pairs": []}, extension=True) == ()
    assert with_pairs().without(["pairs"]) == definition()


def test_what_a_pair_is_compared_with_wears_the_companion_alone():
    suite = with_pairs(prompts=["{trigger} {class} on a hill"], reserve=[], seeds=[1], strengths=[1.0, 0.5])
    cells = expand(suite, trigger="mrvale", class_word="robot", beside={"pairs": [ILSE]})
    controls = {cell.index: cell for cell in control_cells(cells)}
    control = controls[control_index(cells)[cells[-1].index]]
    assert (control.strength, control.beside) == (0.0, ILSE)
    # The same words and noise are rendered without the companion too, as another picture.
    assert control_index(cells)[cells[-1].index] == control_index(cells)[cells[-2].index] != control_index(cells)[0]


def test_cells_without_a_companion_are_written_as_before():
    cell = Cell(index=0, block="core", prompt="p", seed=1)
    assert set(cell.model_dump(mode="json")) == {"index", "block", "prompt", "negative", "seed", "strength"}
    assert Cell.model_validate_json(cell.model_dump_json()) == cell
    beside = cell.model_copy(update={"beside": ILSE})
    assert beside.model_dump(mode="json")["beside"]["name"] == "ilse/v1"
    assert Cell.model_validate_json(beside.model_dump_json()) == beside


def test_suites_without_companions_keep_their_digest():
    raw = definition().model_dump(mode="json", exclude={"name", "title", "summary", "asset_types"})
    for block in raw["blocks"]:
        for later in ("quick", "reserve", "beside", "beside_strength"):
            del block[later]
    assert definition().digest == digest(raw)
    assert with_pairs().digest != with_pairs(beside="ilse@approved").digest != with_pairs(beside_strength=0.7).digest


@pytest.mark.parametrize("value", ["cast", "cast:character,prop", "ilse@approved", "ilse/v2"])
def test_what_can_be_worn_beside_an_asset(value):
    assert with_pairs(beside=value).blocks[-1].beside == value


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"beside": "ilse"}, "cast:character,prop"),
        ({"beside": "cast:"}, "cast:character,prop"),
        ({"beside": ""}, "say beside"),
        ({"beside_strength": 0.0}, "not 0"),
        ({"beside_strength": 5.0}, "between"),
    ],
)
def test_a_wrong_companion_is_refused(change, says):
    with pytest.raises(ValidationError, match=says):
        with_pairs(**change)


def test_own_prompts_are_one_more_block_that_the_quick_size_does_without():
    suite = definition()
    assert suite.with_own([]) is suite
    more = suite.with_own(["{trigger} at the pier"])
    assert more.digest != suite.digest
    assert [(block.name, block.cell_count) for block in more.blocks[len(suite.blocks) :]] == [("own", 2)]
    assert [block.name for block in more.with_own(["{trigger} again"]).blocks][-2:] == ["own", "own-2"]
    raw = suite.model_dump(mode="json")
    raw["blocks"][0]["quick"] = 1
    small = SuiteDefinition.model_validate(raw)
    assert small.with_own(["{trigger} at the pier"]).quick().digest == small.quick().digest


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
