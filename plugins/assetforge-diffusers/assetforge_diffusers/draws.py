"""All randomness of a training run, each draw a pure function of (seed, purpose, position), so that a resumed run draws what it would have drawn.

Draws are made on the CPU, so that every device sees the same ones.
"""

import hashlib
from collections.abc import Callable, Sequence
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
    """The random numbers of one batch.

    Attributes:
        noise: Noise that is added to the latents; (batch, channels, ..., height, width).
        encoding: Noise of the autoencoder's posterior; same shape.
        time: Position in the noise schedule, uniform in [0, 1); (batch,).
        offset: Noise per channel for the noise offset; (batch, channels, 1, ...).
    """

    noise: torch.Tensor
    encoding: torch.Tensor
    time: torch.Tensor
    offset: torch.Tensor

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Draws":
        """Every tensor changed."""
        return Draws(change(self.noise), change(self.encoding), change(self.time), change(self.offset))

    def to(self, device: torch.device) -> "Draws":
        """The same on ``device``."""
        return self if device.type == "cpu" else self.map(lambda tensor: tensor.to(device, non_blocking=True))


def draw(source: torch.Generator, shape: Sequence[int], *, pinned: bool = False) -> Draws:
    """Draw one batch's numbers for latents of ``shape``, on the CPU; ``pinned`` for a quick way to a GPU."""
    noise = torch.randn(shape, generator=source)
    encoding = torch.randn(shape, generator=source)
    time = torch.rand(shape[0], generator=source)
    offset = torch.randn((*shape[:2], *(1,) * (len(shape) - 2)), generator=source)
    drawn = (noise, encoding, time, offset)
    return Draws(*(tensor.pin_memory() for tensor in drawn)) if pinned else Draws(*drawn)


@dataclass(frozen=True, slots=True)
class Pick:
    """One view of one entry.

    Attributes:
        entry: Index of the entry.
        flipped: It is shown mirrored.
        variant: Which order of its caption is shown, as a number that is taken modulo their count; -1 for no caption.
    """

    entry: int
    flipped: bool
    variant: int


class Shuffle:
    """Which entries a batch sees; all entries of a batch are of one bucket, so of one size.

    Every bucket is an endless row of permutations of its entries, each keyed by (seed, bucket, number of the pass), and is cut into batches of full size. In
    an epoch a bucket has as many batches as begin to end within it, so that over the epochs every entry is seen as often as it repeats. The order of the batches
    of an epoch is a permutation of its own.

    Args:
        buckets: Entries per bucket; an entry that repeats stands in it several times.
        batch_size: Entries per batch.
        seed: Seed of all randomness.
        flip: Mirror views at random.
        caption_dropout: Share of views without a caption.
    """

    def __init__(
        self, buckets: Sequence[Sequence[int]], batch_size: int, seed: int, *, flip: bool, caption_dropout: float
    ) -> None:
        self._buckets = [list(bucket) for bucket in buckets if bucket]
        self._batch_size, self._seed, self._flip, self._caption_dropout = batch_size, seed, flip, caption_dropout
        self._epoch: tuple[int, list[int]] = (-1, [])
        self._passes: dict[int, tuple[int, list[int]]] = {}

    @property
    def views_per_epoch(self) -> int:
        """Entries of one epoch, repeats counted."""
        return sum(len(bucket) for bucket in self._buckets)

    def batch(self, index: int) -> list[Pick]:
        """The views of a batch; batches count from 0."""
        epoch = index * self._batch_size // self.views_per_epoch
        while self._before(epoch + 1) <= index:
            epoch += 1
        while self._before(epoch) > index:
            epoch -= 1
        order, place = self._order(epoch), index - self._before(epoch)
        bucket = order[place]
        number = self._batches(bucket, epoch) + order[:place].count(bucket)
        first = number * self._batch_size
        return [self._pick(bucket, view) for view in range(first, first + self._batch_size)]

    def _batches(self, bucket: int, epochs: int) -> int:
        return epochs * len(self._buckets[bucket]) // self._batch_size

    def _before(self, epoch: int) -> int:
        return sum(self._batches(bucket, epoch) for bucket in range(len(self._buckets)))

    def _order(self, epoch: int) -> list[int]:
        if self._epoch[0] != epoch:
            row = [
                bucket
                for bucket in range(len(self._buckets))
                for _ in range(self._batches(bucket, epoch + 1) - self._batches(bucket, epoch))
            ]
            if len(self._buckets) > 1:
                places = torch.randperm(len(row), generator=generator(self._seed, "order", epoch)).tolist()
                row = [row[place] for place in places]
            self._epoch = (epoch, row)
        return self._epoch[1]

    def _pick(self, bucket: int, view: int) -> Pick:
        entries = self._buckets[bucket]
        number, place = divmod(view, len(entries))
        known, order = self._passes.get(bucket, (-1, []))
        if known != number:
            order = torch.randperm(len(entries), generator=generator(self._seed, f"pass of {bucket}", number)).tolist()
            self._passes[bucket] = (number, order)
        bits = key(self._seed, f"view of {bucket}", view)
        flipped = self._flip and bool(bits & 1)
        captioned = (bits >> 1) / float(1 << 62) >= self._caption_dropout
        variant = key(self._seed, f"caption of {bucket}", view) if captioned else -1
        return Pick(entries[order[place]], flipped, variant)
