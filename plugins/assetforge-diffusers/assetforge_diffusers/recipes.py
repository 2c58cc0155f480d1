"""Training presets per model family and asset type, as data."""

from assetforge.api.specs import RecipeSpec

__all__ = ["RECIPES"]

_SD15 = {"learning_rate": 1e-4, "lr_scheduler": "cosine", "warmup": 0.05, "min_snr_gamma": 5.0, "batch_size": 4}

RECIPES = (
    RecipeSpec(
        name="character-sd15",
        title="Character on Stable Diffusion 1.5",
        summary="15 to 50 pictures: close-ups, half and full figures, some odd angles. Rank 32, text encoder at half the learning rate, 100 views.",
        family="sd15",
        trainer="diffusers-lora",
        asset_types=("character",),
        params={
            **_SD15,
            "rank": 32,
            "alpha": 16.0,
            "text_encoder": True,
            "text_encoder_learning_rate": 5e-5,
            "views": 100.0,
            "caption_dropout": 0.08,
        },
    ),
    RecipeSpec(
        name="prop-sd15",
        title="Prop on Stable Diffusion 1.5",
        summary="10 to 30 pictures of one object in varied scenes. Rank 16, text encoder at half the learning rate, 80 views.",
        family="sd15",
        trainer="diffusers-lora",
        asset_types=("prop",),
        params={
            **_SD15,
            "rank": 16,
            "alpha": 8.0,
            "text_encoder": True,
            "text_encoder_learning_rate": 5e-5,
            "views": 80.0,
            "caption_dropout": 0.05,
        },
    ),
    RecipeSpec(
        name="style-sd15",
        title="Style on Stable Diffusion 1.5",
        summary="50 to 200 pictures whose captions say what they show and never how. Rank 32 with convolutions, text encoder untouched, 45 views.",
        family="sd15",
        trainer="diffusers-lora",
        asset_types=("style",),
        params={
            **_SD15,
            "rank": 32,
            "alpha": 32.0,
            "conv_rank": 16,
            "text_encoder": False,
            "views": 45.0,
            "caption_dropout": 0.1,
        },
    ),
)
