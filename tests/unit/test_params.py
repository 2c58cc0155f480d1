"""Parameters that can have no say are left out of what identifies a training, and only those."""

from typing import Literal

import pytest

from assetforge.api import Params, param
from assetforge.api.params import influential, relevant
from assetforge.testing.other_values import other_values


class Recipe(Params):
    rank: int = param(16, "Rank.", ge=1)
    conv_rank: int = param(0, "Rank on convolutions; 0 leaves them alone.", ge=0)
    conv_alpha: float = param(1.0, "Scale on convolutions.", only_if="conv_rank", gt=0)
    text_encoder: bool = param(False, "Adapt it too.")
    text_encoder_learning_rate: float = param(5e-5, "Its rate.", only_if="text_encoder", gt=0, le=1)
    steps: int = param(0, "Steps; 0 follows from views.", ge=0)
    views: float = param(100.0, "Views.", only_if="not steps", gt=0)
    optimizer: Literal["adamw", "lion", "prodigy"] = param("adamw", "Optimizer.")
    beta1: float = param(0.9, "First moment.", only_if="optimizer=adamw|lion", ge=0, lt=1)
    growth: float = param(2.0, "Growth of the rate.", only_if="optimizer=prodigy", gt=0)
    warmup: float = param(0.05, "Share.", only_if="not optimizer=prodigy", ge=0, le=0.9)
    warmup_shape: Literal["linear", "cosine"] = param("linear", "Shape.", only_if=("warmup", "steps"))
    checkpoint_every: int = param(250, "Steps.", affects_result=False, ge=1)


def changes_the_key(params: dict[str, object], **other: object) -> bool:
    return influential(Recipe(**params)) != influential(Recipe(**{**params, **other}))


@pytest.mark.parametrize(
    ("params", "other", "changes"),
    [
        ({}, {"rank": 8}, True),
        ({}, {"conv_alpha": 4.0}, False),
        ({"conv_rank": 4}, {"conv_alpha": 4.0}, True),
        ({}, {"text_encoder_learning_rate": 1e-4}, False),
        ({"text_encoder": True}, {"text_encoder_learning_rate": 1e-4}, True),
        ({}, {"text_encoder": True}, True),
        ({}, {"views": 50.0}, True),
        ({"steps": 500}, {"views": 50.0}, False),
        ({"optimizer": "lion"}, {"beta1": 0.95}, True),
        ({"optimizer": "prodigy"}, {"beta1": 0.95}, False),
        ({"optimizer": "prodigy"}, {"growth": 1.5}, True),
        ({}, {"growth": 1.5}, False),
        ({"steps": 9}, {"warmup_shape": "cosine"}, True),
        ({"steps": 9, "warmup": 0.0}, {"warmup_shape": "cosine"}, False),
        # What has no say itself counts as off.
        ({"steps": 9, "optimizer": "prodigy"}, {"warmup_shape": "cosine", "warmup": 0.5}, False),
        ({}, {"checkpoint_every": 1}, False),
    ],
)
def test_the_key_follows_what_has_a_say(params: dict[str, object], other: dict[str, object], changes: bool) -> None:
    assert changes_the_key(params, **other) is changes


def test_values_are_complete_and_json() -> None:
    assert influential(Recipe(steps=9)) == {
        "rank": 16,
        "conv_rank": 0,
        "text_encoder": False,
        "steps": 9,
        "optimizer": "adamw",
        "beta1": 0.9,
        "warmup": 0.05,
        "warmup_shape": "linear",
    }


def test_forms_ask_with_incomplete_values() -> None:
    grey = Recipe.model_fields.keys() - relevant(Recipe, {"text_encoder": True, "conv_rank": 0})
    assert grey == {"conv_alpha", "growth", "warmup_shape"}


def test_the_schema_says_it() -> None:
    fields = Recipe.model_json_schema()["properties"]
    assert fields["conv_alpha"]["x-only-if"] == ["conv_rank"]
    assert fields["warmup_shape"]["x-only-if"] == ["warmup", "steps"]
    assert fields["checkpoint_every"]["x-affects-result"] is False
    assert not {"x-only-if", "x-affects-result"} & fields["rank"].keys()


def test_an_own_optimizer_of_a_plugin_inherits_the_conditions() -> None:
    class Longer(Recipe):
        decay: float = param(0.01, "Decay.", only_if="warmup")

    assert "decay" not in influential(Longer(optimizer="prodigy"))
    assert "decay" in influential(Longer())


@pytest.mark.parametrize(
    ("condition", "said"), [("nothing", "no parameter"), ("optimizer=adam", "cannot be"), ("rate", "circle")]
)
def test_wrong_conditions_are_found_where_they_are_written(condition: str, said: str) -> None:
    with pytest.raises(TypeError, match=said):

        class Wrong(Params):
            optimizer: Literal["adamw", "lion"] = param("adamw", "Optimizer.", only_if="rate")
            rate: float = param(0.1, "Rate.", only_if=condition if condition != "rate" else "optimizer=lion")


def test_other_values_are_valid_and_have_no_say() -> None:
    params = Recipe(checkpoint_every=4)
    others = other_values(params)
    assert others.keys() == Recipe.model_fields.keys() - influential(params).keys()
    assert all(others[name] != getattr(params, name) for name in others)
    assert influential(Recipe(**{**params.model_dump(), **others})) == influential(params)
    assert other_values(Params()) == {}
