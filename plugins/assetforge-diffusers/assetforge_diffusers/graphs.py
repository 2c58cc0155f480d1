"""Launches forward and backward pass of a batch as one piece: a CUDA graph, recorded once for every size of picture and replayed from then on.

A GPU computes the thousands of small kernels of a step faster than the processor can launch them one by one, and waits most of the time. A recorded step costs
the processor one launch. What is recorded reads and writes fixed places in memory, so batches are copied to where the recorded one lay, and gradients are
added to tensors that stay. Everything else about a step, clipping, optimizer and averages, goes on as without.
"""

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

from assetforge_diffusers.feeder import Feed
from assetforge_diffusers.machine import Machine
from assetforge_diffusers.params import LoraTrainerParams

__all__ = ["CudaRecorder", "Recorder", "StepGraphs", "are_recorded", "garbage_stays"]

_WARM = 2
"""Batches of a size that are computed as usual before one is recorded: libraries choose their kernels in the first ones."""
_MOST_SIZES = 24
"""Each graph keeps tens of MB about its kernels."""

Compute = Callable[[], torch.Tensor]


def are_recorded(params: LoraTrainerParams, machine: Machine) -> bool:
    """Whether the steps of a run are to be recorded: on CUDA, when they neither draw random numbers nor wait for weights from main memory."""
    steady = not params.dropout and not params.offload and machine.accelerator.scaler is None
    return machine.device.type == "cuda" and params.cuda_graphs and steady


class Recorder(Protocol):
    """What records kernels."""

    def usual(self, compute: Compute) -> torch.Tensor:
        """Compute without recording, as a preparation for it."""

    def record(self, compute: Compute) -> tuple[Callable[[], object], torch.Tensor]:
        """Record what ``compute`` launches, without computing it.

        Returns:
            What replays it, and the tensor that holds the result then.

        Raises:
            RuntimeError: It does something that cannot be recorded.
        """


class CudaRecorder:
    """CUDA graphs that share their memory, since one is replayed at a time.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def usual(self, compute: Compute) -> torch.Tensor:
        """On the stream that is recorded later, where autograd then expects it."""
        present = torch.cuda.current_stream()
        self._stream.wait_stream(present)
        with torch.cuda.stream(self._stream):
            result = compute()
        present.wait_stream(self._stream)
        result.record_stream(present)
        return result

    def record(self, compute: Compute) -> tuple[Callable[[], object], torch.Tensor]:
        """See :class:`Recorder`. Other threads, which prepare the next batch, may go on meanwhile."""
        graph = torch.cuda.CUDAGraph()
        with (
            garbage_stays(),
            torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
        ):
            result = compute()
        return graph.replay, result


@contextmanager
def garbage_stays() -> Iterator[None]:
    """Within, nothing is collected, and nothing old is left to be: a graph of an earlier loop that is destroyed while another is recorded spoils that one."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class StepGraphs:
    """Forward and backward pass of batches, recorded where that is possible.

    Args:
        compute: Gives the loss of a batch, () without a gradient, and adds to the gradients of ``parameters``.
        parameters: What is trained.
        recorder: Records.

    Attributes:
        trouble: Why nothing is recorded any more, for people; empty while all is well.
    """

    def __init__(
        self, compute: Callable[[Feed], torch.Tensor], parameters: Iterable[torch.nn.Parameter], recorder: Recorder
    ) -> None:
        self._compute, self._recorder = compute, recorder
        self._usual: dict[tuple[object, ...], int] = {}
        self._recorded: dict[tuple[object, ...], tuple[Feed, Callable[[], object], torch.Tensor]] = {}
        self.trouble = ""
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)

    def __call__(self, feed: Feed) -> torch.Tensor:
        """The loss of a batch; gradients were added."""
        shape = tuple((tuple(tensor.shape), tensor.dtype) for tensor in feed.tensors())
        if shape not in self._recorded:
            times = self._usual.get(shape, 0)
            if times < _WARM or self.trouble or len(self._recorded) == _MOST_SIZES or not self._record(shape, feed):
                self._usual[shape] = times + 1
                return self._recorder.usual(lambda: self._compute(feed))
        place, replay, loss = self._recorded[shape]
        for there, new in zip(place.tensors(), feed.tensors(), strict=True):
            there.copy_(new, non_blocking=True)
        replay()
        return loss.clone()  # the next replay writes to the same place

    def _record(self, shape: tuple[object, ...], feed: Feed) -> bool:
        place = feed.map(torch.clone)
        try:
            replay, loss = self._recorder.record(lambda: self._compute(place))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.trouble = str(error).strip().partition("\n")[0] or type(error).__name__
            return False
        self._recorded[shape] = (place, replay, loss)
        return True
