"""Draws the training pictures once, in parallel, and keeps them in a safetensors file."""

from __future__ import annotations

import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from assetforge_toybox.doodles import draw_doodle
from assetforge_toybox.identities import draw_shot
from assetforge_toybox.world import Scene, draw_scene, sample_scene

CHUNK = 250
SCENE_SEED = "toybox-train"


def training_scenes(count: int) -> list[Scene]:
    """Return the first `count` training scenes; none is of a reserved combination."""
    rng = random.Random(SCENE_SEED)
    return [sample_scene(rng) for _ in range(count)]


def _scene_pixels(scenes: list[Scene]) -> np.ndarray:
    return np.stack([np.asarray(draw_scene(scene)) for scene in scenes])


def _doodle_pixels(seeds: list[int]) -> np.ndarray:
    return np.stack([np.asarray(draw_doodle(seed)) for seed in seeds])


def _shot_pixels(seeds: list[int]) -> np.ndarray:
    return np.stack([np.asarray(draw_shot(-1 - seed, -1 - seed, -1 - seed)) for seed in seeds])


def draw_pictures(folder: Path, counts: dict[str, int], workers: int) -> dict[str, np.ndarray]:
    """Draw training pictures of each kind, or read them back if `folder` has them already.

    `counts` says how many "scenes" (of the world), "doodles" (random shapes) and "shots" (figures and things that
    nobody has named; none of them is a probe's training identity). Returns uint8 (count, 64, 64, 3) for each kind.
    """
    scenes = training_scenes(counts["scenes"])
    work = {
        "scenes": (_scene_pixels, scenes),
        "doodles": (_doodle_pixels, range(counts["doodles"])),
        "shots": (_shot_pixels, range(counts["shots"])),
    }
    pictures = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for kind, (draw, items) in work.items():
            path = folder / f"{kind}-{counts[kind]}.safetensors"
            if not path.is_file():
                chunks = [list(items[i : i + CHUNK]) for i in range(0, len(items), CHUNK)]
                partial = path.with_suffix(".partial")
                save_file({"pictures": np.concatenate(list(pool.map(draw, chunks)))}, partial)
                partial.replace(path)
            pictures[kind] = load_file(path)["pictures"]
    return pictures
