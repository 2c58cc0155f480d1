"""Stable Diffusion 1.x: one CLIP text encoder, a conditional UNet, a KL autoencoder, noise or velocity prediction."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from diffusers import StableDiffusionPipeline

from assetforge.errors import UsageError
from assetforge_diffusers.draws import Draws
from assetforge_diffusers.families.base import Conditioning, LayerNames
from assetforge_diffusers.loading import component_digest, open_pipeline
from assetforge_diffusers.samplers import make_sampler

__all__ = ["StableDiffusion15", "snr_weights"]


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


class StableDiffusion15:
    """Fits :class:`assetforge_diffusers.families.base.Family`."""

    name: ClassVar[str] = "sd15"
    architecture: ClassVar[str] = "stable-diffusion-v1/lora"
    base_version: ClassVar[str] = "sd_v1"
    kohya_prefixes: ClassVar[Mapping[str, str]] = {"unet": "lora_unet", "text_encoder": "lora_te"}
    denoiser_name: ClassVar[str] = "unet"
    layers: ClassVar[LayerNames] = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0"),
        "ff": ("proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
        "conv": ("conv1", "conv2", "conv_shortcut", "time_emb_proj"),
        "text": ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
    }

    def __init__(self, pipeline: Any) -> None:
        """Take a loaded pipeline; every network is frozen and put into evaluation mode."""
        self.pipeline: Any = pipeline
        self.prediction: str = pipeline.scheduler.config.prediction_type
        if self.prediction not in {"epsilon", "v_prediction"}:
            raise UsageError(
                f"The base model predicts {self.prediction}; only epsilon and v_prediction are known for Stable Diffusion 1.x."
            )
        for module in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
            module.requires_grad_(requires_grad=False).eval()
        self._alphas = pipeline.scheduler.alphas_cumprod.clone()
        self._tables: dict[tuple[torch.device, float], tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}

    @classmethod
    def open(cls, folder: Path, dtype: torch.dtype = torch.float32) -> "StableDiffusion15":
        """Open the base model in ``folder`` on the CPU."""
        return cls(open_pipeline(StableDiffusionPipeline, folder, dtype, ("unet", "vae", "text_encoder")))

    @property
    def denoiser(self) -> torch.nn.Module:
        """The UNet."""
        unet: torch.nn.Module = self.pipeline.unet
        return unet

    @property
    def text_encoders(self) -> Mapping[str, torch.nn.Module]:
        """The CLIP text encoder."""
        return {"text_encoder": self.pipeline.text_encoder}

    @property
    def latent_factor(self) -> int:
        """Pixels per latent pixel."""
        return int(self.pipeline.vae_scale_factor)

    @cached_property
    def autoencoder_digest(self) -> str:
        """Hash of the autoencoder."""
        return component_digest(self.pipeline.vae, dict(self.pipeline.vae.config))

    @cached_property
    def text_digest(self) -> str:
        """Hash of the text encoder and of how its tokenizer cuts."""
        tokenizer = self.pipeline.tokenizer
        cuts = {
            "vocabulary": tokenizer.get_vocab(),
            "length": tokenizer.model_max_length,
            "state": tokenizer.backend_tokenizer.to_str(),
        }
        return component_digest(
            self.pipeline.text_encoder, {"config": self.pipeline.text_encoder.config.to_dict(), "tokenizer": cuts}
        )

    def encoders_to(self, device: torch.device) -> None:
        """Move autoencoder and text encoder to ``device``."""
        self.pipeline.vae.to(device)
        self.pipeline.text_encoder.to(device)

    @torch.no_grad()
    def encode_picture(self, pixels: torch.Tensor) -> torch.Tensor:
        """Moments of the posterior, (2 * channels, h, w), from sRGB uint8 pixels (height, width, 3)."""
        vae = self.pipeline.vae
        batch = pixels.to(vae.device).permute(2, 0, 1)[None].to(vae.dtype) / 127.5 - 1.0
        moments: torch.Tensor = vae.encode(batch).latent_dist.parameters[0].float()
        return moments

    def latents(self, moments: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Scaled latents drawn from moments; the log variance is clamped as diffusers' DiagonalGaussianDistribution does."""
        mean, log_variance = moments.chunk(2, dim=1)
        drawn = mean + torch.exp(0.5 * log_variance.clamp(-30.0, 20.0)) * noise
        scaled: torch.Tensor = drawn * self.pipeline.vae.config.scaling_factor
        return scaled

    def tokenize(self, caption: str) -> tuple[torch.Tensor, int]:
        """Token ids (length,), padded to the text encoder's length, and how many tokens did not fit."""
        tokenizer = self.pipeline.tokenizer
        length = tokenizer.model_max_length
        ids = tokenizer(
            caption, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids[0]
        missing = len(tokenizer(caption, truncation=False, verbose=False).input_ids) - length
        return ids, max(0, missing)

    def encode_tokens(self, tokens: torch.Tensor) -> Conditioning:
        """Hidden states of the last layer, (batch, length, width)."""
        return {"hidden": self.pipeline.text_encoder(tokens.to(self.pipeline.text_encoder.device))[0]}

    def loss(
        self, latents: torch.Tensor, told: Conditioning, draws: Draws, noise_offset: float, min_snr_gamma: float
    ) -> torch.Tensor:
        """Mean squared error of the predicted noise or velocity, weighted by min-SNR."""
        signal, spread, weight = self._table(latents.device, min_snr_gamma)
        timesteps = (draws.time * len(signal)).long()
        noise = draws.noise + noise_offset * draws.offset if noise_offset else draws.noise
        a, b = signal[timesteps][:, None, None, None], spread[timesteps][:, None, None, None]
        noisy = a * latents + b * noise
        target = a * noise - b * latents if self.prediction == "v_prediction" else noise
        predicted = self.denoiser(noisy, timesteps, encoder_hidden_states=told["hidden"], return_dict=False)[0]
        error = F.mse_loss(predicted.float(), target.float(), reduction="none").mean(dim=(1, 2, 3))
        return error * weight[timesteps]

    def _table(self, device: torch.device, gamma: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Signal, noise and loss weight per timestep."""
        if (device, gamma) not in self._tables:
            alphas = self._alphas.to(device)
            self._tables[device, gamma] = (
                alphas.sqrt(),
                (1.0 - alphas).sqrt(),
                snr_weights(alphas, self.prediction, gamma),
            )
        return self._tables[device, gamma]

    def sampler(self, name: str) -> Any:
        """A new scheduler with this base's noise schedule."""
        return make_sampler(name, self.pipeline.scheduler.config)

    @torch.no_grad()
    def probe(self, captions: Sequence[str], side: int) -> dict[str, torch.Tensor]:
        """Text embeddings of ``captions`` and the UNet's outputs at three noise levels."""
        unet = self.pipeline.unet
        size = side // self.latent_factor
        outputs: dict[str, torch.Tensor] = {}
        for index, caption in enumerate(captions):
            hidden = self.encode_tokens(self.tokenize(caption)[0][None])["hidden"]
            outputs[f"text {index}"] = hidden.float().cpu()
            noise = torch.randn(
                (1, unet.config.in_channels, size, size), generator=torch.Generator().manual_seed(index)
            )
            for timestep in (0, len(self._alphas) // 2, len(self._alphas) - 1):
                answer = unet(
                    noise.to(unet.device, unet.dtype),
                    timestep,
                    encoder_hidden_states=hidden.to(unet.device, unet.dtype),
                    return_dict=False,
                )[0]
                outputs[f"unet {index} at {timestep}"] = answer.float().cpu()
        return outputs
