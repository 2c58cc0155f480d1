"""How full and how busy NVIDIA GPUs are now, as the driver says. Asks once per call and keeps nothing open."""

from collections.abc import Mapping
from dataclasses import dataclass

from assetforge.builtin.gpus import find_gpus

__all__ = ["GpuLoad", "gpu_loads"]


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """A GPU at this moment.

    Attributes:
        key: As in :class:`assetforge.builtin.gpus.Gpu`.
        name: What people call it, without the vendor.
        memory_gb: Memory in GiB; 0 when the driver does not say.
        used_gb: How much of it is used, by whomever.
        busy: Percent of the last moment in which it worked; ``None`` when the driver does not say, as of slices.
    """

    key: str
    name: str
    memory_gb: float
    used_gb: float
    busy: int | None


def gpu_loads(environment: Mapping[str, str]) -> list[GpuLoad]:
    """The GPUs that a program started with ``environment`` would see; none without an NVIDIA driver."""
    gpus = find_gpus(environment)
    if not gpus:
        return []
    import pynvml

    found = []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        for gpu in gpus:
            used, busy = 0.0, None
            try:
                handle = pynvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
                used = float(pynvml.nvmlDeviceGetMemoryInfo(handle).used) / 2**30
                busy = int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            except pynvml.NVMLError:
                # Slices of a partitioned GPU have no load of their own.
                pass
            name = gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ")
            found.append(GpuLoad(gpu.key, name, gpu.memory_gb, used, busy))
    finally:
        pynvml.nvmlShutdown()
    return found
