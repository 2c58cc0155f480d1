"""Draws the training pictures once, in parallel, and keeps them in a safetensors file."""

from __future__ import annotations

import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from assetforge_toybox.doodles import draw_doodle
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


def draw_pictures(folder: Path, scenes: int, doodles: int, workers: int) -> dict[str, np.ndarray]:
    """Draw `scenes` training scenes and `doodles` doodles, or read them back if `folder` has them already.

    Returns {"scenes": uint8 (n, 64, 64, 3), "doodles": uint8 (m, 64, 64, 3)}.
    """
    path = folder / f"pictures-{scenes}-{doodles}.safetensors"
    if path.is_file():
        return load_file(path)
    every = training_scenes(scenes)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        drawn = list(pool.map(_scene_pixels, [every[i : i + CHUNK] for i in range(0, scenes, CHUNK)]))
        scribbled = list(
            pool.map(_doodle_pixels, [list(range(i, min(i + CHUNK, doodles))) for i in range(0, doodles, CHUNK)])
        )
    pictures = {"scenes": np.concatenate(drawn), "doodles": np.concatenate(scribbled)}
    temporary = path.with_suffix(".partial")
    save_file(pictures, temporary)
    temporary.replace(path)
    return pictures
