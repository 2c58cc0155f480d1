"""Regression suites per model family and asset type, as data: the questions that every version of an asset is asked."""

from dataclasses import dataclass

from assetforge.api.specs import SuiteBlock, SuiteSpec

__all__ = ["SUITES"]

_NEGATIVE = "lowres, blurry, text, watermark"
_SEEDS = (1021, 1022)


def _block(
    name: str, *prompts: str, strengths: tuple[float, ...] = (1.0,), seeds: tuple[int, ...] = _SEEDS
) -> SuiteBlock:
    return SuiteBlock(name=name, prompts=prompts, seeds=seeds, strengths=strengths, negative=_NEGATIVE)


@dataclass(frozen=True, slots=True)
class _Settings:
    """How a family is asked: what its makers recommend."""

    title: str
    steps: int
    cfg: float
    size: tuple[int, int]
    sampler: str = "default"


_FAMILIES = {
    "sd15": _Settings("Stable Diffusion 1.x", 28, 6.5, (512, 512), "dpm++"),
    "sd2": _Settings("Stable Diffusion 2.x", 28, 7.0, (768, 768), "dpm++"),
    "sdxl": _Settings("Stable Diffusion XL", 30, 6.0, (1024, 1024), "dpm++"),
    "sd3": _Settings("Stable Diffusion 3.5", 28, 4.5, (1024, 1024)),
    "flux1": _Settings("FLUX.1", 28, 3.5, (1024, 1024)),
    "flux2": _Settings("FLUX.2", 28, 4.0, (1024, 1024)),
    "qwen-image": _Settings("Qwen-Image", 30, 4.0, (1024, 1024)),
    "z-image": _Settings("Z-Image", 28, 5.0, (1024, 1024)),
    "wan": _Settings("Wan", 30, 5.0, (832, 480)),
}


_BLOCKS = {
    "character": (
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
    "prop": (
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
    "style": (
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
}

SUITES = tuple(
    SuiteSpec(
        name=f"{asset_type}-{family}",
        title=f"{asset_type.capitalize()} on {settings.title}",
        family=family,
        asset_types=(asset_type,),
        blocks=blocks,
        steps=settings.steps,
        cfg=settings.cfg,
        width=settings.size[0],
        height=settings.size[1],
        sampler=settings.sampler,
    )
    for family, settings in _FAMILIES.items()
    for asset_type, blocks in _BLOCKS.items()
)
