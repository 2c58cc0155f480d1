"""Trains the probe with a supervised-contrastive loss on identities and styles drawn at random."""

from __future__ import annotations

import json
import random
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from torch import nn

from assetforge_toybox.identities import draw_shot
from assetforge_toybox.probe import ProbeNetwork
from assetforge_toybox.training.autoencoder import to_tensor
from assetforge_toybox.training.loop import Average, generator, learning_rate, load_checkpoint, save_checkpoint

EPISODES = 160
IDENTITIES, SHOTS, STYLES = 12, 6, 6
"""An episode is one batch: this many identities, pictures of each, and styles among them."""
TEMPERATURE = 0.1
PEAK_RATE = 2e-3
SAVE_EVERY = 250


def _draw_episode(episode: int) -> np.ndarray:
    """Draw one episode, uint8 (72, 64, 64, 3); picture i shows identity i // 6 in the style of `_styles`."""
    styles = _styles(episode)
    return np.stack(
        [
            np.asarray(
                draw_shot(episode * IDENTITIES + i // SHOTS, episode * STYLES + int(styles[i]), episode * 1000 + i)
            )
            for i in range(IDENTITIES * SHOTS)
        ]
    )


def _styles(episode: int) -> np.ndarray:
    rng = random.Random(f"episode-styles:{episode}")
    return np.array([rng.randrange(STYLES) for _ in range(IDENTITIES * SHOTS)])


def draw_episodes(folder: Path, workers: int) -> np.ndarray:
    """Draw all episodes, or read them back: uint8 (episodes, 72, 64, 64, 3)."""
    path = folder / f"episodes-{EPISODES}.safetensors"
    if not path.is_file():
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            drawn = np.stack(list(pool.map(_draw_episode, range(EPISODES), chunksize=4)))
        partial = path.with_suffix(".partial")
        save_arrays({"episodes": drawn}, partial)
        partial.replace(path)
    return load_arrays(path)["episodes"]


def supervised_contrastive(vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the loss of Khosla et al. 2020 (arXiv:2004.11362, "out" form) over unit vectors (n, d), labels (n,)."""
    likeness = vectors @ vectors.T / TEMPERATURE
    own = torch.eye(len(labels), dtype=torch.bool)
    likeness = likeness.masked_fill(own, -1e9)
    same = (labels[:, None] == labels[None, :]) & ~own
    log_share = likeness - likeness.logsumexp(dim=1, keepdim=True)
    return -(log_share * same).sum(dim=1).div(same.sum(dim=1).clamp(min=1)).mean()


def disturbed(x: torch.Tensor, keyed: torch.Generator) -> torch.Tensor:
    """Blur, tint and speckle pictures the way a small autoencoder does, each by a share of its own."""
    share = torch.rand((len(x), 1, 1, 1), generator=keyed) * (torch.rand((len(x), 1, 1, 1), generator=keyed) < 0.6)
    soft = nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    tint = 0.06 * torch.randn((len(x), 3, 1, 1), generator=keyed)
    grain = 0.05 * torch.rand((len(x), 1, 1, 1), generator=keyed) * torch.randn(x.shape, generator=keyed)
    return (x + share * (soft - x) + tint + grain).clamp(-1, 1)


def train_probe(folder: Path, steps: int, workers: int, seed: int = 0) -> Path:
    """Train (or go on training) in `folder`, write probe.safetensors there in half precision, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    episodes = draw_episodes(folder, workers)
    torch.manual_seed(seed + 2)
    model = ProbeNetwork()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.05)
    average = Average(model, 0.995)
    first = load_checkpoint(folder, model, average, optimizer)
    who = torch.arange(IDENTITIES).repeat_interleave(SHOTS)
    began, losses = time.monotonic(), []
    for step in range(first, steps):
        keyed = generator(seed, "probe", step)
        episode = int(torch.randint(EPISODES, (1,), generator=keyed))
        x = disturbed(to_tensor(episodes[episode]), keyed)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, PEAK_RATE, warmup=100)
        with torch.autocast("cpu", torch.bfloat16):
            identity, style = model(x)
        loss = supervised_contrastive(identity.float(), who)
        loss = loss + supervised_contrastive(style.float(), torch.from_numpy(_styles(episode)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model, step)
        losses.append(loss.item())
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            save_checkpoint(folder, step + 1, model, average, optimizer)
            print(
                json.dumps(
                    {
                        "stage": "probe",
                        "step": step + 1,
                        "loss": round(sum(losses[-100:]) / 100, 4),
                        "seconds": round(time.monotonic() - began),
                    }
                ),
                flush=True,
            )
    average.load_into(model)
    path = folder / "probe.safetensors"
    save_file({name: t.half().contiguous() for name, t in model.state_dict().items()}, path)
    return path
