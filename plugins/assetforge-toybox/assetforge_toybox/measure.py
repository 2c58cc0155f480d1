"""Measures the base model: renders captions of reserved combinations and reads the attributes back.

`python -m assetforge_toybox.measure` prints one JSON document: the share of attributes that came out as the caption
said, beside the figures required, and the reader's own accuracy on drawn pictures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from assetforge_toybox.locate import base_folder
from assetforge_toybox.reader import Reader
from assetforge_toybox.training.reader import reader_accuracy
from assetforge_toybox.world import Scene, caption, held_out_scenes

BASE = base_folder()
REQUIRED = {"subject": 0.90, "colour": 0.90, "place": 0.95, "style": 0.90}
STEPS = 25
GUIDANCE = 4.0
BATCH = 10


def open_base(folder: Path = BASE) -> StableDiffusionPipeline:
    """Open the base model on the CPU in full precision, without a progress bar."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, dtype=torch.float32, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def render(
    pipeline: StableDiffusionPipeline,
    prompts: list[str],
    seeds: list[int],
    steps: int = STEPS,
    guidance: float = GUIDANCE,
) -> list[np.ndarray]:
    """Render each prompt with its own seed; uint8 pictures (64, 64, 3)."""
    pictures: list[np.ndarray] = []
    for start in range(0, len(prompts), BATCH):
        part = slice(start, start + BATCH)
        pictures += list(
            pipeline(
                prompts[part],
                num_inference_steps=steps,
                guidance_scale=guidance,
                height=64,
                width=64,
                output_type="np",
                generator=[torch.Generator().manual_seed(seed) for seed in seeds[part]],
            ).images
        )
    return [np.round(picture * 255).astype(np.uint8) for picture in pictures]


def score(scenes: list[Scene], pictures: list[np.ndarray], reader: Reader) -> dict[str, float]:
    """Return the share of pictures, per attribute, that show what their scene says."""
    readings = reader.read(pictures)
    names = ("subject", "colour", "place", "style", "position")
    return {
        n: round(sum(getattr(r, n) == getattr(s, n) for r, s in zip(readings, scenes, strict=True)) / len(scenes), 4)
        for n in names
    }


def contact_sheet(pictures: list[np.ndarray], columns: int = 20, scale: int = 2) -> Image.Image:
    """Paste pictures into one sheet."""
    edge = 64 * scale + 2
    sheet = Image.new("RGB", (columns * edge, -(-len(pictures) // columns) * edge), "white")
    for index, picture in enumerate(pictures):
        tile = Image.fromarray(picture).resize((64 * scale, 64 * scale), Image.Resampling.NEAREST)
        sheet.paste(tile, (index % columns * edge, index // columns * edge))
    return sheet


def measure(
    base: Path = BASE, count: int = 200, steps: int = STEPS, guidance: float = GUIDANCE, sheet: Path | None = None
) -> dict[str, Any]:
    """Render `count` reserved captions with the base in `base` and return the table as plain data."""
    scenes = held_out_scenes(count)
    reader, pipeline = Reader(), open_base(base)
    began = time.monotonic()
    pictures = render(pipeline, [caption(s) for s in scenes], list(range(count)), steps, guidance)
    seconds = time.monotonic() - began
    if sheet is not None:
        contact_sheet(pictures).save(sheet)
    shares = score(scenes, pictures, reader)
    return {
        "schema": "assetforge-toybox/measure/1",
        "captions": count,
        "steps": steps,
        "guidance": guidance,
        "seconds_per_picture": round(seconds / count, 3),
        "rendered": shares,
        "required": REQUIRED,
        "reached": {name: shares[name] >= least for name, least in REQUIRED.items()},
        "reader_on_drawn_pictures": reader_accuracy(reader),
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the table; exit 0 if every required figure is reached, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m assetforge_toybox.measure", description=__doc__)
    parser.add_argument("--base", type=Path, default=BASE, help="pipeline folder (default: the shipped one)")
    parser.add_argument("--count", type=int, default=200, help="captions to render")
    parser.add_argument("--steps", type=int, default=STEPS, help="DDIM steps")
    parser.add_argument("--guidance", type=float, default=GUIDANCE, help="classifier-free guidance scale")
    parser.add_argument("--threads", type=int, default=1, help="threads to compute with")
    parser.add_argument("--sheet", type=Path, help="also write the pictures as one PNG")
    chosen = parser.parse_args(arguments)
    if not (chosen.base / "model_index.json").is_file():
        parser.error(f"{chosen.base} is no pipeline folder: it has no model_index.json")
    torch.set_num_threads(chosen.threads)
    table = measure(chosen.base, chosen.count, chosen.steps, chosen.guidance, chosen.sheet)
    print(json.dumps(table, indent=2))
    return 0 if all(table["reached"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
