"""Trains the measuring reader on drawn pictures, and says how well it reads drawn pictures it has not seen."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from assetforge_toybox.reader import ATTRIBUTES, Reader, ReaderNetwork
from assetforge_toybox.training.autoencoder import to_tensor
from assetforge_toybox.training.loop import Average, generator, learning_rate, load_checkpoint, save_checkpoint
from assetforge_toybox.training.pictures import training_scenes
from assetforge_toybox.training.probe import disturbed
from assetforge_toybox.world import Scene, draw_scene, paint, sample_scene

BATCH = 48
PEAK_RATE = 2e-3
SCENES = 8000
SAVE_EVERY = 250


def _labelled(scenes: list[Scene]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([values.index(getattr(s, name)) for s in scenes]) for name, values in ATTRIBUTES.items()}


def _masks(scenes: list[Scene]) -> torch.Tensor:
    """Return where the main colour is, (n, 32, 32) from 0 to 1."""
    masks = np.stack([np.asarray(paint(scene).main_mask().resize((32, 32))) for scene in scenes])
    return torch.from_numpy(masks).float() / 255.0


def train_reader(folder: Path, pictures: np.ndarray, steps: int, seed: int = 0) -> Path:
    """Train (or go on training) in `folder` on the first scenes of `pictures`; write and return reader.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = training_scenes(SCENES)
    labels, masks = _labelled(scenes), _masks(scenes)
    torch.manual_seed(seed + 3)
    model = ReaderNetwork()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.02)
    average = Average(model, 0.995)
    first = load_checkpoint(folder, model, average, optimizer)
    began = time.monotonic()
    for step in range(first, steps):
        keyed = generator(seed, "reader", step)
        chosen = torch.randint(len(scenes), (BATCH,), generator=keyed)
        x = disturbed(to_tensor(pictures[chosen.numpy()]), keyed)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, PEAK_RATE, warmup=100)
        with torch.autocast("cpu", torch.bfloat16):
            logits, mask = model(x)
        loss = sum(
            (
                nn.functional.cross_entropy(logits[name].float(), labels[name][chosen], label_smoothing=0.05)
                for name in ATTRIBUTES
            ),
            torch.zeros(()),
        )
        loss = loss + 2 * nn.functional.binary_cross_entropy_with_logits(mask.float(), masks[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model, step)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            save_checkpoint(folder, step + 1, model, average, optimizer)
            print(
                json.dumps(
                    {
                        "stage": "reader",
                        "step": step + 1,
                        "loss": round(loss.item(), 4),
                        "seconds": round(time.monotonic() - began),
                    }
                ),
                flush=True,
            )
    average.load_into(model)
    path = folder / "reader.safetensors"
    save_file({name: t.half().contiguous() for name, t in model.state_dict().items()}, path)
    return path


def reader_accuracy(reader: Reader, count: int = 1000, seed: int = 7) -> dict[str, float]:
    """Return the share read right, per attribute, on drawn pictures of reserved combinations."""
    rng = random.Random(f"reader-check:{seed}")
    scenes = [sample_scene(rng, held_out=True) for _ in range(count)]
    readings = reader.read([np.asarray(draw_scene(scene)) for scene in scenes])
    names = ("subject", "colour", "place", "style", "position")
    return {
        n: sum(getattr(r, n) == getattr(s, n) for r, s in zip(readings, scenes, strict=True)) / count for n in names
    }
