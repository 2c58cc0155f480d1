"""FLUX.1: rectified flow in a transformer of double and single blocks, told by T5 and by CLIP's summary (Black Forest Labs 2024)."""

from functools import cached_property, lru_cache
from typing import Any, ClassVar

import torch

from assetforge_diffusers.basefiles import BaseFiles
from assetforge_diffusers.families.base import Family, LayerNames, Tokens, Told
from assetforge_diffusers.families.inputs import require_text_to_image
from assetforge_diffusers.families.sd15 import CLIP_LAYERS, clip_tokens
from assetforge_diffusers.objective import Flow

__all__ = ["Flux1"]

_PATCH = 2
_MOST_BLOCKS = 64  # FLUX.1 has 38 single blocks
_T5_TOKENS, _T5_TOKENS_SCHNELL = 512, 256  # what dev and schnell were trained with


def _pack(latents: torch.Tensor) -> torch.Tensor:
    """One token for each square of latent pixels: (batch, channels, height, width) to (batch, height * width / 4, channels * 4)."""
    return torch.nn.functional.pixel_unshuffle(latents, _PATCH).flatten(2).transpose(1, 2)


def _unpack(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The reverse of :func:`_pack`."""
    squares = tokens.transpose(1, 2).unflatten(2, (height // _PATCH, width // _PATCH))
    return torch.nn.functional.pixel_shuffle(squares, _PATCH)


@lru_cache(maxsize=64)
def _positions(words: int, rows: int, columns: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Where tokens are, (words, 3) and (rows * columns, 3): words nowhere, squares at (0, row, column)."""
    with torch.inference_mode(mode=False):  # learning must be able to use what a preview has left here
        grid = torch.cartesian_prod(torch.zeros(1), torch.arange(float(rows)), torch.arange(float(columns)))
        return torch.zeros(words, 3, device=device), grid.to(device)


class Flux1(Family):
    """FLUX.1 dev and schnell, and everything trained from them.

    Dev is distilled: guidance is one of its inputs, and 1 while it learns. Schnell knows no guidance; which of the two a base is, is told apart
    by that input, as in kohya's scripts.

    Args:
        base: The base model's files.

    Raises:
        UsageError: It is no text-to-image model.
    """

    name: ClassVar[str] = "flux1"
    pipeline_class: ClassVar[str] = "FluxPipeline"
    encoder_names: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")
    adaptable_encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)
    regions: ClassVar[tuple[str, ...]] = ("FluxTransformerBlock", "FluxSingleTransformerBlock")
    layers: ClassVar[LayerNames] = {
        "attention": (
            *("to_q", "to_k", "to_v", "to_out.0"),
            *("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
        ),
        "ff": (
            *("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2", "proj_mlp"),
            # by number, because the layer after the last block is called proj_out too
            *(f"single_transformer_blocks.{block}.proj_out" for block in range(_MOST_BLOCKS)),
        ),
        "text": CLIP_LAYERS,
    }
    true_guidance: ClassVar[bool] = False

    def __init__(self, base: BaseFiles) -> None:
        super().__init__(base)
        require_text_to_image(base, self.denoiser_name, patch=_PATCH)

    @cached_property
    def _guided(self) -> bool:
        return bool(self.base.config(self.denoiser_name).get("guidance_embeds", False))

    @property
    def architecture(self) -> str:
        """``modelspec.architecture``."""
        return f"flux-1-{'dev' if self._guided else 'schnell'}/lora"

    @property
    def base_version(self) -> str:
        """``ss_base_model_version``."""
        return "flux1"

    @property
    def size_multiple(self) -> int:
        """A token is a square of latent pixels."""
        return self.latent_factor * _PATCH

    def tokenize(self, caption: str) -> tuple[Tokens, int]:
        """Token ids of the CLIP and the T5 tokenizer; what fits T5 counts as fitting."""
        ids, _ = clip_tokens(self.base.load("tokenizer"), caption)
        tokenizer, length = self.base.load("tokenizer_2"), _T5_TOKENS if self._guided else _T5_TOKENS_SCHNELL
        longer = tokenizer(caption, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        missing = len(tokenizer(caption, truncation=False, verbose=False).input_ids) - length
        return {"ids": ids, "ids_2": longer.input_ids[0]}, max(0, missing)

    def encode_tokens(self, tokens: Tokens) -> Told:
        """States of T5, (batch, 512 or 256, 4096), and CLIP's pooled one, (batch, 768). T5 is never trained, and sees its padding."""
        clip = self.base.load("text_encoder")
        hidden = self.encode_frozen(tokens)["states_2"]
        return {"hidden": hidden, "pooled": clip(tokens["ids"].to(clip.device)).pooler_output}

    def encode_frozen(self, tokens: Tokens) -> Tokens:
        """With T5's states."""
        if "states_2" in tokens:
            return tokens
        t5 = self.base.load("text_encoder_2")
        with torch.no_grad():
            hidden = t5(tokens["ids_2"].to(t5.device))[0]
        return {"ids": tokens["ids"], "states_2": hidden}

    @cached_property
    def objective(self) -> Flow:
        """Rectified flow, shifted as the base's scheduler says: dev by the picture's size, schnell not at all."""
        return Flow(self.base.config("scheduler"), _PATCH)

    def predict(self, noisy: torch.Tensor, time: torch.Tensor, told: Told, geometry: torch.Tensor) -> torch.Tensor:
        """The transformer's velocity, noise minus picture."""
        del geometry
        transformer = self.denoiser
        height, width = noisy.shape[-2:]
        words, squares = _positions(told["hidden"].shape[1], height // _PATCH, width // _PATCH, noisy.device)
        answer = transformer(
            hidden_states=_pack(noisy.to(self.base.dtype)),
            timestep=time,
            guidance=torch.ones(len(noisy), device=noisy.device) if self._guided else None,
            pooled_projections=told["pooled"].to(self.base.dtype),
            encoder_hidden_states=told["hidden"].to(self.base.dtype),
            txt_ids=words,
            img_ids=squares,
            return_dict=False,
        )[0]
        return _unpack(answer, height, width)

    def call_inputs(self, told: Told, negative: Told | None, guidance: float) -> dict[str, Any]:
        """Embeddings and guidance; negative prompts are not known."""
        del negative
        return {
            "prompt_embeds": told["hidden"],
            "pooled_prompt_embeds": told["pooled"],
            "guidance_scale": guidance,
        }
