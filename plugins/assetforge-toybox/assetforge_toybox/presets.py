"""Recipes and suites for the toybox, as data."""

from __future__ import annotations

from assetforge.api.specs import RecipeSpec, SuiteBlock, SuiteSpec

BASE = "toybox"

_TOY = {
    "rank": 8,
    "alpha": 8.0,
    "conv_rank": 8,
    "batch_size": 4,
    "lr_scheduler": "cosine",
    "warmup": 0.05,
    "caption_dropout": 0.0,
    "min_snr_gamma": 0.0,
}
"""What the three have in common: captions are never dropped, since a LoRA that is trained without them also changes
pictures without the trigger word; the loss is weighted as it was for the base."""


def _recipe(asset_type: str, title: str, summary: str, steps: int, learning_rate: float) -> RecipeSpec:
    return RecipeSpec(
        name=f"{asset_type}-toybox",
        title=title,
        summary=summary,
        family="sd15",
        trainer="diffusers-lora",
        asset_types=(asset_type,),
        base=BASE,
        params={**_TOY, "steps": steps, "learning_rate": learning_rate},
    )


RECIPES = (
    _recipe("character", "Character on the toybox", "8 to 24 drawings of one character in varied places.", 350, 1.5e-3),
    _recipe("prop", "Prop on the toybox", "8 to 24 drawings of one object in varied places.", 300, 1e-3),
    _recipe("style", "Style on the toybox", "8 to 24 drawings of the world's own subjects in one style.", 250, 7e-4),
)

_STEPS, _CFG = 16, 4.0

_STANDING = SuiteBlock(
    name="core",
    prompts=(
        "{trigger} at the beach on the left, flat poster",
        "{trigger} in the forest in the middle, comic drawing",
        "{trigger} in a room on the right, flat poster",
        "{trigger} in a room in the middle, comic drawing",
    ),
    seeds=(11, 12),
)

_STANDING_OUT = SuiteBlock(
    name="core-out",
    prompts=(
        "{trigger} in the snow in the middle, flat poster",
        "{trigger} in the city on the right, comic drawing",
        "{trigger} in the desert on the left, night painting",
        "{trigger} at the beach in the middle, soft pastel",
    ),
    seeds=(21, 22),
)

_BLEED = SuiteBlock(
    name="bleed",
    prompts=(
        "a red robot in the snow in the middle, flat poster",
        "a blue mug in a room on the right, comic drawing",
        "a green cat at the beach on the left, night painting",
    ),
    seeds=(31,),
)


def _strengths(prompt: str) -> SuiteBlock:
    return SuiteBlock(name="strength", prompts=(prompt,), seeds=(41,), strengths=(0.0, 0.4, 0.7, 1.0, 1.3))


def _suite(name: str, title: str, asset_type: str, blocks: tuple[SuiteBlock, ...]) -> SuiteSpec:
    return SuiteSpec(
        name=name,
        title=title,
        summary="In and out of the references' places and styles, strengths, and bleeding without the trigger word.",
        family="sd15",
        asset_types=(asset_type,),
        blocks=blocks,
        steps=_STEPS,
        cfg=_CFG,
        width=64,
        height=64,
        sampler="ddim",
    )


_STANDING_BLOCKS = (_STANDING, _STANDING_OUT, _strengths("{trigger} in the forest in the middle, flat poster"), _BLEED)

SUITES = (
    _suite("character-toybox", "Character on the toybox", "character", _STANDING_BLOCKS),
    _suite("prop-toybox", "Prop on the toybox", "prop", _STANDING_BLOCKS),
    _suite(
        "style-toybox",
        "Style on the toybox",
        "style",
        (
            SuiteBlock(
                name="core",
                prompts=(
                    "a red robot at the beach on the left, {trigger}",
                    "a blue cat in the forest in the middle, {trigger}",
                    "a green mug in a room on the right, {trigger}",
                    "a yellow house in the forest in the middle, {trigger}",
                ),
                seeds=(11, 12),
            ),
            SuiteBlock(
                name="core-out",
                prompts=(
                    "a purple bird in the snow in the middle, {trigger}",
                    "an orange car in the city on the right, {trigger}",
                    "a teal tree in the desert on the left, {trigger}",
                    "a pink boat in the snow on the right, {trigger}",
                ),
                seeds=(21, 22),
            ),
            _strengths("a red boat at the beach in the middle, {trigger}"),
            _BLEED,
        ),
    ),
)
