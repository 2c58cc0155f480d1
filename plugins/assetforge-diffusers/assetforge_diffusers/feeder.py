"""Prepares the next batch while the device computes the present one."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch

from assetforge_diffusers.draws import Draws
from assetforge_diffusers.material import Batch

__all__ = ["Feed", "Feeder"]


@dataclass(frozen=True, slots=True)
class Feed:
    """A batch and its random numbers."""

    batch: Batch
    draws: Draws

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Feed":
        """Every tensor changed."""
        return Feed(self.batch.map(change), self.draws.map(change))

    def tensors(self) -> list[torch.Tensor]:
        """All of them, in one order."""
        found: list[torch.Tensor] = []

        def see(tensor: torch.Tensor) -> torch.Tensor:
            found.append(tensor)
            return tensor

        self.map(see)
        return found


class Feeder:
    """Gives batches by number; on a GPU the next one is made by a thread, in pinned memory, ahead of time.

    Args:
        make: Makes a batch from its number; a pure function.
        device: Where batches go.
        stride: From one batch to the next that is asked for.
    """

    def __init__(self, make: Callable[[int], Feed], device: torch.device, stride: int = 1) -> None:
        self._make, self._device, self._stride = make, device, stride
        self._ahead = ThreadPoolExecutor(1, "feeder") if device.type == "cuda" else None
        self._next: tuple[int, Future[Feed]] | None = None

    def take(self, index: int) -> Feed:
        """Batch ``index`` on the device."""
        if self._ahead is None:
            fed = self._make(index)
            return Feed(fed.batch.map(lambda tensor: tensor.to(self._device)), fed.draws.to(self._device))
        ready = self._next is not None and self._next[0] == index
        fed = self._next[1].result() if self._next is not None and ready else self._prepare(index)
        following = index + self._stride
        self._next = (following, self._ahead.submit(self._prepare, following))
        return Feed(
            fed.batch.map(lambda tensor: tensor.to(self._device, non_blocking=True)), fed.draws.to(self._device)
        )

    def _prepare(self, index: int) -> Feed:
        fed = self._make(index)
        return Feed(
            fed.batch.map(lambda tensor: tensor.pin_memory() if tensor.device.type == "cpu" else tensor), fed.draws
        )

    def close(self) -> None:
        """End the thread."""
        if self._ahead is not None:
            self._ahead.shutdown(wait=False, cancel_futures=True)
