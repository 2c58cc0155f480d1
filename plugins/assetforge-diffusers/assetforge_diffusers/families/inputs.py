"""Refuses base models whose network asks for more than noisy latents and a caption: inpainting, depth, upscaling, image variations."""

from assetforge.errors import UsageError
from assetforge_diffusers.basefiles import BaseFiles

__all__ = ["require_text_to_image"]


def require_text_to_image(base: BaseFiles, denoiser: str) -> None:
    """Check the settings of the component ``denoiser``; nothing is loaded.

    Raises:
        UsageError: The network has channels for another picture, or wants to know something about one.
    """
    config = base.config(denoiser)
    taken, made = config.get("in_channels"), base.config("vae").get("latent_channels")
    more = ""
    if taken is not None and made is not None and taken != made:
        more = f"{taken} channels where the autoencoder gives {made}"
    elif config.get("class_embed_type") or config.get("num_class_embeds"):
        more = "an embedding or a number that describes another picture"
    if more:
        raise UsageError(
            f"The base model {base.path} is made for inpainting, depth, upscaling or variations: its {denoiser} expects {more}.",
            hint="Take the text-to-image model of its family.",
        )
