"""Stable Diffusion XL: as 1.x, with two text encoders side by side and a UNet that is also told the sizes of the picture (Podell et al. 2023).

The refiner is not supported. It has no first text encoder, is told an aesthetic score instead of the size of what is shown, and finishes pictures
that the base has begun; LoRAs of the base do not fit it.
"""

from functools import cached_property
from typing import Any, ClassVar

import torch

from assetforge.errors import UsageError
from assetforge_diffusers.basefiles import BaseFiles
from assetforge_diffusers.families.base import Tokens, Told
from assetforge_diffusers.families.inputs import require_text_to_image
from assetforge_diffusers.families.sd15 import StableDiffusion15, clip_tokens
from assetforge_diffusers.objective import Diffusion

__all__ = ["StableDiffusionXL"]


class StableDiffusionXL(StableDiffusion15):
    """Stable Diffusion XL base 1.0, and everything trained from it (Pony, Illustrious, NoobAI and its velocity prediction ...).

    Args:
        base: The base model's files.

    Raises:
        UsageError: It is the refiner, or no text-to-image model.
    """

    name: ClassVar[str] = "sdxl"
    pipeline_class: ClassVar[str] = "StableDiffusionXLPipeline"
    encoder_names: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")
    adaptable_encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")

    def __init__(self, base: BaseFiles) -> None:
        super().__init__(base)
        if not base.has("text_encoder"):
            raise UsageError(
                f"The base model {base.path} is the refiner of Stable Diffusion XL, which is not supported.",
                hint="Take Stable Diffusion XL base, or a model trained from it.",
            )
        require_text_to_image(base, self.denoiser_name)

    @property
    def architecture(self) -> str:
        """``modelspec.architecture``."""
        return "stable-diffusion-xl-v1-base/lora"

    @property
    def base_version(self) -> str:
        """``ss_base_model_version``."""
        return "sdxl_base_v1-0"

    @cached_property
    def objective(self) -> Diffusion:
        """Noise or velocity, as the base's scheduler says."""
        scheduler = self.base.load("scheduler")
        if not hasattr(scheduler, "alphas_cumprod"):
            raise UsageError(
                f"The base model {self.base.path} has a {type(scheduler).__name__}, whose noise is not that of Stable Diffusion XL.",
                hint="Take a base model that was trained from Stable Diffusion XL base; Playground 2.5 was not.",
            )
        return super().objective

    def tokenize(self, caption: str) -> tuple[Tokens, int]:
        """Token ids of both CLIP tokenizers, which share their words and differ in what they pad with."""
        first, missing = clip_tokens(self.base.load("tokenizer"), caption)
        second, _ = clip_tokens(self.base.load("tokenizer_2"), caption)
        return {"ids": first, "ids_2": second}, missing

    def encode_tokens(self, tokens: Tokens) -> Told:
        """The states before the last layer of both encoders side by side, (batch, length, 2048), and the second's pooled one, (batch, 1280)."""
        first, second = (self.base.load(name) for name in self.encoder_names)
        states = first(tokens["ids"].to(first.device), output_hidden_states=True).hidden_states[-2]
        answer = second(tokens["ids_2"].to(second.device), output_hidden_states=True)
        return {
            "hidden": torch.cat((states, answer.hidden_states[-2]), dim=-1).to(second.dtype),
            "pooled": answer.text_embeds,
        }

    def predict(self, noisy: torch.Tensor, time: torch.Tensor, told: Told, geometry: torch.Tensor) -> torch.Tensor:
        """The UNet's noise or velocity.

        Sizes stay whole numbers until the UNet embeds them in fp32; the reference pipeline rounds them to the format of the embeddings.
        """
        unet = self.denoiser
        answer: torch.Tensor = unet(
            noisy.to(self.base.dtype),
            time,
            encoder_hidden_states=told["hidden"].to(self.base.dtype),
            added_cond_kwargs={"text_embeds": told["pooled"].to(self.base.dtype), "time_ids": geometry},
            return_dict=False,
        )[0]
        return answer

    def call_inputs(self, told: Told, negative: Told | None, guidance: float) -> dict[str, Any]:
        """Embeddings and guidance."""
        return {
            **super().call_inputs(told, negative, guidance),
            "pooled_prompt_embeds": told["pooled"],
            "negative_pooled_prompt_embeds": None if negative is None else negative["pooled"],
        }
