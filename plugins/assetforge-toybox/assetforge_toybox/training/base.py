"""Trains text encoder and UNet together on the latents of drawn scenes, with captions worded anew at every step."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from assetforge_toybox.models import TEXT_LENGTH, new_scheduler, new_text_encoder, new_unet
from assetforge_toybox.training.autoencoder import to_tensor
from assetforge_toybox.training.export import export_pipeline
from assetforge_toybox.training.loop import Average, generator, held_rate, load_checkpoint, save_checkpoint
from assetforge_toybox.training.pictures import training_scenes
from assetforge_toybox.vocabulary import write_vocabulary
from assetforge_toybox.world import Scene, caption

BATCH = 16
TIMESTEPS = 1000
PEAK_RATE = 6e-4
WARMUP = 500
AVERAGE = 0.999
CAPTION_DROPOUT = 0.1
SAVE_EVERY = 1000
LAYOUT_STEPS = 4_000
"""From this step on, half of each batch is drawn from the noisiest part of the schedule, where positions are decided."""
LAYOUT_FROM = 650


@dataclass(frozen=True)
class Latents:
    """Mean and standard deviation of each picture's latent distribution, already multiplied by the scaling factor."""

    mean: torch.Tensor
    std: torch.Tensor

    def sample(self, indices: torch.Tensor, keyed: torch.Generator) -> torch.Tensor:
        """Draw one latent for each index."""
        mean = self.mean[indices].float()
        return mean + self.std[indices].float() * torch.randn(mean.shape, generator=keyed)


class TextAndUNet(torch.nn.Module):
    """The two networks that are trained together, as one module."""

    def __init__(self, vocabulary: int, end_token: int) -> None:
        super().__init__()
        self.text = new_text_encoder(vocabulary, end_token)
        self.unet = new_unet()

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Predict the velocity of `noisy` (n, 8, 16, 16) at `timesteps` (n,) given the captions' `tokens` (n, length)."""
        states = self.text(input_ids=tokens).last_hidden_state
        return self.unet(noisy, timesteps, encoder_hidden_states=states, return_dict=False)[0]


def new_tokenizer(folder: Path) -> CLIPTokenizer:
    """Learn the vocabulary, write it into `folder`, and open it as a tokenizer."""
    write_vocabulary(folder)
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=TEXT_LENGTH)


@torch.no_grad()
def encode_pictures(folder: Path, autoencoder: AutoencoderKL, pictures: np.ndarray) -> Latents:
    """Encode all pictures once, or read the latents back from `folder`."""
    path = folder / f"latents-{len(pictures)}.safetensors"
    if not path.is_file():
        means, stds = [], []
        for start in range(0, len(pictures), 50):
            with torch.autocast("cpu", torch.bfloat16):
                posterior = autoencoder.encode(to_tensor(pictures[start : start + 50])).latent_dist
            means.append((posterior.mean.float() * autoencoder.config.scaling_factor).half())
            stds.append((posterior.std.float() * autoencoder.config.scaling_factor).half())
        partial = path.with_suffix(".partial")
        save_file({"mean": torch.cat(means).contiguous(), "std": torch.cat(stds).contiguous()}, partial)
        partial.replace(path)
    tensors = load_file(path)
    return Latents(tensors["mean"], tensors["std"])


def draw_timesteps(step: int, keyed: torch.Generator) -> torch.Tensor:
    """Draw the noise levels of one batch, (16,) from 0 to 999."""
    timesteps = torch.randint(TIMESTEPS, (BATCH,), generator=keyed)
    if step >= LAYOUT_STEPS:
        timesteps[: BATCH // 2] = torch.randint(LAYOUT_FROM, TIMESTEPS, (BATCH // 2,), generator=keyed)
    return timesteps


def batch_captions(scenes: list[Scene], seed: int, step: int) -> list[str]:
    """Word the captions of one batch; one in ten is empty, which is what classifier-free guidance learns from."""
    rng = random.Random(f"{seed}/captions/{step}")
    return ["" if rng.random() < CAPTION_DROPOUT else caption(scene, rng) for scene in scenes]


def velocity_loss(
    predicted: torch.Tensor,
    clean: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    scheduler: DDIMScheduler,
) -> torch.Tensor:
    """Return the mean squared error of the predicted velocity (Salimans and Ho 2022, arXiv:2202.00512)."""
    return (predicted.float() - scheduler.get_velocity(clean, noise, timesteps)).pow(2).mean()


def train_base(
    folder: Path, autoencoder: AutoencoderKL, pictures: np.ndarray, steps: int, seed: int = 0, compiled: bool = False
) -> Path:
    """Train (or go on training) in `folder` and return the exported pipeline folder.

    A pipeline folder with the averaged weights so far is written every 1,000 steps to `folder`/snapshot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed + 1)
    tokenizer = new_tokenizer(folder / "vocabulary")
    model = TextAndUNet(len(tokenizer), tokenizer.eos_token_id)
    latents = encode_pictures(folder, autoencoder, pictures)
    scenes = training_scenes(len(pictures))
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    average = Average(model, AVERAGE)
    first = load_checkpoint(folder, model, average, optimizer)
    forward = torch.compile(model) if compiled else model
    scheduler = new_scheduler()
    began, losses = time.monotonic(), []
    for step in range(first, steps):
        keyed = generator(seed, "base", step)
        chosen = torch.randint(len(scenes), (BATCH,), generator=keyed)
        clean = latents.sample(chosen, keyed)
        noise = torch.randn(clean.shape, generator=keyed)
        timesteps = draw_timesteps(step, keyed)
        texts = batch_captions([scenes[i] for i in chosen.tolist()], seed, step)
        tokens = tokenizer(
            texts, padding="max_length", max_length=TEXT_LENGTH, truncation=True, return_tensors="pt"
        ).input_ids
        for group in optimizer.param_groups:
            group["lr"] = held_rate(step, steps, PEAK_RATE, WARMUP)
        loss = velocity_loss(
            forward(scheduler.add_noise(clean, noise, timesteps), timesteps, tokens), clean, noise, timesteps, scheduler
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model, step)
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            print(
                json.dumps(
                    {
                        "stage": "base",
                        "step": step + 1,
                        "loss": round(sum(losses[-100:]) / 100, 4),
                        "seconds": round(time.monotonic() - began),
                    }
                ),
                flush=True,
            )
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            save_checkpoint(folder, step + 1, model, average, optimizer)
            _export(folder / "snapshot", average, autoencoder, tokenizer, step + 1)
    return _export(folder / "pipeline", average, autoencoder, tokenizer, steps)


def _export(folder: Path, average: Average, autoencoder: AutoencoderKL, tokenizer: CLIPTokenizer, step: int) -> Path:
    """Write the averaged weights as a pipeline folder."""
    held = TextAndUNet(len(tokenizer), tokenizer.eos_token_id)
    average.load_into(held)
    return export_pipeline(folder, autoencoder, held.text, held.unet, tokenizer, new_scheduler(), step)
