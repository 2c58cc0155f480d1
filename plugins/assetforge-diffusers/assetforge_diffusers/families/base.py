"""What the shared training loop and the renderer ask of a model family."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from assetforge_diffusers.draws import Draws

__all__ = ["Conditioning", "Family", "LayerNames"]

Conditioning = Mapping[str, torch.Tensor]
"""Outputs of the text encoders by name, first dimension the batch; what the denoiser is told."""

LayerNames = Mapping[str, tuple[str, ...]]
"""Endings of module names per group: ``attention``, ``ff``, ``conv`` for the denoiser, ``text`` for a text encoder."""


class Family(Protocol):
    """One architecture, opened on one base model."""

    name: ClassVar[str]
    architecture: ClassVar[str]
    """``modelspec.architecture`` of its LoRAs."""
    base_version: ClassVar[str]
    """``ss_base_model_version`` of its LoRAs."""
    kohya_prefixes: ClassVar[Mapping[str, str]]
    """Component name to the prefix of its keys in kohya's format."""
    denoiser_name: ClassVar[str]
    layers: ClassVar[LayerNames]

    pipeline: Any
    """The loaded pipeline of diffusers."""
    prediction: str
    """``epsilon``, ``v_prediction`` or ``flow``."""

    def __init__(self, pipeline: Any) -> None:
        """Take a loaded pipeline."""

    @classmethod
    def open(cls, folder: Path, dtype: torch.dtype = torch.float32) -> "Family":
        """Open the base model in ``folder`` on the CPU."""

    @property
    def denoiser(self) -> torch.nn.Module:
        """The network that LoRAs adapt first."""

    @property
    def text_encoders(self) -> Mapping[str, torch.nn.Module]:
        """The text encoders that LoRAs may adapt, by component name."""

    @property
    def latent_factor(self) -> int:
        """Pixels per latent pixel."""

    @property
    def autoencoder_digest(self) -> str:
        """Hash over whatever decides the latents of a picture."""

    @property
    def text_digest(self) -> str:
        """Hash over whatever decides the embeddings of a caption."""

    def encoders_to(self, device: torch.device) -> None:
        """Move autoencoder and text encoders to ``device``."""

    def encode_picture(self, pixels: torch.Tensor) -> torch.Tensor:
        """Moments of the posterior, (2 * channels, h, w), from sRGB uint8 pixels (height, width, 3)."""

    def latents(self, moments: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Scaled latents (batch, channels, h, w) drawn from moments (batch, 2 * channels, h, w)."""

    def tokenize(self, caption: str) -> tuple[torch.Tensor, int]:
        """Token ids (length,), int64, and how many tokens did not fit."""

    def encode_tokens(self, tokens: torch.Tensor) -> Conditioning:
        """What the denoiser is told, from token ids (batch, length); differentiable."""

    def loss(
        self, latents: torch.Tensor, told: Conditioning, draws: Draws, noise_offset: float, min_snr_gamma: float
    ) -> torch.Tensor:
        """The training loss per picture, (batch,), float32."""

    def sampler(self, name: str) -> Any:
        """A new scheduler with this base's noise schedule."""

    def probe(self, captions: Sequence[str], side: int) -> dict[str, torch.Tensor]:
        """Outputs of the adapted networks on fixed inputs of ``side`` pixels, on the CPU; equal for equal weights."""
