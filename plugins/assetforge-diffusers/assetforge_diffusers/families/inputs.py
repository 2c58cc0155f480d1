"""Refuses base models whose network asks for more than noisy latents and a caption: inpainting, depth, upscaling, image variations."""

from assetforge.errors import UsageError
from assetforge_diffusers.basefiles import BaseFiles

__all__ = ["require_text_to_image"]


def require_text_to_image(base: BaseFiles, denoiser: str, *, patch: int = 1) -> None:
    """Check the settings of the component ``denoiser``; nothing is loaded.

    Args:
        base: The base model's files.
        denoiser: Name of the network.
        patch: Latent pixels per side of what the network counts as one, all their channels together.

    Raises:
        UsageError: The network has channels for another picture, or wants to know something about one.
    """
    config = base.config(denoiser)
    taken, made = config.get("in_channels"), base.config("vae").get("latent_channels")
    more = ""
    if taken is not None and made is not None and taken != made * patch**2:
        more = f"{taken} channels where the autoencoder gives {made * patch**2}"
    elif config.get("class_embed_type") or config.get("num_class_embeds"):
        more = "an embedding or a number that describes another picture"
    if more:
        raise UsageError(
            f"The base model {base.path} is made for inpainting, depth, upscaling or variations: its {denoiser} expects {more}.",
            hint="Take the text-to-image model of its family.",
        )
