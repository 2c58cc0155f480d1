"""What our training loop costs on top of a bare forward-backward-step loop over the same network, tensors and batch.

Run ``python tests/benchmarks/bench_training_overhead.py``. Both loops take turns step by step in one process on one thread, so that whatever else
the machine does meets both. Prints one JSON line; exit 1 when the ratio of the medians is above the limit.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from assetforge_diffusers.adapters import trainable
from assetforge_diffusers.families.sd15 import StableDiffusion15
from assetforge_diffusers.loop import TrainingLoop
from assetforge_diffusers.machine import memory_mb, take_machine
from assetforge_diffusers.material import Bucket, Material, Texts
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.views import Entry
from diffusers import DDIMScheduler, UNet2DConditionModel

from assetforge.api.job import DatasetItem
from assetforge.domain.buckets import cover

LIMIT = 1.10
PICTURES, BATCH, LATENT, CHANNELS, TOKENS, WIDTH = 12, 4, 16, 8, 48, 128


class _Parts:
    """Stands in for a base on disk: a UNet of the toybox's size with random weights, and the noise schedule of Stable Diffusion 1.x."""

    dtype = torch.float32

    def __init__(self) -> None:
        torch.manual_seed(0)
        self._parts = {
            "unet": UNet2DConditionModel(
                sample_size=LATENT,
                in_channels=CHANNELS,
                out_channels=CHANNELS,
                block_out_channels=(64, 96, 128),
                layers_per_block=1,
                cross_attention_dim=WIDTH,
                attention_head_dim=4,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            ).requires_grad_(requires_grad=False),
            "scheduler": DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        }

    def load(self, name: str) -> object:
        """The UNet or the scheduler; a step with cached latents and captions needs nothing else."""
        return self._parts[name]

    def config(self, name: str) -> dict[str, object]:
        """The autoencoder's settings, which scale latents."""
        del name
        return {"scaling_factor": 0.18215}


def make_material() -> Material:
    """Random latents, mirrored ones too, and embeddings."""
    source = torch.Generator().manual_seed(1)
    side = LATENT * 8
    item = DatasetItem(file="picture.png", sha256="0" * 64, caption="", width=side, height=side)
    entries = [Entry(item, cover((side, side), (side, side)))] * PICTURES
    bucket = Bucket(
        size=(side, side),
        entries=tuple(range(PICTURES)),
        moments=torch.randn((PICTURES, 2, 2 * CHANNELS, LATENT, LATENT), generator=source),
        masks=None,
        geometry=torch.tensor([entry.geometry for entry in entries]),
        weights=torch.ones(PICTURES),
    )
    texts = Texts(
        tokens={"ids": torch.zeros((PICTURES + 1, TOKENS), dtype=torch.long)},
        told={"hidden": torch.randn((PICTURES + 1, TOKENS, WIDTH), generator=source)},
        rows=tuple((row,) for row in range(PICTURES)),
    )
    return Material(entries, [bucket], texts)


def make_loop(steps: int) -> TrainingLoop:
    """Our loop over random latents and embeddings, with everything switched on that costs time in a usual run."""
    params = LoraTrainerParams(
        rank=8,
        alpha=8.0,
        targets="attention",
        conv_rank=8,
        batch_size=BATCH,
        flip=True,
        noise_offset=0.05,
        caption_dropout=0.1,
    )
    machine = take_machine("cpu", 1, "fp32", training=True)
    family = StableDiffusion15(_Parts())
    return TrainingLoop(family, make_material(), params, steps, 0, machine)


def make_bare_step(loop: TrainingLoop) -> Callable[[], None]:
    """Forward, backward and optimizer step over one fixed batch of ready tensors, and nothing else."""
    unet = loop.family.denoiser
    parameters = list(trainable({"unet": unet}).values())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    source = torch.Generator().manual_seed(2)
    noisy = torch.randn((BATCH, CHANNELS, LATENT, LATENT), generator=source)
    noise = torch.randn((BATCH, CHANNELS, LATENT, LATENT), generator=source)
    hidden = torch.randn((BATCH, TOKENS, WIDTH), generator=source)
    timesteps = torch.randint(0, 1000, (BATCH,), generator=source)

    def step() -> None:
        loss = F.mse_loss(unet(noisy, timesteps, encoder_hidden_states=hidden, return_dict=False)[0], noise)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=80, help="steps of each loop that are counted")
    count = parser.parse_args().steps
    torch.set_num_threads(1)
    loop = make_loop(count + 5)
    bare = make_bare_step(loop)
    times: dict[str, list[float]] = {"ours": [], "bare": []}

    def ours(index: int) -> None:
        loop.step(index)
        if loop.window_full:
            loop.read()
            memory_mb(loop.machine.device)

    for index in range(count + 5):
        for name, run in (("ours", lambda index=index: ours(index)), ("bare", bare))[:: 1 if index % 2 else -1]:
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values[5:]) for name, values in times.items()}
    ratio = medians["ours"] / medians["bare"]
    figures = {
        "name": "training overhead, ours / bare",
        "figure": round(ratio, 4),
        "limit": LIMIT,
        "ok": ratio <= LIMIT,
        "seconds_per_step": round(medians["ours"], 4),
        "bare_seconds_per_step": round(medians["bare"], 4),
        "steps": count,
        "batch": BATCH,
        "parameters": sum(parameter.numel() for parameter in loop.parameters.values()),
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0 if figures["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
