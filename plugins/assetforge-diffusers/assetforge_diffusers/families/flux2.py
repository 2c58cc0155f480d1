"""FLUX.2: rectified flow in a transformer of double and single blocks, told by a language model (Black Forest Labs 2025).

Dev is told by Mistral and is distilled, so that guidance is one of its inputs. Klein, in two sizes, is told by Qwen3, and asked twice for guidance unless it is
distilled to few steps.
"""

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import diffusers
import torch
import torch.nn.functional as F  # noqa: N812
from diffusers.pipelines.flux2.pipeline_flux2 import format_input
from transformers import AutoTokenizer

from assetforge.errors import UsageError
from assetforge_diffusers.basefiles import BaseFiles
from assetforge_diffusers.families.base import Family, LayerNames, Tokens, Told
from assetforge_diffusers.families.inputs import require_text_to_image
from assetforge_diffusers.objective import Flow

__all__ = ["Flux2"]

_PATCH = 2
_TOKENS = 512  # what the reference pipelines take by default
_MOST_BLOCKS = 64  # dev has 48 single blocks
_WIDTH_4B = 3072


@dataclass(frozen=True, slots=True)
class _Reader:
    """How a language model reads captions: the pipeline that shows it, and whose states (counted from the embedding, 0) are passed on."""

    pipeline: str
    states: tuple[int, int, int]


_READERS = {
    "mistral3": _Reader("Flux2Pipeline", (10, 20, 30)),
    "qwen3": _Reader("Flux2KleinPipeline", (9, 18, 27)),
}


