"""Latents of autoencoders whose channels have a mean and a deviation each."""

from collections.abc import Sequence

import torch

__all__ = ["ChannelScale"]


class ChannelScale:
    """Gives every channel mean 0 and deviation 1.

    Args:
        mean: Per channel, as the autoencoder's settings have it.
        deviation: Likewise, above 0.
    """

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        self._statistics = torch.tensor([mean, deviation], dtype=torch.float32)

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        """Scaled latents, (batch, channels, ...); nothing is waited for once the statistics are on their device."""
        if self._statistics.device != latents.device:
            self._statistics = self._statistics.to(latents.device)
        mean, deviation = self._statistics.view(2, -1, *(1,) * (latents.ndim - 2))
        scaled: torch.Tensor = (latents - mean) / deviation
        return scaled
