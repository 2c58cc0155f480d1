"""Qwen-Image: rectified flow in a two-stream transformer, told by Qwen2.5-VL (Wu et al. 2025, arXiv:2508.02324)."""

from functools import cached_property
from typing import Any, ClassVar

import torch

from assetforge.errors import UsageError
from assetforge_diffusers.basefiles import BaseFiles
from assetforge_diffusers.families.base import Family, LayerNames, Tokens, Told
from assetforge_diffusers.families.channels import ChannelScale
from assetforge_diffusers.objective import Flow

__all__ = ["QwenImage"]

_INSTRUCTION = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the objects and "
    "background:<|im_end|>\n<|im_start|>user\n"
)
_END = "<|im_end|>\n<|im_start|>assistant\n"
_DROPPED = 34  # tokens of the instruction, which the network is not told
_TOKENS = 512  # what the reference pipeline takes by default, after these
_PATCH = 2


class QwenImage(Family):
    """Qwen-Image, Qwen-Image-2512, and everything trained from them to draw from captions.

    Args:
        base: The base model's files.

    Raises:
        UsageError: It is made to edit pictures or to draw layers.
    """

    name: ClassVar[str] = "qwen-image"
    pipeline_class: ClassVar[str] = "QwenImagePipeline"
    encoder_names: ClassVar[tuple[str, ...]] = ("text_encoder",)
    regions: ClassVar[tuple[str, ...]] = ("QwenImageTransformerBlock",)
    layers: ClassVar[LayerNames] = {
        "attention": (
            *("to_q", "to_k", "to_v", "to_out.0"),
            *("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
        ),
        "ff": ("img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2"),
    }

    def __init__(self, base: BaseFiles) -> None:
        super().__init__(base)
        config = base.config(self.denoiser_name)
        others = ("zero_cond_t", "use_additional_t_cond", "use_layer3d_rope", "guidance_embeds")
        if base.has("processor") or any(config.get(name) for name in others):
            raise UsageError(
                f"The base model {base.path} is a Qwen-Image for editing or layers, which is told pictures as well as captions.",
                hint="Take Qwen-Image itself.",
            )

    @property
    def architecture(self) -> str:
        """``modelspec.architecture``, as musubi-tuner writes and SwarmUI reads it."""
        return "Qwen-Image/lora"

    @property
    def base_version(self) -> str:
        """``ss_base_model_version``, as musubi-tuner writes it."""
        return "qwen_image"

    @property
    def latent_factor(self) -> int:
        """Pixels per latent pixel."""
        return int(2 ** len(self._autoencoder_config["temperal_downsample"]))

    @property
    def size_multiple(self) -> int:
        """A token is a square of latent pixels."""
        return self.latent_factor * _PATCH

    @torch.no_grad()
    def encode_pictures(self, pixels: torch.Tensor) -> torch.Tensor:
        """See :meth:`Family.encode_pictures`; the autoencoder is one of videos, and a picture a video of one frame."""
        vae = self.base.load("vae")
        frames = pixels.to(vae.device).permute(0, 3, 1, 2).unsqueeze(2).to(vae.dtype) / 127.5 - 1.0
        moments: torch.Tensor = vae.encode(frames).latent_dist.parameters.float()
        return moments.squeeze(2)

    def scale_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """From the autoencoder's latents to the denoiser's: every channel has mean 0 and deviation 1."""
        return self._channel_scale(latents)

    @cached_property
    def _channel_scale(self) -> ChannelScale:
        return ChannelScale(self._autoencoder_config["latents_mean"], self._autoencoder_config["latents_std"])

    def tokenize(self, caption: str) -> tuple[Tokens, int]:
        """Token ids and mask of the caption behind the instruction that the network was trained with."""
        tokenizer = self.base.load("tokenizer")
        text, length = f"{_INSTRUCTION}{caption}{_END}", _DROPPED + _TOKENS
        taken = tokenizer(
            text, padding="max_length", padding_side="right", max_length=length, truncation=True, return_tensors="pt"
        )
        missing = len(tokenizer(text, truncation=False, verbose=False).input_ids) - length
        return {"ids": taken.input_ids[0], "mask": taken.attention_mask[0]}, max(0, missing)

    def encode_tokens(self, tokens: Tokens) -> Told:
        """Hidden states of the last layer without those of the instruction, (batch, 512, width), zero where there is no token, and the mask, (batch, 512)."""
        encoder = self.base.load("text_encoder")
        mask = tokens["mask"].to(encoder.device)
        answer = encoder(
            input_ids=tokens["ids"].to(encoder.device),
            attention_mask=mask,
            output_hidden_states=True,
            logits_to_keep=1,
        )
        told = mask[:, _DROPPED:].bool()
        return {"hidden": answer.hidden_states[-1][:, _DROPPED:].masked_fill(~told[..., None], 0.0), "mask": told}

    @cached_property
    def objective(self) -> Flow:
        """Rectified flow, shifted for the picture's size as the base's scheduler says."""
        return Flow(self.base.config("scheduler"), _PATCH)

    def predict(self, noisy: torch.Tensor, time: torch.Tensor, told: Told, geometry: torch.Tensor) -> torch.Tensor:
        """The transformer's velocity, noise minus picture."""
        del geometry
        transformer, (batch, _, height, width) = self.denoiser, noisy.shape
        answer = transformer(
            hidden_states=_pack(noisy.to(self.base.dtype)),
            timestep=time,
            encoder_hidden_states=told["hidden"].to(self.base.dtype),
            encoder_hidden_states_mask=told["mask"],
            img_shapes=[[(1, height // _PATCH, width // _PATCH)]] * batch,
            return_dict=False,
        )[0]
        return _unpack(answer, height, width)

    def call_inputs(self, told: Told, negative: Told | None, guidance: float) -> dict[str, Any]:
        """Embeddings as long as the longest caption, their masks, and guidance."""
        hidden, mask = _cut(told)
        less, less_mask = (None, None) if negative is None else _cut(negative)
        return {
            "prompt_embeds": hidden,
            "prompt_embeds_mask": mask,
            "negative_prompt_embeds": less,
            "negative_prompt_embeds_mask": less_mask,
            "true_cfg_scale": 1.0 if negative is None else guidance,
        }


def _cut(told: Told) -> tuple[torch.Tensor, torch.Tensor]:
    mask = told["mask"]
    longest = int(mask.sum(1).max())
    return told["hidden"][:, :longest], mask[:, :longest].long()


def _pack(latents: torch.Tensor) -> torch.Tensor:
    """(batch, tokens, 4 * channels) from (batch, channels, h, w): squares of 2 x 2 latent pixels, row by row."""
    batch, channels, height, width = latents.shape
    squares = latents.reshape(batch, channels, height // _PATCH, _PATCH, width // _PATCH, _PATCH)
    return squares.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * _PATCH * _PATCH)


def _unpack(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(batch, channels, h, w) from (batch, tokens, 4 * channels)."""
    squares = tokens.reshape(len(tokens), height // _PATCH, width // _PATCH, -1, _PATCH, _PATCH)
    return squares.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), -1, height, width)
