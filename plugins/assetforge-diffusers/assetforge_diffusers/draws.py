"""All randomness of a training run, each draw a pure function of (seed, purpose, position), so that a resumed run draws what it would have drawn.

Draws are made on the CPU, so that every device sees the same ones.
"""

import hashlib
from dataclasses import dataclass

import torch

__all__ = ["Draws", "Pick", "Shuffle", "draw", "generator", "key"]


def key(seed: int, purpose: str, position: int) -> int:
    """A 63-bit seed for one purpose at one position, unrelated to its neighbours' (the first bytes of a SHA-256)."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{position}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, purpose: str, position: int) -> torch.Generator:
    """A CPU generator for one purpose at one position."""
    return torch.Generator().manual_seed(key(seed, purpose, position))


@dataclass(frozen=True, slots=True)
class Draws:
    """The random numbers of one step.

    Attributes:
        noise: Noise that is added to the latents; (batch, channels, height, width).
        encoding: Noise of the autoencoder's posterior; same shape.
        time: Position in the noise schedule, uniform in [0, 1); (batch,).
        offset: Noise per channel for the noise offset; (batch, channels, 1, 1).
    """

    noise: torch.Tensor
    encoding: torch.Tensor
    time: torch.Tensor
    offset: torch.Tensor


def draw(source: torch.Generator, shape: tuple[int, int, int, int], device: torch.device) -> Draws:
    """Draw one step's numbers for latents of ``shape`` and move them to ``device``."""
    noise = torch.randn(shape, generator=source)
    encoding = torch.randn(shape, generator=source)
    time = torch.rand(shape[0], generator=source)
    offset = torch.randn((*shape[:2], 1, 1), generator=source)
    if device.type == "cpu":
        return Draws(noise, encoding, time, offset)
    return Draws(*(tensor.to(device, non_blocking=True) for tensor in (noise, encoding, time, offset)))


@dataclass(frozen=True, slots=True)
class Pick:
    """One view of one picture.

    Attributes:
        item: Index of the picture among the training items.
        flipped: It is shown mirrored.
        captioned: Its caption is shown; without, the empty caption stands in.
    """

    item: int
    flipped: bool
    captioned: bool


class Shuffle:
    """Which pictures a step sees: epoch after epoch, each a permutation of its own keyed by (seed, epoch)."""

    def __init__(self, repeats: list[int], batch_size: int, seed: int, flip: bool, caption_dropout: float) -> None:
        """Take the repeats per picture, pictures per step, the seed, whether to mirror, and the share of views without a caption."""
        self._rows = [index for index, count in enumerate(repeats) for _ in range(count)]
        self._batch_size = batch_size
        self._seed = seed
        self._flip = flip
        self._caption_dropout = caption_dropout
        self._epoch = -1
        self._order: list[int] = []

    @property
    def views_per_epoch(self) -> int:
        """Pictures of one epoch, repeats counted."""
        return len(self._rows)

    def batch(self, step: int) -> list[Pick]:
        """The views of a step; steps count from 0. A batch may reach over the end of an epoch."""
        return [self._pick(step * self._batch_size + place) for place in range(self._batch_size)]

    def _pick(self, view: int) -> Pick:
        epoch, place = divmod(view, len(self._rows))
        if epoch != self._epoch:
            self._order = torch.randperm(len(self._rows), generator=generator(self._seed, "epoch", epoch)).tolist()
            self._epoch = epoch
        flipped, captioned = False, True
        if self._flip or self._caption_dropout:
            bits = key(self._seed, "view", view)
            flipped = self._flip and bool(bits & 1)
            captioned = (bits >> 1) / float(1 << 62) >= self._caption_dropout
        return Pick(self._rows[self._order[place]], flipped, captioned)
