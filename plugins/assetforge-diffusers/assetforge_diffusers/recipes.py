"""Training presets per model family and asset type, as data: what the field's guides and trainers agree on."""

from typing import Any

from assetforge.api.specs import RecipeSpec

__all__ = ["RECIPES"]

_DIFFUSION = {"learning_rate": 1e-4, "lr_scheduler": "cosine", "warmup": 0.05, "min_snr_gamma": 5.0, "batch_size": 4}
_VELOCITY = {**_DIFFUSION, "min_snr_gamma": 0.0}
_FLOW = {"learning_rate": 1e-4, "lr_scheduler": "constant", "warmup": 0.05, "min_snr_gamma": 0.0, "batch_size": 2}
_TEXT = {"text_encoder": True, "text_encoder_learning_rate": 5e-5}

_FAMILIES: dict[str, tuple[str, dict[str, Any], dict[str, dict[str, Any]]]] = {
    "sd15": (
        "Stable Diffusion 1.5",
        _DIFFUSION,
        {
            "character": {"rank": 32, "alpha": 16.0, **_TEXT},
            "prop": {"rank": 16, "alpha": 8.0, **_TEXT},
            "style": {"rank": 32, "alpha": 32.0, "conv_rank": 16},
        },
    ),
    "sd2": (
        "Stable Diffusion 2.1",
        _VELOCITY,
        {
            "character": {"rank": 32, "alpha": 16.0, **_TEXT},
            "prop": {"rank": 16, "alpha": 8.0, **_TEXT},
            "style": {"rank": 32, "alpha": 32.0, "conv_rank": 16},
        },
    ),
    "sdxl": (
        "Stable Diffusion XL",
        _DIFFUSION,
        {
            "character": {"rank": 32, "alpha": 16.0},
            "prop": {"rank": 16, "alpha": 8.0},
            "style": {"rank": 32, "alpha": 32.0, "conv_rank": 16},
        },
    ),
    **{
        family: (
            title,
            _FLOW,
            {
                "character": {"rank": 16, "alpha": 16.0},
                "prop": {"rank": 16, "alpha": 16.0},
                "style": {"rank": 16, "alpha": 16.0},
            },
        )
        for family, title in (
            ("sd3", "Stable Diffusion 3.5"),
            ("flux1", "FLUX.1"),
            ("flux2", "FLUX.2"),
            ("qwen-image", "Qwen-Image"),
            ("z-image", "Z-Image"),
            ("wan", "Wan"),
        )
    },
}
"""Title, what all asset types share, and what each has of its own."""

_TYPES: dict[str, tuple[str, dict[str, Any]]] = {
    "character": (
        "15 to 50 pictures: close-ups, half and full figures, some odd angles. 100 views.",
        {"views": 100.0, "caption_dropout": 0.08},
    ),
    "prop": ("10 to 30 pictures of one object in varied scenes. 80 views.", {"views": 80.0, "caption_dropout": 0.05}),
    "style": (
        "50 to 200 pictures whose captions say what they show and never how. 45 views.",
        {"views": 45.0, "caption_dropout": 0.1},
    ),
}

RECIPES = tuple(
    RecipeSpec(
        name=f"{asset_type}-{family}",
        title=f"{asset_type.capitalize()} on {title}",
        summary=summary,
        family=family,
        trainer="diffusers-lora",
        asset_types=(asset_type,),
        params={**shared, **own[asset_type], **usual},
    )
    for family, (title, shared, own) in _FAMILIES.items()
    for asset_type, (summary, usual) in _TYPES.items()
)
