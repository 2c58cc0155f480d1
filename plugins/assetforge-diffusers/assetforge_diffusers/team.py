"""Several GPUs share the batches of a step, a process for each.

The leading process keeps the optimizer, the clock and the checkpoints. It sends the adapters' weights before every step, which are small; every process adds up the
gradients of its share of the batches, and their sum goes back to the leader. So a run learns the same on one GPU as on several, but for the order of a sum, and a
checkpoint of either goes on with the other. On a CPU processes stand in for GPUs.
"""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing import get_context

from assetforge.errors import JobError, UsageError

__all__ = ["Leader", "Member", "assemble", "check_size"]

_HOST = "127.0.0.1"
_PATIENCE = timedelta(hours=24)
"""Others wait while the leader validates or exports; a process that is gone is noticed by those who watch."""
_GRACE_S = 20.0
_MOMENT_S = 5.0
_OVER = -1


def check_size(gpus: int, accumulate: int, device: torch.device, *, scaled: bool) -> None:
    """Whether a team of that size can work here.

    Raises:
        UsageError: The batches of a step cannot be shared out evenly, there are fewer GPUs, or losses are ``scaled``, as in fp16: each process would come
            to a scale of its own, and their gradients could not be added.
    """
    if gpus > 1 and scaled:
        raise UsageError(
            "Several GPUs cannot share the work in fp16.", hint="Set precision to bf16 or fp32, or gpus to 1."
        )
    if accumulate % gpus:
        raise UsageError(
            f"{accumulate} batches a step cannot be shared by {gpus} GPUs.",
            hint=f"Set accumulate to a multiple of {gpus}; with accumulate={gpus} each computes one batch of batch_size pictures.",
        )
    if device.type == "cuda" and torch.cuda.device_count() < gpus:
        raise UsageError(f"There are {torch.cuda.device_count()} GPUs here, not {gpus}.", hint="Lower gpus.")
    if device.type not in {"cpu", "cuda"}:
        raise UsageError(f"Several processes cannot share the work on {device.type}.", hint="Set gpus to 1.")


@dataclass(frozen=True, slots=True)
class Member:
    """A process's place in the team.

    Attributes:
        rank: From 0, which leads.
        size: How many there are.
    """

    rank: int
    size: int

    def batches(self, step: int, accumulate: int) -> range:
        """Numbers of the batches of a step that this process computes."""
        return range(step * accumulate + self.rank, (step + 1) * accumulate, self.size)