@lru_cache(maxsize=64)
def _positions(words: int, rows: int, columns: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Where tokens are, (words, 4) and (rows * columns, 4): words at (0, 0, 0, place), latent pixels at (0, row, column, 0)."""
    with torch.inference_mode(mode=False):  # learning must be able to use what a preview has left here
        here = torch.zeros(1)
        line = torch.cartesian_prod(here, here, here, torch.arange(float(words)))
        grid = torch.cartesian_prod(here, torch.arange(float(rows)), torch.arange(float(columns)), here)
        return line.to(device), grid.to(device)


class Flux2(Family):
    """FLUX.2 dev, klein and klein base, and everything trained from them.

    A latent pixel is a square of four of the autoencoder's, with all their channels, and one token.

    Args:
        base: The base model's files.

    Raises:
        UsageError: It is no text-to-image model, or told by another language model.
    """

    name: ClassVar[str] = "flux2"
    pipeline_class: ClassVar[str] = "Flux2Pipeline"
    encoder_names: ClassVar[tuple[str, ...]] = ("text_encoder",)
    regions: ClassVar[tuple[str, ...]] = ("Flux2TransformerBlock", "Flux2SingleTransformerBlock")
    layers: ClassVar[LayerNames] = {
        "attention": (
            *("to_q", "to_k", "to_v", "to_out.0"),
            *("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
            "to_qkv_mlp_proj",
            # by number, because in double blocks attn.to_out is no layer
            *(f"single_transformer_blocks.{block}.attn.to_out" for block in range(_MOST_BLOCKS)),
        ),
        "ff": ("ff.linear_in", "ff.linear_out", "ff_context.linear_in", "ff_context.linear_out"),
    }
    true_guidance: ClassVar[bool] = False

    def __init__(self, base: BaseFiles) -> None:
        super().__init__(base)
        require_text_to_image(base, self.denoiser_name, patch=_PATCH)
        model = str(base.config("text_encoder").get("model_type"))
        if model not in _READERS:
            raise UsageError(
                f"The base model {base.path} has {model} for a text encoder; FLUX.2 has Mistral 3 or Qwen3.",
                hint="Take FLUX.2 dev or klein, or a model trained from one of them.",
            )
        self._reader = _READERS[model]
        self._klein = model == "qwen3"
        described = json.loads((base.folder / "model_index.json").read_text(encoding="utf-8"))
        self._distilled = bool(described.get("is_distilled", False))
        self.true_guidance = self._klein and not self._distilled
        base.pipeline_class = self._reader.pipeline

    @cached_property
    def _model(self) -> tuple[str, ...]:
        if not self._klein:
            return ("dev",)
        config = self.base.config(self.denoiser_name)
        width = config["num_attention_heads"] * config["attention_head_dim"]
        return ("klein", "4b" if width <= _WIDTH_4B else "9b")

    @property
    def architecture(self) -> str:
        """``modelspec.architecture``, as musubi-tuner writes and SwarmUI reads it."""
        return f"Flux.2-{'-'.join(self._model)}/lora"

    @property
    def base_version(self) -> str:
        """``ss_base_model_version``, as musubi-tuner writes it."""
        return f"flux_2_{'_'.join(self._model)}"

    @cached_property
    def pipeline(self) -> Any:
        """The reference pipeline of diffusers over the same networks, without Mistral's processor: it is shown no pictures."""
        parts = {name: self._tokenizer if name == "tokenizer" else self.base.load(name) for name in self.base.names}
        settings = {"is_distilled": self._distilled} if self._klein else {}
        built = getattr(diffusers, self.base.pipeline_class)(**parts, **settings)
        built.set_progress_bar_config(disable=True)
        return built

    # Pictures

    @property
    def latent_factor(self) -> int:
        """Pixels per latent pixel."""
        return super().latent_factor * _PATCH

    def encode_pictures(self, pixels: torch.Tensor) -> torch.Tensor:
        """Moments of the posterior, (batch, 2 * 4 * channels, h, w), fp32, from sRGB uint8 pixels (batch, height, width, 3)."""
        return F.pixel_unshuffle(super().encode_pictures(pixels), _PATCH)

    def scale_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """From the autoencoder's latents, four to one, to the denoiser's: to mean 0 and variance 1 over the pictures it was trained on."""
        device = latents.device
        if device not in self._statistics:
            self._statistics[device] = [numbers.to(device) for numbers in self._statistics[torch.device("cpu")]]
        mean, deviation = self._statistics[device]
        return (latents - mean) / deviation

    @cached_property
    def _statistics(self) -> dict[torch.device, list[torch.Tensor]]:
        """Mean and standard deviation of latents, each (1, 4 * channels, 1, 1), on the devices where they were asked for."""
        vae = self.base.load("vae")
        mean, variance = (numbers.detach().float().cpu() for numbers in (vae.bn.running_mean, vae.bn.running_var))
        deviation = torch.sqrt(variance + vae.config.batch_norm_eps)
        return {torch.device("cpu"): [numbers.view(1, -1, 1, 1).clone() for numbers in (mean, deviation)]}

    # Captions

    @cached_property
    def _tokenizer(self) -> Any:
        return AutoTokenizer.from_pretrained(self.base.folder / "tokenizer", local_files_only=True)

    def _message(self, caption: str) -> str:
        """The caption in the chat template."""
        if self._klein:
            messages, settings = [{"role": "user", "content": caption}], {"enable_thinking": False}
        else:
            messages, settings = format_input([caption])[0], {}
        text: str = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=self._klein, **settings
        )
        return text

    def tokenize(self, caption: str) -> tuple[Tokens, int]:
        """Token ids and mask of the caption as a user's message in the chat template, padded on the side that the tokenizer says."""
        message, settings = self._message(caption), {"add_special_tokens": self._klein}
        taken = self._tokenizer(
            message, padding="max_length", max_length=_TOKENS, truncation=True, return_tensors="pt", **settings
        )
        missing = len(self._tokenizer(message, truncation=False, verbose=False, **settings).input_ids) - _TOKENS
        return {"ids": taken.input_ids[0], "mask": taken.attention_mask[0]}, max(0, missing)

    @torch.no_grad()
    def encode_tokens(self, tokens: Tokens) -> Told:
        """States of three layers side by side, (batch, 512, 3 * width); the denoiser sees the padding too."""
        encoder = self.base.load("text_encoder")
        states = encoder(
            input_ids=tokens["ids"].to(encoder.device),
            attention_mask=tokens["mask"].to(encoder.device),
            output_hidden_states=True,
            use_cache=False,
            logits_to_keep=1,
        ).hidden_states
        return {"hidden": torch.cat([states[index] for index in self._reader.states], dim=-1)}

    # Learning

    @cached_property
    def objective(self) -> Flow:
        """Rectified flow, shifted by the picture's size as the base's scheduler says, and as musubi-tuner and ai-toolkit train.

        When the reference pipelines sample, they let the shift also depend on the number of steps, which learning does not have.
        """
        return Flow(self.base.config("scheduler"), patch=1)

    def predict(self, noisy: torch.Tensor, time: torch.Tensor, told: Told, geometry: torch.Tensor) -> torch.Tensor:
        """The transformer's velocity, noise minus picture; guidance, where it is an input, is 1."""
        del geometry
        transformer = self.denoiser
        words, places = _positions(told["hidden"].shape[1], *noisy.shape[-2:], noisy.device)
        answer = transformer(
            hidden_states=noisy.to(self.base.dtype).flatten(2).transpose(1, 2),
            timestep=time,
            guidance=None if self._klein else torch.ones(len(noisy), device=noisy.device),
            encoder_hidden_states=told["hidden"].to(self.base.dtype),
            txt_ids=words,
            img_ids=places,
            return_dict=False,
        )[0]
        return answer.transpose(1, 2).unflatten(2, noisy.shape[-2:])

    # Rendering

    def call_inputs(self, told: Told, negative: Told | None, guidance: float) -> dict[str, Any]:
        """Embeddings and guidance; negative prompts where guidance asks twice."""
        inputs = {"prompt_embeds": told["hidden"], "guidance_scale": guidance}
        if self._klein and negative is not None:
            inputs["negative_prompt_embeds"] = negative["hidden"]
        return inputs
