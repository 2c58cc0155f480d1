"""Stable Diffusion 2.x: as 1.x, with OpenCLIP ViT-H as text encoder, and at 768 px velocity prediction.

OpenCLIP's last layer but one is what the UNet was trained on. Its folder has that layer as its last (23 of 24), so that nothing is skipped here.
"""

from typing import ClassVar

from assetforge_diffusers.basefiles import BaseFiles
from assetforge_diffusers.families.inputs import require_text_to_image
from assetforge_diffusers.families.sd15 import StableDiffusion15

__all__ = ["StableDiffusion2"]


class StableDiffusion2(StableDiffusion15):
    """Stable Diffusion 2.0 and 2.1, at 512 and 768 px, and everything trained from them.

    What it predicts and whether its noise ends in pure noise (``rescale_betas_zero_snr``) is said by the base's scheduler.

    Args:
        base: The base model's files.

    Raises:
        UsageError: It is no text-to-image model but made for inpainting, depth, upscaling or variations.
    """

    name: ClassVar[str] = "sd2"

    def __init__(self, base: BaseFiles) -> None:
        super().__init__(base)
        require_text_to_image(base, self.denoiser_name)

    @property
    def architecture(self) -> str:
        """``modelspec.architecture``; velocity tells 768 from 512, as in kohya's scripts."""
        size = "768-v" if self.prediction == "v_prediction" else "512"
        return f"stable-diffusion-v2-{size}/lora"

    @property
    def base_version(self) -> str:
        """``ss_base_model_version``."""
        return "sd_v2_v" if self.prediction == "v_prediction" else "sd_v2"
