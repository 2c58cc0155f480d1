"""Finds how many pictures may be rendered at once without changing any of them."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch

from assetforge.api.job import Cell
from assetforge.domain.canonical import digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LARGEST_DIFFERENCE", "MEAN_DIFFERENCE", "Batch", "find_batch", "shares"]

LARGEST_DIFFERENCE, MEAN_DIFFERENCE = 1, 0.02
"""What a GPU's pictures in batches may differ from those made alone, in steps of 8-bit values: the largest and the mean. A CPU's may not differ at all."""

_SIZES = (2, 4, 8)
_PROMPTS = ("a", "a red boat on a calm lake at dawn, two birds above it, painted with a broad brush")
_RESERVE = 0.85

Render = Callable[[Sequence[Cell]], "NDArray[np.float32]"]
"""Pictures of cells rendered as one batch, (cells, height, width, 3), values 0 to 1."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What was found.

    Attributes:
        size: Pictures at once.
        largest: Largest difference from pictures made alone, in 8-bit steps.
        mean: Mean difference.
    """

    size: int = 1
    largest: int = 0
    mean: float = 0.0


def find_batch(render: Render, device: torch.device, engine: Mapping[str, Any], cache: Path) -> Batch:
    """The largest of 2, 4 and 8 whose pictures are those made one at a time, else 1; measured once for each engine.

    Sizes are tried from the smallest, and no larger one is tried after one that changes pictures or would not fit into the memory.

    Args:
        render: Renders a batch with few steps.
        device: Where.
        engine: Everything that decides pixels, as JSON.
        cache: Folder where the answer is kept.
    """
    kept = cache / "batches" / f"{digest(dict(engine))}.json"
    try:
        return Batch(**json.loads(kept.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        found = _measure(render, device)
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".part")
    partial.write_text(json.dumps(asdict(found)), encoding="utf-8")
    partial.replace(kept)
    return found


def shares(count: int, largest: int) -> list[int]:
    """``count`` as a sum of batch sizes that were measured: powers of two up to ``largest``, or ``largest`` itself."""
    sizes: list[int] = []
    while count:
        size = largest if count >= largest else 1 << (count.bit_length() - 1)
        sizes.append(size)
        count -= size
    return sizes


def _measure(render: Render, device: torch.device) -> Batch:
    cells = [
        Cell(index=index, block="", prompt=_PROMPTS[index % 2], negative=_PROMPTS[0], seed=index)
        for index in range(_SIZES[-1])
    ]
    alone: list[NDArray[np.float32]] = []
    found = Batch()
    for size in _SIZES:
        alone += [render([cell])[0] for cell in cells[len(alone) : size]]
        before = _in_use(device)
        try:
            together = render(cells[:size])
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return found
        largest, mean, same = _difference(alone, together)
        if not (same if device.type == "cpu" else largest <= LARGEST_DIFFERENCE and mean < MEAN_DIFFERENCE):
            return found
        found = Batch(size, largest, mean)
        if 2 * (_peak(device) - before) > _RESERVE * _room(device):
            return found
    return found


def _difference(alone: "Sequence[NDArray[np.float32]]", together: "NDArray[np.float32]") -> tuple[int, float, bool]:
    import numpy as np

    one, other = (np.rint(pictures * 255).astype(np.int16) for pictures in (np.stack(alone), together))
    steps = np.abs(one - other)
    return int(steps.max()), float(steps.mean()), bool(np.array_equal(np.stack(alone), together))


def _in_use(device: torch.device) -> int:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def _peak(device: torch.device) -> int:
    """The most that was in use; of a process, since it began."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _room(device: torch.device) -> int:
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + unused)
    return int(psutil.virtual_memory().available)
