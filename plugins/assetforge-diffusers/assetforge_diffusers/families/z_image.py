"""Z-Image: rectified flow in a single-stream transformer, told by Qwen3 (Z-Image team 2025, arXiv:2511.22699)."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from assetforge.errors import UsageError
from assetforge_diffusers.basefiles import BaseFiles
from assetforge_diffusers.families.base import Family, LayerNames, Tokens, Told
from assetforge_diffusers.families.inputs import require_text_to_image
from assetforge_diffusers.objective import Flow

__all__ = ["ZImage"]

_TOKENS = 512  # what the reference pipeline takes by default
_MULTIPLE = 32  # the network fills both captions and pictures up to a multiple of this, with tokens that it has learnt


class ZImage(Family):
    """Z-Image, Z-Image-Turbo, and everything trained from them.

    Its network counts time the other way round (0 is noise) and predicts picture minus noise; :meth:`predict` turns both.

    Guidance is that of all families: 1 is none, and ``w`` is without + w * (with - without). The reference pipeline counts from 0, so it is given
    ``w - 1``.

    Args:
        base: The base model's files.

    Raises:
        UsageError: It is no text-to-image model.
    """

    name: ClassVar[str] = "z-image"
    pipeline_class: ClassVar[str] = "ZImagePipeline"
    encoder_names: ClassVar[tuple[str, ...]] = ("text_encoder",)
    regions: ClassVar[tuple[str, ...]] = ("ZImageTransformerBlock",)
    layers: ClassVar[LayerNames] = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0"),
        "ff": ("feed_forward.w1", "feed_forward.w2", "feed_forward.w3"),
    }

    def __init__(self, base: BaseFiles) -> None:
        super().__init__(base)
        require_text_to_image(base, self.denoiser_name)
        if base.config(self.denoiser_name).get("siglip_feat_dim"):
            raise UsageError(
                f"The base model {base.path} is Z-Image Omni, which is told pictures as well as captions.",
                hint="Take Z-Image or Z-Image-Turbo.",
            )

    @property
    def architecture(self) -> str:
        """``modelspec.architecture``, as musubi-tuner writes and SwarmUI reads it."""
        return "Z-Image/lora"

    @property
    def base_version(self) -> str:
        """``ss_base_model_version``, as musubi-tuner writes it."""
        return "z_image"

    @property
    def size_multiple(self) -> int:
        """A token is a square of latent pixels."""
        return self.latent_factor * self._patch

    @cached_property
    def _patch(self) -> int:
        return int(self.base.config(self.denoiser_name).get("all_patch_size", (2,))[0])

    def tokenize(self, caption: str) -> tuple[Tokens, int]:
        """Token ids and mask of the caption as a user's message in the chat template."""
        tokenizer = self.base.load("tokenizer")
        message = tokenizer.apply_chat_template(
            [{"role": "user", "content": caption}], tokenize=False, add_generation_prompt=True, enable_thinking=True
        )
        taken = tokenizer(
            message,
            padding="max_length",
            padding_side="right",
            max_length=_TOKENS,
            truncation=True,
            return_tensors="pt",
        )
        missing = len(tokenizer(message, truncation=False, verbose=False).input_ids) - _TOKENS
        return {"ids": taken.input_ids[0], "mask": taken.attention_mask[0]}, max(0, missing)

    def encode_tokens(self, tokens: Tokens) -> Told:
        """Hidden states before the last layer, (batch, 512, width), zero where there is no token, and the mask, (batch, 512)."""
        encoder = self.base.load("text_encoder")
        mask = tokens["mask"].to(encoder.device).bool()
        answer = encoder(input_ids=tokens["ids"].to(encoder.device), attention_mask=mask, output_hidden_states=True)
        return {"hidden": answer.hidden_states[-2].masked_fill(~mask[..., None], 0.0), "mask": mask}

    @cached_property
    def objective(self) -> Flow:
        """Rectified flow, shifted as the base's scheduler says."""
        return Flow(self.base.config("scheduler"), self._patch)

    def predict(self, noisy: torch.Tensor, time: torch.Tensor, told: Told, geometry: torch.Tensor) -> torch.Tensor:
        """The transformer's velocity, turned round to noise minus picture."""
        del geometry
        dtype = self.base.dtype
        picture_minus_noise = _ask(
            self.denoiser, noisy.to(dtype), 1.0 - time, told["hidden"].to(dtype), told["mask"], self._patch
        )
        return -picture_minus_noise

    def call_inputs(self, told: Told, negative: Told | None, guidance: float) -> dict[str, Any]:
        """Embeddings without padding, and guidance counted from 0."""
        return {
            "prompt_embeds": _cut(told),
            "negative_prompt_embeds": [] if negative is None else _cut(negative),
            "guidance_scale": 0.0 if negative is None else guidance - 1.0,
        }


