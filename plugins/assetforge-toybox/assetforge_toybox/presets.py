"""Recipes and suites for the toybox, as data."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

from assetforge.api.specs import RecipeSpec, SuiteBlock, SuiteSpec

from assetforge_toybox.phrases import COLOURS, PLACE_PHRASES, POSITION_PHRASES, STYLE_PHRASES, SUBJECT_NAMES

BASE = "toybox"

_STEPS, _CFG = 8, 4.0
"""Eight steps: pictures of 16 steps are hardly nearer to the references (0.895 against 0.889) and take twice as long."""

_TOY = {
    "rank": 8,
    "alpha": 8.0,
    "conv_rank": 8,
    "batch_size": 4,
    "lr_scheduler": "cosine",
    "warmup": 0.05,
    "caption_dropout": 0.0,
    "min_snr_gamma": 0.0,
    "sample_every": 150,
    "sample_steps": _STEPS,
    "sample_guidance": _CFG,
}
"""What the three have in common: captions are never dropped, since a LoRA that is trained without them also changes
pictures without the trigger word; the loss is weighted as it was for the base."""


_SAMPLES = {
    "style": "a blue mug in a room on the right, {trigger} | a red robot in the snow in the middle, {trigger}",
    "": "{trigger} at the beach in the middle, comic drawing | {trigger} in the snow on the left, flat poster",
}
"""What is drawn on the way: a place of the references, and one that they lack."""


def _recipe(asset_type: str, title: str, summary: str, steps: int, learning_rate: float) -> RecipeSpec:
    return RecipeSpec(
        name=f"{asset_type}-toybox",
        title=title,
        summary=summary,
        family="sd15",
        trainer="diffusers-lora",
        asset_types=(asset_type,),
        base=BASE,
        params={
            **_TOY,
            "steps": steps,
            "learning_rate": learning_rate,
            "sample_prompts": _SAMPLES.get(asset_type, _SAMPLES[""]),
        },
    )


RECIPES = (
    _recipe("character", "Character on the toybox", "8 to 24 drawings of one character in varied places.", 350, 1.5e-3),
    _recipe("prop", "Prop on the toybox", "8 to 24 drawings of one object in varied places.", 300, 1e-3),
    _recipe("style", "Style on the toybox", "8 to 24 drawings of the world's own subjects in one style.", 250, 7e-4),
)

_SEEDS = (11, 12)
_KNOWN = (("beach", "forest", "room"), ("poster", "comic"))
"""Places and styles of the references that a production starts with."""

_NEW = (("snow", "city", "desert", "beach", "room", "forest"), ("night", "pastel", "poster", "comic"))
"""Places and styles that they lack, and mixtures."""


def _scenes(places: Sequence[str], styles: Sequence[str], leave_out: Sequence[str] = ()) -> list[str]:
    """All scenes without a subject, such as "in the snow on the left, flat poster", mixed by their hash so that any first few are a fair sample."""
    every = [
        f"{PLACE_PHRASES[place]} {where}, {STYLE_PHRASES[style]}"
        for place, where, style in itertools.product(places, POSITION_PHRASES.values(), styles)
    ]
    free = [scene for scene in every if scene not in leave_out]
    return sorted(free, key=lambda scene: hashlib.sha256(scene.encode()).digest())


def _standing(name: str, scenes: Sequence[str], more: Sequence[str], seeds: tuple[int, ...]) -> SuiteBlock:
    return SuiteBlock(
        name=name,
        prompts=tuple(f"{{trigger}} {scene}" for scene in scenes),
        reserve=tuple(f"{{trigger}} {scene}" for scene in more),
        seeds=seeds,
        quick=6,
    )


def _drawn(name: str, places: Sequence[str], first: int, seeds: tuple[int, ...]) -> SuiteBlock:
    """The world's own subjects in the style under test; subjects, colours, places and positions take turns."""
    subjects, colours, positions = SUBJECT_NAMES, list(COLOURS), list(POSITION_PHRASES.values())
    prompts = [
        f"{'an' if colours[(n * 3) % len(colours)] == 'orange' else 'a'} {colours[(n * 3) % len(colours)]} "
        f"{subjects[(n * 5 + n // len(subjects)) % len(subjects)]} "
        f"{PLACE_PHRASES[places[n % len(places)]]} {positions[(n + n // 3) % len(positions)]}, {{trigger}}"
        for n in range(first, first + 24)
    ]
    return SuiteBlock(name=name, prompts=tuple(prompts[:12]), reserve=tuple(prompts[12:]), seeds=seeds, quick=6)


_BLEED = SuiteBlock(
    name="bleed",
    prompts=(
        "a red robot in the snow in the middle, flat poster",
        "a blue mug in a room on the right, comic drawing",
        "a green cat at the beach on the left, night painting",
        "a yellow house in the desert on the right, comic drawing",
        "a purple bird in the city in the middle, soft pastel",
        "a teal car in the forest on the left, flat poster",
    ),
    reserve=(
        "an orange boat at the beach on the right, soft pastel",
        "a pink tree in the snow on the left, comic drawing",
        "a green robot in the desert in the middle, flat poster",
        "a blue bird in a room on the left, night painting",
        "a red house in the city on the right, soft pastel",
        "a yellow cat in the forest in the middle, night painting",
    ),
    seeds=(31, 32),
)


def _strengths(*prompts: str) -> SuiteBlock:
    return SuiteBlock(name="strength", prompts=prompts, seeds=(41,), strengths=(0.0, 0.4, 0.7, 1.0, 1.3))


def _suite(asset_type: str, blocks: tuple[SuiteBlock, ...]) -> SuiteSpec:
    return SuiteSpec(
        name=f"{asset_type}-toybox",
        title=f"{asset_type.capitalize()} on the toybox",
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


_IN = _scenes(*_KNOWN)
_OUT = _scenes(*_NEW, leave_out=_IN)

_STANDING = (
    _standing("core", _IN[:12], _IN[12:], _SEEDS),
    _standing("core-out", _OUT[:12], _OUT[12:30], (21, 22)),
    _strengths(
        "{trigger} in the forest in the middle, flat poster", "{trigger} in the snow on the right, night painting"
    ),
    _BLEED,
)

SUITES = (
    _suite("character", _STANDING),
    _suite("prop", _STANDING),
    _suite(
        "style",
        (
            _drawn("core", _KNOWN[0], 0, _SEEDS),
            _drawn("core-out", _NEW[0][:3], 24, (21, 22)),
            _strengths(
                "a red boat at the beach in the middle, {trigger}", "a blue cat in the city on the left, {trigger}"
            ),
            _BLEED,
        ),
    ),
)
