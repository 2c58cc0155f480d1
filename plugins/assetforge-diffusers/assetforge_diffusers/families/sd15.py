"""Stable Diffusion 1.x: one CLIP text encoder, a conditional UNet, a KL autoencoder, noise or velocity prediction."""

from functools import cached_property
from typing import Any, ClassVar

import torch

from assetforge.errors import UsageError
from assetforge_diffusers.families.base import Family, LayerNames, Tokens, Told
from assetforge_diffusers.objective import Diffusion

__all__ = ["CLIP_LAYERS", "UNET_LAYERS", "StableDiffusion15", "clip_tokens"]

UNET_LAYERS: LayerNames = {
    "attention": ("to_q", "to_k", "to_v", "to_out.0"),
    "ff": ("proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
    "conv": ("conv1", "conv2", "conv_shortcut", "time_emb_proj"),
}
CLIP_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


def clip_tokens(tokenizer: Any, caption: str) -> tuple[torch.Tensor, int]:
    """Token ids (length,), padded to the tokenizer's length, and how many tokens did not fit."""
    length = tokenizer.model_max_length
    ids = tokenizer(caption, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids[0]
    missing = len(tokenizer(caption, truncation=False, verbose=False).input_ids) - length
    return ids, max(0, missing)


class StableDiffusion15(Family):
    """Stable Diffusion 1.4, 1.5, and everything trained from them."""

    name: ClassVar[str] = "sd15"
    pipeline_class: ClassVar[str] = "StableDiffusionPipeline"
    denoiser_name: ClassVar[str] = "unet"
    encoder_names: ClassVar[tuple[str, ...]] = ("text_encoder",)
    adaptable_encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)
    regions: ClassVar[tuple[str, ...]] = ("BasicTransformerBlock", "ResnetBlock2D")
    layers: ClassVar[LayerNames] = {**UNET_LAYERS, "text": CLIP_LAYERS}

    @property
    def architecture(self) -> str:
        """``modelspec.architecture``."""
        return "stable-diffusion-v1/lora"

    @property
    def base_version(self) -> str:
        """``ss_base_model_version``."""
        return "sd_v1"

    @cached_property
    def objective(self) -> Diffusion:
        """Noise or velocity, as the base's scheduler says."""
        scheduler = self.base.load("scheduler")
        prediction = scheduler.config.prediction_type
        if prediction not in {"epsilon", "v_prediction"}:
            raise UsageError(
                f"The base model {self.base.path} predicts {prediction}; only epsilon and v_prediction are known for Stable Diffusion.",
                hint="Check the scheduler's settings in the base model's folder.",
            )
        return Diffusion(scheduler.alphas_cumprod, prediction)

    def tokenize(self, caption: str) -> tuple[Tokens, int]:
        """Token ids of the CLIP tokenizer."""
        ids, missing = clip_tokens(self.base.load("tokenizer"), caption)
        return {"ids": ids}, missing

    def encode_tokens(self, tokens: Tokens) -> Told:
        """Hidden states of the last layer, (batch, length, width)."""
        encoder = self.base.load("text_encoder")
        return {"hidden": encoder(tokens["ids"].to(encoder.device))[0]}

    def predict(self, noisy: torch.Tensor, time: torch.Tensor, told: Told, geometry: torch.Tensor) -> torch.Tensor:
        """The UNet's noise or velocity."""
        del geometry
        unet = self.denoiser
        answer: torch.Tensor = unet(
            noisy.to(self.base.dtype), time, encoder_hidden_states=told["hidden"].to(self.base.dtype), return_dict=False
        )[0]
        return answer

    def call_inputs(self, told: Told, negative: Told | None, guidance: float) -> dict[str, Any]:
        """Embeddings and guidance."""
        return {
            "prompt_embeds": told["hidden"],
            "negative_prompt_embeds": None if negative is None else negative["hidden"],
            "guidance_scale": guidance,
        }
