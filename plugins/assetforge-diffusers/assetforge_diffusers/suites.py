"""Regression suites for Stable Diffusion 1.x, as data: the questions that every version of an asset is asked."""

from assetforge.api.specs import SuiteBlock, SuiteSpec

__all__ = ["SUITES"]

_NEGATIVE = "lowres, blurry, text, watermark"
_SEEDS = (1021, 1022)


def _block(
    name: str, *prompts: str, strengths: tuple[float, ...] = (1.0,), seeds: tuple[int, ...] = _SEEDS
) -> SuiteBlock:
    return SuiteBlock(name=name, prompts=prompts, seeds=seeds, strengths=strengths, negative=_NEGATIVE)


def _suite(name: str, title: str, asset_type: str, *blocks: SuiteBlock) -> SuiteSpec:
    return SuiteSpec(
        name=name,
        title=title,
        family="sd15",
        asset_types=(asset_type,),
        blocks=blocks,
        steps=28,
        cfg=6.5,
        width=512,
        height=512,
        sampler="dpm++",
    )


SUITES = (
    _suite(
        "character-sd15",
        "Character on Stable Diffusion 1.x",
        "character",
        _block(
            "core",
            "close-up portrait of {trigger} {class}, soft daylight",
            "{trigger} {class} in three-quarter view, medium shot, plain wall",
            "full body shot of {trigger} {class} standing in a street",
            "{trigger} {class} in profile, looking out of a window",
        ),
        _block(
            "core-out",
            "{trigger} {class} in heavy rain at night, neon lights",
            "{trigger} {class} laughing at a kitchen table, candle light",
            "{trigger} {class} running through a forest, motion blur",
            "{trigger} {class} from behind, looking over the shoulder, snow",
        ),
        _block(
            "strength",
            "close-up portrait of {trigger} {class}, soft daylight",
            strengths=(0.0, 0.4, 0.7, 1.0, 1.3),
            seeds=(1031,),
        ),
        _block(
            "bleed",
            "portrait of a {class}, soft daylight",
            "a crowd of people in a street",
            "an empty street in the rain",
        ),
    ),
    _suite(
        "prop-sd15",
        "Prop on Stable Diffusion 1.x",
        "prop",
        _block(
            "core",
            "{trigger} {class} on a wooden table, studio light",
            "close-up photograph of {trigger} {class}",
            "{trigger} {class} on a plain background, seen from above",
        ),
        _block(
            "core-out",
            "a person holding {trigger} {class}",
            "{trigger} {class} half buried in sand, sunset",
            "{trigger} {class} in a dark room, lit from the side",
        ),
        _block(
            "strength",
            "{trigger} {class} on a wooden table, studio light",
            strengths=(0.0, 0.4, 0.7, 1.0, 1.3),
            seeds=(1031,),
        ),
        _block("bleed", "a {class} on a wooden table", "an empty wooden table", "a person holding a cup"),
    ),
    _suite(
        "style-sd15",
        "Style on Stable Diffusion 1.x",
        "style",
        _block(
            "core",
            "{trigger}, portrait of a woman",
            "{trigger}, a street with parked cars",
            "{trigger}, a mountain landscape with a lake",
            "{trigger}, a kitchen with a table and two chairs",
        ),
        _block(
            "core-out",
            "{trigger}, a spaceship in a hangar",
            "{trigger}, a dog jumping over a fence",
            "{trigger}, an aerial view of a city",
        ),
        _block("strength", "{trigger}, portrait of a woman", strengths=(0.0, 0.4, 0.7, 1.0, 1.3), seeds=(1031,)),
        _block("bleed", "portrait of a woman", "a street with parked cars", "a mountain landscape with a lake"),
    ),
)
