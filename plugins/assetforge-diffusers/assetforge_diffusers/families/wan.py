"""Wan 2.1 and 2.2: rectified flow over videos, told by UMT5 (Wan team 2025, arXiv:2503.20314); trained from stills and short clips."""

import html
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import torch

from assetforge.errors import UsageError
from assetforge_diffusers.basefiles import BaseFiles
from assetforge_diffusers.families.base import Family, LayerNames, Tokens, Told
from assetforge_diffusers.families.channels import ChannelScale
from assetforge_diffusers.objective import Flow

__all__ = ["Wan"]

_TOKENS = 512  # what the reference pipeline takes by default
_HINT = "Take Wan 2.1 text-to-video 1.3B or 14B, or Wan 2.2 TI2V 5B."


class Wan(Family):
    """Wan 2.1 text-to-video 1.3B and 14B, Wan 2.2 TI2V 5B, and everything trained from them.

    Latents have a dimension of time before height and width; a still is a clip of one frame.

    Args:
        base: The base model's files.

    Raises:
        UsageError: It is told pictures, or is the Wan 2.2 of two networks.
    """

    name: ClassVar[str] = "wan"
    pipeline_class: ClassVar[str] = "WanPipeline"
    encoder_names: ClassVar[tuple[str, ...]] = ("text_encoder",)
    regions: ClassVar[tuple[str, ...]] = ("WanTransformerBlock",)
    layers: ClassVar[LayerNames] = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0"),
        "ff": ("ffn.net.0.proj", "ffn.net.2"),
    }

    def __init__(self, base: BaseFiles) -> None:
        super().__init__(base)
        described = json.loads((base.folder / "model_index.json").read_text(encoding="utf-8"))
        if base.has("transformer_2") or described.get("boundary_ratio") is not None:
            raise UsageError(
                f"The base model {base.path} is Wan 2.2 A14B, whose two networks for much and for little noise would need a LoRA each.",
                hint=_HINT,
            )
        config, channels = self._network_config, base.config("vae").get("z_dim", 16)
        pictures = config.get("image_dim") or config.get("added_kv_proj_dim") or config.get("vace_layers")
        if pictures or config.get("in_channels", 16) != channels:
            raise UsageError(
                f"The base model {base.path} is a Wan for image-to-video or editing, which is told pictures as well as captions.",
                hint=_HINT,
            )

    @cached_property
    def _network_config(self) -> dict[str, Any]:
        return self.base.config(self.denoiser_name)

    @property
    def architecture(self) -> str:
        """``modelspec.architecture``, as SwarmUI reads it; told apart by size."""
        config = self._network_config
        if self.latent_factor > 8:
            return "wan-2_2-ti2v-5b/lora"
        width = config.get("num_attention_heads", 40) * config.get("attention_head_dim", 128)
        return "wan-2_1-text2video-14b/lora" if width > 1536 else "wan-2_1-text2video-1_3b/lora"

    @property
    def base_version(self) -> str:
        """``ss_base_model_version``, as musubi-tuner writes it."""
        return "wan"

    # Pictures

    @property
    def latent_factor(self) -> int:
        """Pixels per latent pixel."""
        return int(self._autoencoder_config.get("scale_factor_spatial", 8))

    @property
    def frame_factor(self) -> int:
        """Frames per latent frame after the first, which stands for itself."""
        return int(self._autoencoder_config.get("scale_factor_temporal", 4))

    @property
    def size_multiple(self) -> int:
        """A token is a square of latent pixels."""
        return self.latent_factor * int(self._network_config.get("patch_size", (1, 2, 2))[-1])

    @torch.no_grad()
    def encode_pictures(self, pixels: torch.Tensor) -> torch.Tensor:
        """Moments of the posterior, (batch, 2 * channels, latent frames, h, w), fp32.

        Args:
            pixels: sRGB uint8 stills, (batch, height, width, 3), or clips, (batch, frames, height, width, 3).

        Raises:
            UsageError: The number of frames is not one more than a multiple of :attr:`frame_factor`.
        """
        frames = pixels.unsqueeze(1) if pixels.ndim == 4 else pixels
        count = frames.shape[1]
        if count % self.frame_factor != 1:
            raise UsageError(
                f"A clip of {count} frames does not fit Wan, whose clips have 1, {self.frame_factor + 1}, {2 * self.frame_factor + 1} ... frames.",
                hint=f"Cut it to {max(1, (count - 1) // self.frame_factor * self.frame_factor + 1)} frames.",
            )
        vae = self.base.load("vae")
        clip = frames.to(vae.device).permute(0, 4, 1, 2, 3).to(vae.dtype) / 127.5 - 1.0
        moments: torch.Tensor = vae.encode(clip).latent_dist.parameters.float()
        return moments

    def scale_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """From the autoencoder's latents to the denoiser's: every channel has mean 0 and deviation 1."""
        return self._channel_scale(latents)

    @cached_property
    def _channel_scale(self) -> ChannelScale:
        return ChannelScale(self._autoencoder_config["latents_mean"], self._autoencoder_config["latents_std"])

    # Captions

    def tokenize(self, caption: str) -> tuple[Tokens, int]:
        """Token ids and mask of the caption, its HTML entities read and its white space made plain, as in the reference pipeline."""
        tokenizer = self.base.load("tokenizer")
        text = " ".join(html.unescape(html.unescape(caption)).split())
        taken = tokenizer(
            text, padding="max_length", padding_side="right", max_length=_TOKENS, truncation=True, return_tensors="pt"
        )
        missing = len(tokenizer(text, truncation=False, verbose=False).input_ids) - _TOKENS
        return {"ids": taken.input_ids[0], "mask": taken.attention_mask[0]}, max(0, missing)

    def encode_tokens(self, tokens: Tokens) -> Told:
        """Hidden states of the last layer, (batch, 512, width), zero where there is no token; the network sees these zeros."""
        encoder = self.base.load("text_encoder")
        mask = tokens["mask"].to(encoder.device)
        states = encoder(tokens["ids"].to(encoder.device), mask).last_hidden_state
        return {"hidden": states.masked_fill(mask[..., None] == 0, 0.0)}

    # Learning

    @cached_property
    def objective(self) -> Flow:
        """Rectified flow, shifted as the base's scheduler says."""
        config: Mapping[str, Any] = self.base.config("scheduler")
        return Flow({"shift": config.get("flow_shift", config.get("shift", 1.0))})

    def predict(self, noisy: torch.Tensor, time: torch.Tensor, told: Told, geometry: torch.Tensor) -> torch.Tensor:
        """The transformer's velocity, noise minus picture.

        The reference pipeline gives Wan 2.2 TI2V the time of every token; they are all equal when only a caption is told, so one stands for all.
        """
        del geometry
        transformer = self.denoiser
        answer: torch.Tensor = transformer(
            hidden_states=noisy.to(self.base.dtype),
            timestep=time * self._timesteps,
            encoder_hidden_states=told["hidden"].to(self.base.dtype),
            return_dict=False,
        )[0]
        return answer

    @cached_property
    def _timesteps(self) -> int:
        return int(self.base.config("scheduler").get("num_train_timesteps", 1000))

    # Rendering

    def call_inputs(self, told: Told, negative: Told | None, guidance: float) -> dict[str, Any]:
        """Embeddings and guidance, for a clip of one frame: a still."""
        return {
            "prompt_embeds": told["hidden"],
            "negative_prompt_embeds": None if negative is None else negative["hidden"],
            "guidance_scale": 1.0 if negative is None else guidance,
            "num_frames": 1,
        }
