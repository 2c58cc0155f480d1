"""NVIDIA GPUs as the driver's own library (NVML) names them. Asks the driver once per call and keeps nothing open."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Gpu", "find_gpus"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, or one slice of a partitioned one.

    Attributes:
        key: Its index in the order of the PCI bus; of a slice, its UUID.
        uuid: What it is called wherever it is plugged in; ``CUDA_VISIBLE_DEVICES`` takes it.
        name: What the vendor calls it.
        memory_gb: Memory in GiB; 0 when the driver does not say.
    """

    key: str
    uuid: str
    name: str
    memory_gb: float


def find_gpus(environment: Mapping[str, str]) -> list[Gpu]:
    """The GPUs that a program started with ``environment`` would see, in that order; none without an NVIDIA driver.

    ``CUDA_VISIBLE_DEVICES`` counts as CUDA itself reads it: indices, UUIDs or their beginnings, up to the first that names nothing.
    """
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        present = _present(pynvml)
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        return present if visible is None else _visible(pynvml, present, visible)
    finally:
        pynvml.nvmlShutdown()


def _present(nvml: Any) -> list[Gpu]:
    found = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            found.append(_gpu(nvml, handle, str(index)))
        except nvml.NVMLError:
            # One that fell off the bus must not hide the others.
            continue
    return found


def _gpu(nvml: Any, handle: Any, key: str) -> Gpu:
    try:
        memory = float(nvml.nvmlDeviceGetMemoryInfo(handle).total) / 2**30
    except nvml.NVMLError:
        memory = 0.0
    return Gpu(key, nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle), memory)


def _visible(nvml: Any, present: list[Gpu], visible: str) -> list[Gpu]:
    chosen: list[Gpu] = []
    for entry in (part.strip() for part in visible.split(",")):
        named = _named(nvml, present, entry)
        if named is None or named in chosen:
            break
        chosen.append(named)
    return chosen


def _named(nvml: Any, present: list[Gpu], entry: str) -> Gpu | None:
    if entry.startswith("MIG-"):
        try:
            return _gpu(nvml, nvml.nvmlDeviceGetHandleByUUID(entry), entry)
        except nvml.NVMLError:
            return None
    matching = [gpu for gpu in present if gpu.key == entry or (entry.startswith("GPU-") and gpu.uuid.startswith(entry))]
    return matching[0] if len(matching) == 1 else None