def _cut(told: Told) -> list[torch.Tensor]:
    return [states[mask] for states, mask in zip(told["hidden"], told["mask"].bool(), strict=True)]


def _ask(
    network: Any, latents: torch.Tensor, share: torch.Tensor, hidden: torch.Tensor, mask: torch.Tensor, patch: int
) -> torch.Tensor:
    """What ``ZImageTransformer2DModel`` answers, (batch, channels, h, w), computed from padded captions of one length.

    The network's own ``forward`` takes captions of many lengths, which the device would have to tell first; here the padding is masked, and no step
    waits. The answers are equal: a caption is filled up to a multiple of 32 by tokens that are seen, and what comes after these is not.

    Args:
        network: The transformer.
        latents: (batch, channels, h, w).
        share: Time as the network counts it, (batch,); 0 is noise, 1 the picture.
        hidden: (batch, length, width), tokens first, padding after them.
        mask: Where tokens are, (batch, length).
        patch: Latent pixels per side of a token.
    """
    captions, ends, seen, caption_turns = _caption_tokens(network, hidden, mask.bool())
    pictures, picture_turns, count = _picture_tokens(network, latents, ends, patch)
    modulation = network.t_embedder(share * network.t_scale).type_as(latents)
    pictures = _run(network, network.noise_refiner, pictures, None, picture_turns, modulation)
    captions = _run(network, network.context_refiner, captions, seen, caption_turns)
    everything = torch.cat((pictures, captions), dim=1)
    visible = torch.cat((seen.new_ones(pictures.shape[:2]), seen), dim=1)
    turns = torch.cat((picture_turns, caption_turns.expand(len(latents), -1, -1)), dim=1)
    everything = _run(network, network.layers, everything, visible, turns, modulation)
    squares = network.all_final_layer[f"{patch}-1"](everything[:, :count], c=modulation)
    batch, channels, height, width = latents.shape
    squares = squares.reshape(batch, height // patch, width // patch, patch, patch, channels)
    drawn: torch.Tensor = squares.permute(0, 5, 1, 3, 2, 4).reshape(latents.shape)
    return drawn


def _caption_tokens(
    network: Any, hidden: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens (batch, length, width), where they end (batch,), which are seen (batch, length), and their rotations (1, length, pairs)."""
    beyond = -mask.shape[1] % _MULTIPLE
    hidden, mask = F.pad(hidden, (0, 0, 0, beyond)), F.pad(mask, (0, beyond))
    tokens = network.cap_embedder(hidden)
    tokens = torch.where(mask[..., None], tokens, network.cap_pad_token.to(tokens.dtype))
    ends = (mask.sum(1) + _MULTIPLE - 1) // _MULTIPLE * _MULTIPLE
    place = torch.arange(mask.shape[1], device=mask.device)
    places = torch.stack((place + 1, torch.zeros_like(place), torch.zeros_like(place)), dim=-1)
    return tokens, ends, place < ends[:, None], network.rope_embedder(places)[None]


def _picture_tokens(
    network: Any, latents: torch.Tensor, ends: torch.Tensor, patch: int
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Tokens (batch, count, width), their rotations (batch, count, pairs), and how many of them stand for the picture."""
    batch, channels, height, width = latents.shape
    rows, columns = height // patch, width // patch
    squares = latents.reshape(batch, channels, rows, patch, columns, patch)
    squares = squares.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, -1)
    tokens = network.all_x_embedder[f"{patch}-1"](squares)
    count = rows * columns
    beyond = -count % _MULTIPLE
    padding = network.x_pad_token.to(tokens.dtype).expand(batch, beyond, -1)
    place = torch.arange(count, device=latents.device)
    grid = torch.stack((place // columns, place % columns), dim=-1).expand(batch, -1, -1)
    starts = (ends + 1)[:, None, None].expand(-1, count, -1)
    places = F.pad(torch.cat((starts, grid), dim=-1), (0, 0, 0, beyond))
    turns = network.rope_embedder(places.flatten(0, 1)).reshape(*places.shape[:2], -1)
    return torch.cat((tokens, padding), dim=1), turns, count


def _run(
    network: Any,
    layers: Iterable[Any],
    tokens: torch.Tensor,
    seen: torch.Tensor | None,
    turns: torch.Tensor,
    modulation: torch.Tensor | None = None,
) -> torch.Tensor:
    for layer in layers:
        if network.gradient_checkpointing and torch.is_grad_enabled():
            tokens = checkpoint(layer, tokens, seen, turns, modulation, use_reentrant=False)
        else:
            tokens = layer(tokens, seen, turns, modulation)
    return tokens
