"""The linear picture model: words and noise in, 16 x 16 pixels out.

A prompt becomes the mean of one fixed random vector per word, the seed becomes noise, and one matrix turns both into pixels around mid-grey::

    pixels = 0.5 + (W + strength * alpha / rank * up @ down) @ [words, noise]

``W`` is the base model; ``up`` and ``down`` are a LoRA. ``python -m assetforge_example.model`` makes the base model anew, byte for byte.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file, save

__all__ = [
    "INPUTS",
    "MODULE",
    "PIXELS",
    "SIDE",
    "Lora",
    "base_bytes",
    "base_folder",
    "inputs_of",
    "load_base",
    "load_lora",
    "to_picture",
]

SIDE = 16
PIXELS = SIDE * SIDE * 3
WORD_INPUTS = 48
NOISE_INPUTS = 16
INPUTS = WORD_INPUTS + NOISE_INPUTS
MODULE = "lora_decoder"
"""What the only layer is called in a kohya-format file."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lora:
    """A low-rank update.

    Attributes:
        down: Shape (rank, INPUTS).
        up: Shape (PIXELS, rank).
        alpha: The update is scaled by alpha / rank.
    """

    down: Floats
    up: Floats
    alpha: float

    def matrix(self, strength: float) -> Floats:
        """What it adds to ``W``; shape (PIXELS, INPUTS)."""
        return strength * self.alpha / len(self.down) * (self.up @ self.down)


def base_folder() -> Path:
    """Where the base model is; what the base model's spec names as ``locate``."""
    return Path(__file__).parent / "base"


def base_bytes() -> bytes:
    """The base model: a smooth random texture per input, the same at every call."""
    rng = np.random.default_rng(20260101)
    textures = rng.standard_normal((INPUTS, 4, 4, 3)).astype(np.float32)
    smooth = np.repeat(np.repeat(textures, SIDE // 4, axis=1), SIDE // 4, axis=2)
    weight = 0.12 * smooth.reshape(INPUTS, PIXELS).T
    return save({"decoder.weight": np.ascontiguousarray(weight, np.float16)}, {"format": "assetforge-example-linear"})


def load_base(folder: Path) -> Floats:
    """``W`` of shape (PIXELS, INPUTS)."""
    return load_file(folder / "model.safetensors")["decoder.weight"].astype(np.float64)


def load_lora(file: Path) -> Lora:
    """Read a kohya-format LoRA of this model.

    Raises:
        KeyError: It is a LoRA of another model.
    """
    tensors = load_file(file)
    return Lora(
        down=tensors[f"{MODULE}.lora_down.weight"].astype(np.float64),
        up=tensors[f"{MODULE}.lora_up.weight"].astype(np.float64),
        alpha=float(tensors[f"{MODULE}.alpha"]),
    )


def inputs_of(prompt: str, noise: Floats) -> Floats:
    """What the matrix is applied to; shape (INPUTS,).

    Args:
        prompt: Words; their order does not matter.
        noise: Shape (NOISE_INPUTS,), standard normal.
    """
    words = re.findall(r"[\w-]+", prompt.lower()) or [""]
    return np.concatenate([np.mean([_vector(word) for word in words], axis=0), 0.3 * noise])


@lru_cache(maxsize=4096)
def _vector(word: str) -> Floats:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(WORD_INPUTS)
    return vector / np.linalg.norm(vector) * 3


def to_picture(pixels: Floats, width: int, height: int) -> NDArray[np.uint8]:
    """Pixels of shape (PIXELS,) in 0 to 1 as a uint8 picture of shape (height, width, 3)."""
    small = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8).reshape(SIDE, SIDE, 3)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


if __name__ == "__main__":
    base_folder().mkdir(exist_ok=True)
    (base_folder() / "model.safetensors").write_bytes(base_bytes())
