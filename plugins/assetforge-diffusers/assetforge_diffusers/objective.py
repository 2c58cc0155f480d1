"""What a network is asked to predict, and how its error is weighed: diffusion (noise or velocity) and rectified flow.

Both are drawn and weighed here, once for all families; a family only says how its network is called.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F  # noqa: N812

from assetforge.errors import UsageError
from assetforge_diffusers.draws import Draws

__all__ = ["Diffusion", "Flow", "LossSettings", "Objective", "debiased_weights", "snr_weights"]

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(noisy latents, time per picture) to the network's answer; time is a timestep (int64) in diffusion, sigma in (0, 1] in flow."""

_MOST_SNR = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """How errors are weighed.

    Attributes:
        min_snr_gamma: Gamma of min-SNR; 0 weighs all noise levels alike. Diffusion only.
        debiased: Weigh by 1 / sqrt(snr) instead. Diffusion only.
        noise_offset: Noise per channel that is added to the noise. Diffusion only.
        times: How noise levels are drawn: ``auto`` is uniform for diffusion and logit-normal for flow.
    """

    min_snr_gamma: float = 0.0
    debiased: bool = False
    noise_offset: float = 0.0
    times: Literal["auto", "uniform", "logit-normal"] = "auto"


class Objective(Protocol):
    """Draws a noise level, asks the network, weighs its error."""

    prediction: str

    def with_zero_terminal_snr(self) -> "Objective":
        """The same under a noise schedule that ends in pure noise."""

    def loss(
        self, predict: Predict, latents: torch.Tensor, draws: Draws, settings: LossSettings, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """The training loss per picture, (batch,), float32; ``mask`` weighs the latent pixels, (batch, 1, ..., height, width)."""


def snr_weights(alphas_cumprod: torch.Tensor, prediction: str, gamma: float) -> torch.Tensor:
    """Weight of the loss per timestep, (timesteps,): min-SNR (Hang et al. 2023, arXiv:2303.09556).

    min(snr, gamma) / snr for noise prediction, min(snr, gamma) / (snr + 1) for velocity prediction; ``gamma`` 0 gives 1 everywhere. At zero
    terminal SNR the first form takes its limit, 1.
    """
    if gamma == 0:
        return torch.ones_like(alphas_cumprod)
    snr = alphas_cumprod / (1.0 - alphas_cumprod)
    clipped = snr.clamp(max=gamma)
    if prediction == "v_prediction":
        return clipped / (snr + 1.0)
    return torch.where(snr > 0, clipped / snr.clamp(min=torch.finfo(snr.dtype).tiny), torch.ones_like(snr))


def debiased_weights(alphas_cumprod: torch.Tensor, prediction: str) -> torch.Tensor:
    """Weight of the loss per timestep, (timesteps,): debiased estimation (Yu et al. 2023, arXiv:2310.08442).

    1 / sqrt(snr) for noise prediction, with snr at most 1000; for velocity prediction 1 / (snr + 1), as kohya's scripts have it. At zero terminal SNR
    the first form is taken at the smallest snr above zero.
    """
    snr = (alphas_cumprod / (1.0 - alphas_cumprod)).clamp(max=_MOST_SNR)
    if prediction == "v_prediction":
        return 1.0 / (snr + 1.0)
    smallest = snr[snr > 0].min()
    return snr.clamp(min=float(smallest)).rsqrt()


def _error(predicted: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean squared error per picture; a mask weighs pixels and leaves the mean over its own weight."""
    error = F.mse_loss(predicted.float(), target.float(), reduction="none")
    if mask is None:
        return error.flatten(1).mean(1)
    weight = mask.expand_as(error)
    return (error * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp(min=1e-6)


class Diffusion:
    """Noise or velocity prediction under a table of noise levels (Ho et al. 2020; Salimans and Ho 2022).

    Args:
        alphas_cumprod: Share of the signal's variance per timestep, (timesteps,).
        prediction: ``epsilon`` or ``v_prediction``.
    """

    def __init__(self, alphas_cumprod: torch.Tensor, prediction: str) -> None:
        self.prediction = prediction
        self._alphas = alphas_cumprod.clone()
        self._tables: dict[Any, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}

    def __len__(self) -> int:
        """Number of timesteps."""
        return len(self._alphas)

    def with_zero_terminal_snr(self) -> "Diffusion":
        """The same under a schedule rescaled so that it ends in pure noise (Lin et al. 2023, arXiv:2305.08891, algorithm 1).

        Raises:
            UsageError: The network predicts noise, which says nothing about the picture at the last timestep.
        """
        if self.prediction != "v_prediction":
            raise UsageError(
                "Zero terminal SNR needs a base model that predicts velocity, and this one predicts noise.",
                hint="Set zero_terminal_snr to false.",
            )
        roots = self._alphas.sqrt()
        rescaled = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
        return Diffusion(rescaled**2, self.prediction)

    def loss(
        self, predict: Predict, latents: torch.Tensor, draws: Draws, settings: LossSettings, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """See :class:`Objective`."""
        signal, spread, weight = self._table(latents.device, settings)
        timesteps = (draws.time * len(signal)).long()
        noise = draws.noise + settings.noise_offset * draws.offset if settings.noise_offset else draws.noise
        shape = (-1, *(1,) * (latents.ndim - 1))
        a, b = signal[timesteps].view(shape), spread[timesteps].view(shape)
        target = a * noise - b * latents if self.prediction == "v_prediction" else noise
        predicted = predict(a * latents + b * noise, timesteps)
        return _error(predicted, target, mask) * weight[timesteps]

    def _table(self, device: torch.device, settings: LossSettings) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Signal, noise and loss weight per timestep."""
        key = (device, settings.min_snr_gamma, settings.debiased)
        if key not in self._tables:
            alphas = self._alphas.to(device)
            if settings.debiased:
                weight = debiased_weights(alphas, self.prediction)
            else:
                weight = snr_weights(alphas, self.prediction, settings.min_snr_gamma)
            self._tables[key] = (alphas.sqrt(), (1.0 - alphas).sqrt(), weight)
        return self._tables[key]


class Flow:
    """Rectified flow (Liu et al. 2022; Esser et al. 2024, arXiv:2403.03206): the network predicts noise minus picture on the line between them.

    Noise levels are shifted towards noise for bigger pictures, as the scheduler does when it samples.

    Args:
        config: Settings of the base's FlowMatchEulerDiscreteScheduler.
        patch: Latent pixels per side of a token.
    """

    prediction = "flow"

    def __init__(self, config: Mapping[str, Any], patch: int = 2) -> None:
        self._config, self._patch = config, patch

    def shift(self, height: int, width: int) -> float:
        """By how much noise levels are shifted for latents of that size; 1 shifts nothing.

        sigma becomes shift * sigma / (1 + (shift - 1) * sigma). With dynamic shifting the logarithm of the shift is linear in the number of tokens.
        """
        if not self._config.get("use_dynamic_shifting", False):
            return float(self._config.get("shift", 1.0))
        low, high = self._config.get("base_image_seq_len", 256), self._config.get("max_image_seq_len", 4096)
        first, last = self._config.get("base_shift", 0.5), self._config.get("max_shift", 1.15)
        tokens = (height // self._patch) * (width // self._patch)
        return math.exp(first + (last - first) * (tokens - low) / (high - low))

    def sigmas(self, time: torch.Tensor, height: int, width: int, times: str) -> torch.Tensor:
        """Noise levels in (0, 1] from uniform draws in [0, 1), (batch,)."""
        uniform = 1.0 - time
        drawn = uniform if times == "uniform" else torch.sigmoid(torch.special.ndtri(uniform.clamp(1e-6, 1.0 - 1e-6)))
        shift = self.shift(height, width)
        return shift * drawn / (1.0 + (shift - 1.0) * drawn)

    def with_zero_terminal_snr(self) -> "Flow":
        """The same: flow ends in pure noise anyway."""
        return self

    def loss(
        self, predict: Predict, latents: torch.Tensor, draws: Draws, settings: LossSettings, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """See :class:`Objective`."""
        sigmas = self.sigmas(draws.time, latents.shape[-2], latents.shape[-1], settings.times)
        sigma = sigmas.view(-1, *(1,) * (latents.ndim - 1))
        noisy = (1.0 - sigma) * latents + sigma * draws.noise
        return _error(predict(noisy, sigmas), draws.noise - latents, mask)