class _Exchange:
    """Weights there, gradients and losses back, each as one piece."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        self._parameters = parameters
        self._device = parameters[0].device
        self._sizes = [parameter.numel() for parameter in parameters]

    def weights(self, *, mine: bool) -> None:
        flat = self._flat([parameter.data for parameter in self._parameters])
        dist.broadcast(flat, src=0)
        if not mine:
            self._put(flat, [parameter.data for parameter in self._parameters])

    def gradients(self, loss: torch.Tensor, *, mine: bool) -> torch.Tensor:
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        grads = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        flat = self._flat([*grads, loss.float().reshape(1)])
        dist.reduce(flat, dst=0)
        if mine:
            self._put(flat[:-1], grads)
        return flat[-1]

    def announce(self, step: int) -> None:
        dist.broadcast(torch.tensor([step], device=self._device), src=0)

    def hear(self) -> int:
        told = torch.tensor([_OVER], device=self._device)
        dist.broadcast(told, src=0)
        return int(told.item())

    @staticmethod
    def _flat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat([tensor.detach().flatten() for tensor in tensors])

    def _put(self, flat: torch.Tensor, places: Sequence[torch.Tensor]) -> None:
        for place, part in zip(places, flat.split(self._sizes), strict=True):
            place.copy_(part.view_as(place))


class Leader:
    """The leading process's hold on the others.

    Args:
        size: How many processes there are, with this one.
        start: Starts the process of a rank with the port where they meet; gives something with ``is_alive``, ``sentinel``, ``join`` and ``kill``.
        backend: ``nccl`` or ``gloo``.
    """

    def __init__(self, size: int, start: Callable[[int, int], Any], backend: str) -> None:
        self.member = Member(0, size)
        store = dist.TCPStore(_HOST, 0, size, is_master=True, wait_for_workers=False)
        self._others = [start(rank, store.port) for rank in range(1, size)]
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="team", daemon=True).start()
        try:
            dist.init_process_group(backend, store=store, rank=0, world_size=size, timeout=_PATIENCE)
        except RuntimeError as error:
            raise self._gone() or error from error
        self._exchange: _Exchange | None = None

    def begin(self, step: int, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Have all work on a step, from this process's weights."""
        try:
            if self._exchange is None:
                self._exchange = _Exchange(parameters)
            self._exchange.announce(step)
            self._exchange.weights(mine=True)
        except RuntimeError as error:
            raise self._gone() or error from error

    def gather(self, loss: torch.Tensor) -> torch.Tensor:
        """Add everybody's gradients to this process's; the sum of everybody's losses."""
        assert self._exchange is not None  # noqa: S101 - begin comes first
        try:
            return self._exchange.gradients(loss, mine=True)
        except RuntimeError as error:
            raise self._gone() or error from error

    def close(self) -> None:
        """Send the others home."""
        if self._over.is_set():
            return
        self._over.set()
        if self._exchange is not None and not self._dead():
            self._exchange.announce(_OVER)
        for other in self._others:
            other.join(_GRACE_S if self._exchange is not None else 0)
            if other.is_alive():
                other.kill()
                other.join()
        if dist.is_initialized():
            dist.destroy_process_group()

    def _gone(self) -> JobError | None:
        dead = self._dead(_MOMENT_S)  # a connection ends before its process does
        if not dead:
            return None
        return JobError(
            f"The process of GPU {dead[0]} ended in the middle of training.",
            hint="The run's log says why; lower batch_size if it ran out of memory.",
        )

    def _dead(self, patience: float = 0.0) -> list[int]:
        """Ranks of processes that are gone. Told by their sentinels: two threads that ask ``is_alive`` at once can be told wrong."""
        ended = wait([other.sentinel for other in self._others], timeout=patience)
        return [rank for rank, other in enumerate(self._others, 1) if other.sentinel in ended]

    def _watch(self) -> None:
        """Waiting for a process that is gone could last minutes inside a library; then this one ends too, and the job is known as failed."""
        while not self._over.wait(1.0):
            if self._dead() and not self._over.wait(_GRACE_S):
                sys.stderr.write(f"{self._gone()}\n")
                sys.stderr.flush()
                os._exit(1)


def assemble(size: int, follow: Callable[..., None], share: Any, device: torch.device) -> Leader:
    """Start the other processes, each of which calls ``follow(share, device, joined)``; ``joined`` makes it part of the team.

    Args:
        size: How many processes there are, with this one.
        follow: A function at the top of a module.
        share: What it needs; sent along.
        device: This process's.
    """
    own = (device.index or 0) if device.type == "cuda" else 0
    free = [number for number in range(size) if number != own] if device.type == "cuda" else []
    devices = [f"cuda:{number}" for number in free] if free else ["cpu"] * (size - 1)
    backend = "nccl" if device.type == "cuda" else "gloo"
    spawn = get_context("spawn")

    def start(rank: int, port: int) -> Any:
        process = spawn.Process(
            target=_join, args=(follow, share, devices[rank - 1], rank, size, port, backend), daemon=True
        )
        process.start()
        return process

    return Leader(size, start, backend)


def _join(follow: Callable[..., None], share: Any, device: str, rank: int, size: int, port: int, backend: str) -> None:
    threading.Thread(target=_end_with_the_leader, name="leader", daemon=True).start()

    def joined(loop: Any) -> None:
        store = dist.TCPStore(_HOST, port, size, is_master=False, timeout=_PATIENCE)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
        exchange = _Exchange(loop.trained)
        place = Member(rank, size)
        while (step := exchange.hear()) != _OVER:
            exchange.weights(mine=False)
            exchange.gradients(loop.add_gradients(place.batches(step, loop.params.accumulate)), mine=False)
            loop.forget_gradients()
        dist.destroy_process_group()

    follow(share, device, joined)


def _end_with_the_leader() -> None:
    """Nobody else would: a process that waits for one that is gone keeps its GPU."""
    leader = parent_process()
    if leader is not None:
        leader.join()
        os._exit(1)
