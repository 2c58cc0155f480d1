"""Stable Diffusion 3 and 3.5: rectified flow in an MMDiT, told by two CLIPs and T5 (Esser et al. 2024, arXiv:2403.03206)."""

from functools import cached_property
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from diffusers import StableDiffusion3Pipeline

from assetforge_diffusers.basefiles import BaseFiles
from assetforge_diffusers.families.base import Family, LayerNames, Tokens, Told
from assetforge_diffusers.families.inputs import require_text_to_image
from assetforge_diffusers.families.sd15 import CLIP_LAYERS, clip_tokens
from assetforge_diffusers.objective import Flow

__all__ = ["StableDiffusion3"]

_T5_TOKENS = 256  # what the reference pipeline takes by default


class StableDiffusion3(Family):
    """Stable Diffusion 3 medium, 3.5 medium and 3.5 large, and everything trained from them.

    A base without T5 is told zeros in its place, as in the reference pipeline.

    Args:
        base: The base model's files.

    Raises:
        UsageError: It is no text-to-image model.
    """

    name: ClassVar[str] = "sd3"
    pipeline_class: ClassVar[str] = "StableDiffusion3Pipeline"
    encoder_names: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2", "text_encoder_3")
    adaptable_encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")
    regions: ClassVar[tuple[str, ...]] = ("JointTransformerBlock", "SD3SingleTransformerBlock")
    layers: ClassVar[LayerNames] = {
        "attention": (
            *("to_q", "to_k", "to_v", "to_out.0"),
            *("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
        ),
        "ff": ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2"),
        "text": CLIP_LAYERS,
    }

    def __init__(self, base: BaseFiles) -> None:
        super().__init__(base)
        require_text_to_image(base, self.denoiser_name)

    @cached_property
    def _model(self) -> str:
        """Which of the three it is; told apart as kohya's scripts do: 3.5 normalises queries and keys, 3.5 medium has blocks with two attentions."""
        config = self.base.config(self.denoiser_name)
        if not config.get("qk_norm"):
            return "3_medium"
        return "3.5_medium" if config.get("dual_attention_layers") else "3.5_large"

    @property
    def architecture(self) -> str:
        """``modelspec.architecture``: the base's own, as its publisher wrote it into the checkpoints, and as SwarmUI reads it."""
        return f"stable-diffusion-v{self._model.replace('_', '-')}/lora"

    @property
    def base_version(self) -> str:
        """``ss_base_model_version``: the name of the checkpoint. kohya's scripts write ``5-large`` and the like, in which no tool sees its family."""
        return f"sd{self._model}"

    @cached_property
    def pipeline(self) -> Any:
        """The reference pipeline of diffusers over the same networks; one that a base lacks must be passed to it as ``None``."""
        if self.base.has("text_encoder_3"):
            return self.base.pipeline()
        parts = {
            "text_encoder_3": None,
            "tokenizer_3": None,
            **{name: self.base.load(name) for name in self.base.names},
        }
        kind: Any = StableDiffusion3Pipeline
        built = kind(**parts)
        built.set_progress_bar_config(disable=True)
        return built

    @property
    def size_multiple(self) -> int:
        """A token is a square of latent pixels."""
        return self.latent_factor * self._patch

    @property
    def _patch(self) -> int:
        return int(self.base.config(self.denoiser_name).get("patch_size", 2))

    def tokenize(self, caption: str) -> tuple[Tokens, int]:
        """Token ids of both CLIP tokenizers, and of T5's where there is one; what fits T5 counts as fitting."""
        first, missing = clip_tokens(self.base.load("tokenizer"), caption)
        second, _ = clip_tokens(self.base.load("tokenizer_2"), caption)
        tokens = {"ids": first, "ids_2": second}
        if self.base.has("text_encoder_3"):
            tokenizer = self.base.load("tokenizer_3")
            tokens["ids_3"] = tokenizer(
                caption, padding="max_length", max_length=_T5_TOKENS, truncation=True, return_tensors="pt"
            ).input_ids[0]
            missing = max(0, len(tokenizer(caption, truncation=False, verbose=False).input_ids) - _T5_TOKENS)
        return tokens, missing

    def encode_tokens(self, tokens: Tokens) -> Told:
        """States of the CLIPs side by side, then those of T5, (batch, 77 + 256, 4096), and the CLIPs' pooled ones, (batch, 2048)."""
        first, second = (self.base.load(name) for name in self.adaptable_encoders)
        answers = [
            first(tokens["ids"].to(first.device), output_hidden_states=True),
            second(tokens["ids_2"].to(second.device), output_hidden_states=True),
        ]
        states = torch.cat([answer.hidden_states[-2] for answer in answers], dim=-1)
        longer = self._t5_states(tokens, states)
        states = F.pad(states, (0, longer.shape[-1] - states.shape[-1]))
        return {
            "hidden": torch.cat((states, longer), dim=-2),
            "pooled": torch.cat([answer.text_embeds for answer in answers], dim=-1),
        }

    def _t5_states(self, tokens: Tokens, like: torch.Tensor) -> torch.Tensor:
        """(batch, 256, 4096) on the device and in the format of ``like``. T5 is never trained, and sees its padding, as in the reference pipeline."""
        if not self.base.has("text_encoder_3"):
            width = self.base.config(self.denoiser_name)["joint_attention_dim"]
            return like.new_zeros((like.shape[0], _T5_TOKENS, width))
        return self.encode_frozen(tokens)["states_3"].to(like)

    def encode_frozen(self, tokens: Tokens) -> Tokens:
        """With T5's states, where there is one."""
        if "states_3" in tokens or not self.base.has("text_encoder_3"):
            return tokens
        encoder = self.base.load("text_encoder_3")
        with torch.no_grad():
            states: torch.Tensor = encoder(tokens["ids_3"].to(encoder.device))[0]
        return {"ids": tokens["ids"], "ids_2": tokens["ids_2"], "states_3": states}

    @cached_property
    def objective(self) -> Flow:
        """Rectified flow, shifted as the base's scheduler says."""
        return Flow(self.base.config("scheduler"), self._patch)

    def predict(self, noisy: torch.Tensor, time: torch.Tensor, told: Told, geometry: torch.Tensor) -> torch.Tensor:
        """The transformer's velocity, noise minus picture."""
        del geometry
        transformer = self.denoiser
        answer: torch.Tensor = transformer(
            hidden_states=noisy.to(self.base.dtype),
            timestep=time * self._timesteps,
            encoder_hidden_states=told["hidden"].to(self.base.dtype),
            pooled_projections=told["pooled"].to(self.base.dtype),
            return_dict=False,
        )[0]
        return answer

    @cached_property
    def _timesteps(self) -> int:
        return int(self.base.config("scheduler").get("num_train_timesteps", 1000))

    def call_inputs(self, told: Told, negative: Told | None, guidance: float) -> dict[str, Any]:
        """Embeddings and guidance."""
        return {
            "prompt_embeds": told["hidden"],
            "pooled_prompt_embeds": told["pooled"],
            "negative_prompt_embeds": None if negative is None else negative["hidden"],
            "negative_pooled_prompt_embeds": None if negative is None else negative["pooled"],
            "guidance_scale": guidance,
        }
