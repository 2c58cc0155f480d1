"""Trains the KL autoencoder on drawn scenes and doodles."""

from __future__ import annotations

import json
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from assetforge_toybox.models import new_autoencoder
from assetforge_toybox.training.loop import Average, generator, held_rate, load_checkpoint, save_checkpoint
from assetforge_toybox.world import draw_scene, sample_scene

MIX = {"scenes": 7, "doodles": 1}
"""Pictures of each kind in a batch of the first part, which learns the world."""
BROAD_MIX = {"scenes": 3, "doodles": 2, "shots": 3}
"""The same in the second part, which learns what the world lacks: other colours, figures and styles."""
PEAK_RATE = 1.2e-3
BROAD_RATE = 8e-4
KL_WEIGHT = 3e-5
SAVE_EVERY = 250


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """Turn uint8 pictures (n, h, w, 3) into a float tensor (n, 3, h, w) from -1 to 1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def new_pictures(count: int, seed: int = 1) -> np.ndarray:
    """Draw `count` scenes that training never saw: reserved combinations only. uint8 (n, 64, 64, 3)."""
    rng = random.Random(f"unseen:{seed}")
    return np.stack([np.asarray(draw_scene(sample_scene(rng, held_out=True))) for _ in range(count)])


@torch.no_grad()
def psnr(autoencoder: AutoencoderKL, pictures: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of reconstruction in dB (from the mean squared error over all pictures)."""
    errors = []
    for start in range(0, len(pictures), 50):
        x = to_tensor(pictures[start : start + 50])
        y = autoencoder.decode(autoencoder.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
        errors.append(((x - y) / 2).pow(2).mean(dim=(1, 2, 3)))
    return -10 * math.log10(float(torch.cat(errors).mean()))


def _rate(step: int, steps: int, broad_steps: int) -> float:
    """Return the learning rate: a plateau with a descent for the first part, a shorter descent for the second."""
    if step < steps:
        return held_rate(step, steps, PEAK_RATE, warmup=100, descent=0.5)
    return held_rate(step - steps, broad_steps, BROAD_RATE, warmup=50, descent=0.7)


def _batch(pictures: dict[str, np.ndarray], mix: dict[str, int], keyed: torch.Generator) -> torch.Tensor:
    """Draw a batch of the given mix; channels of what is not of the world change places now and then."""
    parts = []
    for kind, count in mix.items():
        chosen = pictures[kind][torch.randint(len(pictures[kind]), (count,), generator=keyed).numpy()]
        if kind == "shots":
            chosen = chosen[..., torch.randperm(3, generator=keyed).numpy()]
        parts.append(chosen)
    return to_tensor(np.concatenate(parts))


def train_autoencoder(
    folder: Path, pictures: dict[str, np.ndarray], steps: int, broad_steps: int, seed: int = 0
) -> AutoencoderKL:
    """Train (or go on training) in `folder` and return the averaged model with its scaling factor set."""
    torch.manual_seed(seed)
    model = new_autoencoder()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=0.0)
    average = Average(model, 0.998)
    first = load_checkpoint(folder, model, average, optimizer)
    unseen = new_pictures(100)
    began = time.monotonic()
    for step in range(first, steps + broad_steps):
        keyed = generator(seed, "autoencoder", step)
        x = _batch(pictures, MIX if step < steps else BROAD_MIX, keyed)
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, steps, broad_steps)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = model.encode(x).latent_dist
            latents = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=keyed)
            y = model.decode(latents).sample.float()
        kl = posterior.kl().float().mean() / latents[0].numel()
        loss = (x - y).abs().mean() + (x - y).pow(2).mean() + KL_WEIGHT * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model, step)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps + broad_steps:
            save_checkpoint(folder, step + 1, model, average, optimizer)
            held = new_autoencoder()
            average.load_into(held)
            report = {
                "stage": "autoencoder",
                "step": step + 1,
                "loss": round(loss.item(), 5),
                "psnr_db": round(psnr(held.eval(), unseen), 2),
                "psnr_db_unknown": round(psnr(held, pictures["shots"][:100]), 2),
                "seconds": round(time.monotonic() - began),
            }
            print(json.dumps(report), flush=True)
    average.load_into(model)
    return _scaled(model.eval(), pictures["scenes"][:1000])


@torch.no_grad()
def _scaled(model: AutoencoderKL, pictures: np.ndarray) -> AutoencoderKL:
    """Set the factor that brings latents to unit standard deviation."""
    means = torch.cat(
        [model.encode(to_tensor(pictures[i : i + 50])).latent_dist.mode() for i in range(0, len(pictures), 50)]
    )
    model.register_to_config(scaling_factor=round(1.0 / float(means.std()), 5))
    return model
