"""What the shared training loop and the renderer ask of a model family, and what most families share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch

from assetforge_diffusers.basefiles import BaseFiles
from assetforge_diffusers.objective import Objective
from assetforge_diffusers.samplers import make_sampler

__all__ = ["Family", "LayerNames", "Tokens", "Told"]

Tokens = Mapping[str, torch.Tensor]
"""Token ids (and masks) of one caption by name, each (length,), int64; equal lengths for all captions of a base. Answers of frozen encoders may stand in their places."""

Told = Mapping[str, torch.Tensor]
"""Outputs of the text encoders by name, first dimension the batch; what the denoiser is told. Shapes are equal for all captions of a base."""

LayerNames = Mapping[str, tuple[str, ...]]
"""Endings of module names per group: ``attention``, ``ff`` and (UNets) ``conv`` for the denoiser, ``text`` for a text encoder."""


class Family(ABC):
    """One architecture, opened on one base model. Components are loaded on the CPU when they are first needed.

    Args:
        base: The base model's files.
    """

    name: ClassVar[str]
    pipeline_class: ClassVar[str]
    """Name of the reference pipeline in diffusers."""
    denoiser_name: ClassVar[str] = "transformer"
    encoder_names: ClassVar[tuple[str, ...]]
    """All text encoders, by component name."""
    adaptable_encoders: ClassVar[tuple[str, ...]] = ()
    """Text encoders that a LoRA may adapt and that other tools then read."""
    layers: ClassVar[LayerNames]
    regions: ClassVar[tuple[str, ...]]
    """Class names of the blocks that the denoiser repeats, each of which is compiled by itself."""
    true_guidance: ClassVar[bool] = True
    """Guidance above 1 asks the network twice, with and without the prompt; false where it is one of the network's inputs."""

    def __init__(self, base: BaseFiles) -> None:
        self.base = base

    # What its files say

    @property
    @abstractmethod
    def architecture(self) -> str:
        """``modelspec.architecture`` of its LoRAs, such as ``stable-diffusion-xl-v1-base/lora``."""

    @property
    @abstractmethod
    def base_version(self) -> str:
        """``ss_base_model_version`` of its LoRAs, such as ``sdxl_base_v1-0``."""

    @property
    def prediction(self) -> str:
        """``epsilon``, ``v_prediction`` or ``flow``."""
        return self.objective.prediction

    # Networks

    @property
    def denoiser(self) -> Any:
        """The network that LoRAs adapt first."""
        return self.base.load(self.denoiser_name)

    @property
    def text_encoders(self) -> Mapping[str, Any]:
        """The text encoders that LoRAs may adapt, by component name."""
        return {name: self.base.load(name) for name in self.adaptable_encoders if self.base.has(name)}

    @cached_property
    def pipeline(self) -> Any:
        """The reference pipeline of diffusers over the same networks."""
        return self.base.pipeline()

    def encoders_to(self, device: torch.device) -> None:
        """Move the autoencoder and all text encoders to ``device``."""
        for name in ("vae", *self.encoder_names):
            if self.base.has(name):
                self.base.load(name).to(device)

    def forget_encoders(self, keep: Sequence[str] = ()) -> None:
        """Let the autoencoder and the text encoders go, except those in ``keep``."""
        self._forget(*(name for name in ("vae", *self.encoder_names) if name not in keep))

    def forget_networks(self) -> None:
        """Let all networks go, whatever was done to them; asked for again, they are those of the base again."""
        self._forget(self.denoiser_name, "vae", *self.encoder_names)

    def _forget(self, *names: str) -> None:
        self.__dict__.pop("pipeline", None)  # which would hold them
        self.base.forget(*names)

    # Pictures

    @property
    def latent_factor(self) -> int:
        """Pixels per latent pixel."""
        return int(2 ** (len(self.base.config("vae")["block_out_channels"]) - 1))

    @property
    def size_multiple(self) -> int:
        """What the sides of pictures must be multiples of, in pixels."""
        return self.latent_factor

    @property
    def autoencoder_digest(self) -> str:
        """Hash over whatever decides the latents of a picture."""
        return self.base.digest("vae")

    @torch.no_grad()
    def encode_pictures(self, pixels: torch.Tensor) -> torch.Tensor:
        """Moments of the posterior, (batch, 2 * channels, h, w), fp32, from sRGB uint8 pixels (batch, height, width, 3)."""
        vae = self.base.load("vae")
        batch = pixels.to(vae.device).permute(0, 3, 1, 2).to(vae.dtype) / 127.5 - 1.0
        moments: torch.Tensor = vae.encode(batch).latent_dist.parameters.float()
        return moments

    def latents(self, moments: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Latents as the denoiser sees them, drawn from moments; the log variance is clamped as diffusers' DiagonalGaussianDistribution does.

        Args:
            moments: (batch, 2 * channels, ..., h, w).
            noise: Standard normal, (batch, channels, ..., h, w).
        """
        mean, log_variance = moments.chunk(2, dim=1)
        return self.scale_latents(mean + torch.exp(0.5 * log_variance.clamp(-30.0, 20.0)) * noise)

    def scale_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """From the autoencoder's latents to the denoiser's: shift, then scale."""
        config = self._autoencoder_config
        return (latents - (config.get("shift_factor") or 0.0)) * config["scaling_factor"]

    @cached_property
    def _autoencoder_config(self) -> dict[str, Any]:
        return {"scaling_factor": 0.18215, **self.base.config("vae")}

    # Captions

    @property
    def text_digest(self) -> str:
        """Hash over whatever decides the embeddings of a caption."""
        names = [name for name in self.base.names if name in self.encoder_names or name.startswith("tokenizer")]
        return "/".join(self.base.digest(name) for name in sorted(names))

    @abstractmethod
    def tokenize(self, caption: str) -> tuple[Tokens, int]:
        """Token ids of a caption, padded to a fixed length, and how many tokens did not fit."""

    @abstractmethod
    def encode_tokens(self, tokens: Tokens) -> Told:
        """What the denoiser is told, from token ids (batch, length) by name; differentiable for the adaptable encoders."""

    def encode_frozen(self, tokens: Tokens) -> Tokens:
        """The same with the answers of text encoders that are never adapted in place of what those read, so that a run which adapts others asks them once.

        :meth:`encode_tokens` takes both forms.
        """
        return tokens

    # Learning

    @property
    @abstractmethod
    def objective(self) -> Objective:
        """What the network is asked to predict."""

    @abstractmethod
    def predict(self, noisy: torch.Tensor, time: torch.Tensor, told: Told, geometry: torch.Tensor) -> torch.Tensor:
        """Ask the denoiser.

        Args:
            noisy: (batch, channels, ..., h, w).
            time: (batch,); a timestep in diffusion, sigma in flow.
            told: From :meth:`encode_tokens`.
            geometry: (batch, 6), int64, pixels: height and width of the original, top and left of the crop in the resized picture, height and
                width of what is shown.

        Returns:
            Same shape as ``noisy``.
        """

    # Rendering

    def sampler(self, name: str) -> Any:
        """A new scheduler with this base's noise schedule."""
        return make_sampler(name, self.base.load("scheduler").config)

    @abstractmethod
    def call_inputs(self, told: Told, negative: Told | None, guidance: float) -> dict[str, Any]:
        """Keyword arguments of the reference pipeline's call for embedded prompts: embeddings and guidance.

        Args:
            told: Embedded prompts, (batch, ...).
            negative: Embedded negative prompts; ``None`` when guidance is 1 or below, or not by asking twice.
            guidance: Guidance scale.
        """

    @torch.no_grad()
    def probe(self, captions: Sequence[str], side: int) -> dict[str, torch.Tensor]:
        """Outputs of the adaptable networks on fixed inputs of ``side`` pixels, on the CPU; equal for equal weights.

        Text embeddings of ``captions``, and the denoiser's answers at three noise levels.
        """
        denoiser, outputs = self.denoiser, {}
        shape = self.encode_pictures(torch.zeros(1, side, side, 3, dtype=torch.uint8)).shape
        geometry = torch.tensor([[side, side, 0, 0, side, side]], device=denoiser.device)
        for index, caption in enumerate(captions):
            tokens, _ = self.tokenize(caption)
            told = self.encode_tokens({name: ids[None] for name, ids in tokens.items()})
            outputs |= {f"{name} {index}": tensor.float().cpu() for name, tensor in told.items()}
            moved = {name: tensor.to(denoiser.device) for name, tensor in told.items()}
            source = torch.Generator().manual_seed(index)
            noise = torch.randn((1, shape[1] // 2, *shape[2:]), generator=source).to(denoiser.device)
            for time in (0.05, 0.5, 0.95):
                answer = self.predict(noise, self.time_at(time, denoiser.device), moved, geometry)
                outputs[f"{self.denoiser_name} {index} at {time}"] = answer.float().cpu()
        return outputs

    def time_at(self, share: float, device: torch.device) -> torch.Tensor:
        """The time of one picture, (1,), ``share`` of the way from picture (0) to noise (1), in the form that :meth:`predict` takes."""
        if self.prediction == "flow":
            return torch.tensor([share], device=device)
        steps = int(self.base.config("scheduler")["num_train_timesteps"])
        return torch.tensor([int(share * steps)], device=device)
