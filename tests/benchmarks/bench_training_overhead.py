"""What our training loop costs on top of a bare forward-backward-step loop over the same network, tensors and batch; for Stable Diffusion 1.x and XL.

Run ``python tests/benchmarks/bench_training_overhead.py``. Both loops take turns step by step in one process on one thread, so that whatever else
the machine does meets both. Prints a JSON line for each family; exit 1 when a ratio of the medians is above the limit.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from assetforge_diffusers.adapters import trainable
from assetforge_diffusers.families.sd15 import StableDiffusion15
from assetforge_diffusers.families.sdxl import StableDiffusionXL
from assetforge_diffusers.loop import TrainingLoop
from assetforge_diffusers.machine import memory_mb, take_machine
from assetforge_diffusers.material import Bucket, Material, Texts
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.views import Entry
from diffusers import DDIMScheduler, UNet2DConditionModel

from assetforge.api.job import DatasetItem
from assetforge.domain.buckets import cover

LIMIT = 1.08
PICTURES, BATCH, LATENT, CHANNELS, TOKENS, WIDTH, POOLED = 12, 4, 16, 8, 48, 128, 64


UNET: dict[str, Any] = {
    "sample_size": LATENT,
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "block_out_channels": (64, 96, 128),
    "layers_per_block": 1,
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}
SDXL: dict[str, Any] = {
    **UNET,
    "transformer_layers_per_block": (1, 1, 2),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 32,
    "projection_class_embeddings_input_dim": 6 * 32 + POOLED,
}
FAMILIES: dict[str, tuple[type[StableDiffusion15], dict[str, Any]]] = {
    "sd15": (StableDiffusion15, UNET),
    "sdxl": (StableDiffusionXL, SDXL),
}


class _Parts:
    """Stands in for a base on disk: a UNet of the toybox's size with random weights, and the noise schedule of Stable Diffusion."""

    dtype = torch.float32

    def __init__(self, unet: dict[str, Any]) -> None:
        torch.manual_seed(0)
        self._parts = {
            "unet": UNet2DConditionModel(**unet).requires_grad_(requires_grad=False),
            "scheduler": DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        }

    def load(self, name: str) -> Any:
        """The UNet or the scheduler; a step with cached latents and captions needs nothing else."""
        return self._parts[name]

    def has(self, name: str) -> bool:
        """Whether it is there, as far as the family asks."""
        return bool(name)

    def config(self, name: str) -> dict[str, Any]:
        """Settings, as far as a step needs them."""
        return dict(self._parts["unet"].config) if name == "unet" else {"scaling_factor": 0.18215}


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
        told={
            "hidden": torch.randn((PICTURES + 1, TOKENS, WIDTH), generator=source),
            "pooled": torch.randn((PICTURES + 1, POOLED), generator=source),
        },
        rows=tuple((row,) for row in range(PICTURES)),
    )
    return Material(entries, [bucket], texts)


def make_loop(name: str, steps: int) -> TrainingLoop:
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
    kind, unet = FAMILIES[name]
    return TrainingLoop(kind(_Parts(unet)), make_material(), params, steps, 0, machine)


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
    sizes = torch.tensor([[128, 128, 0, 0, 128, 128]] * BATCH)
    conditions = {"text_embeds": torch.randn((BATCH, POOLED), generator=source), "time_ids": sizes}
    settings = {"encoder_hidden_states": hidden, "added_cond_kwargs": conditions, "return_dict": False}

    def step() -> None:
        loss = F.mse_loss(unet(noisy, timesteps, **settings)[0], noise)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(name: str, count: int) -> dict[str, Any]:
    """The figures of one family."""
    loop = make_loop(name, count + 5)
    bare = make_bare_step(loop)
    times: dict[str, list[float]] = {"ours": [], "bare": []}

    def ours(index: int) -> None:
        loop.step(index)
        if loop.window_full:
            loop.read()
            memory_mb(loop.machine.device)

    for index in range(count + 5):
        for who, run in (("ours", lambda index=index: ours(index)), ("bare", bare))[:: 1 if index % 2 else -1]:
            start = time.perf_counter()
            run()
            times[who].append(time.perf_counter() - start)
    medians = {who: statistics.median(values[5:]) for who, values in times.items()}
    ratio = medians["ours"] / medians["bare"]
    return {
        "name": f"training overhead, {name}, ours / bare",
        "figure": round(ratio, 4),
        "limit": LIMIT,
        "ok": ratio <= LIMIT,
        "seconds_per_step": round(medians["ours"], 4),
        "bare_seconds_per_step": round(medians["bare"], 4),
        "steps": count,
        "batch": BATCH,
        "parameters": sum(parameter.numel() for parameter in loop.parameters.values()),
    }


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=80, help="steps of each loop that are counted")
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    missed = False
    for name in chosen.families:
        figures = measure(name, chosen.steps)
        missed |= not figures["ok"]
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
