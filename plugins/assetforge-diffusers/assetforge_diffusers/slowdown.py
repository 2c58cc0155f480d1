"""Notices when steps become slow because memory is full: drivers move what does not fit into main memory, operating systems onto the disk, and nobody says so."""

import resource
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch

from assetforge_diffusers.memory import gib

__all__ = ["Pressure", "SlowdownWatch", "pressure_on"]

_FIRST_STEPS = 20
_SLOWER = 3.0
_FULL = 0.95
_FAULTS_PER_STEP = 100
_IN_A_ROW = 3
_LEAST = 3
"""Measurements that a median is taken of: the first may hold a compilation."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """How full memory is.

    Attributes:
        used: Bytes in use by everybody.
        total: Bytes that there are.
        own: Bytes that this process has taken.
        faults: Pages that this process has had to read back from the disk since it began.
    """

    used: int
    total: int
    own: int
    faults: int = 0


def pressure_on(device: torch.device) -> Pressure:
    """Of a GPU or of main memory; takes microseconds and does not wait for the device."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Pressure(total - free, total, torch.cuda.memory_reserved(device))
    memory = psutil.virtual_memory()
    own = psutil.Process().memory_info().rss
    return Pressure(
        memory.total - memory.available, memory.total, own, resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    )


class SlowdownWatch:
    """Compares steps with the median of the first 20.

    A few slow steps say nothing: another program may have had the device. So several in a row have to be 3 times as slow while memory is more than 95 %
    full, or while pages come back from the disk.

    Args:
        device: Where steps run.
        measure: Tells how full memory is.
    """

    def __init__(self, device: torch.device, measure: Callable[[torch.device], Pressure] = pressure_on) -> None:
        self._device, self._measure = device, measure
        self._first: list[float] = []
        self._usual, self._seen, self._slow = 0.0, 0, 0
        self._faults: int | None = None
        self._said = False

    def observe(self, seconds: float, steps: int = 1) -> str:
        """Take in how long a step took.

        Args:
            seconds: Per step.
            steps: Over how many it was measured.

        Returns:
            One sentence of warning, the first time that memory slows steps down; empty otherwise.
        """
        if self._said:
            return ""
        if not self._usual:
            self._first.append(seconds)
            self._seen += steps
            if self._seen >= _FIRST_STEPS and len(self._first) >= _LEAST:
                self._usual = statistics.median(self._first)
            return ""
        if seconds < _SLOWER * self._usual:
            self._slow, self._faults = 0, None
            return ""
        self._slow += steps
        now = self._measure(self._device)
        faults = now.faults - self._faults if self._faults is not None else 0
        self._faults = now.faults
        cause = self._cause(now, faults / steps)
        if self._slow < _IN_A_ROW or not cause:
            return ""
        self._said = True
        return (
            f"Steps take {seconds:.2g} s instead of {self._usual:.2g} s because {cause}. Close what else uses it, "
            f"or start again with a smaller batch_size, gradient_checkpointing or fit_memory=auto."
        )

    def _cause(self, now: Pressure, faults: float) -> str:
        full = f"{gib(now.used)} of {gib(now.total)} are in use, {gib(now.own)} by this run"
        if self._device.type == "cuda" and now.used > _FULL * now.total:
            return f"the GPU's memory is full and the driver moves data to main memory and back ({full})"
        if self._device.type != "cuda" and faults >= _FAULTS_PER_STEP:
            return f"main memory is full and the operating system swaps ({full}, {faults:.0f} pages read back per step)"
        return ""
