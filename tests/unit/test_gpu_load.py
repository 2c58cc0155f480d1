"""How full and busy GPUs are, told by a driver that is made up."""

import sys
import types

import pytest

from assetforge.builtin.gpu_load import GpuLoad, gpu_loads


class NVMLError(Exception):
    pass


@pytest.fixture
def driver(monkeypatch):
    """A driver with one GPU, and a slice of another that has no load of its own."""
    gib = 2**30
    names = {"GPU-a": "NVIDIA GeForce RTX 4090", "MIG-b": "NVIDIA A100 MIG 1g.5gb"}
    made = types.ModuleType("pynvml")

    def rates(handle):
        if handle == "MIG-b":
            raise NVMLError
        return types.SimpleNamespace(gpu=97)

    members = {
        "NVMLError": NVMLError,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: list(names)[index],
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlDeviceGetUUID": lambda handle: handle,
        "nvmlDeviceGetName": lambda handle: names[handle],
        "nvmlDeviceGetMemoryInfo": lambda _handle: types.SimpleNamespace(total=24 * gib, used=21.4 * gib),
        "nvmlDeviceGetUtilizationRates": rates,
    }
    for name, member in members.items():
        setattr(made, name, member)
    monkeypatch.setitem(sys.modules, "pynvml", made)
    return made


def test_memory_and_load(driver):
    first, second = gpu_loads({})
    assert first == GpuLoad("0", "RTX 4090", 24.0, pytest.approx(21.4), 97)
    assert (second.name, second.busy) == ("A100 MIG 1g.5gb", None)
    assert second.used_gb == pytest.approx(21.4)
    assert [one.name for one in gpu_loads({"CUDA_VISIBLE_DEVICES": "0"})] == ["RTX 4090"]


def test_without_a_driver(driver, monkeypatch):
    def broken():
        raise NVMLError

    monkeypatch.setattr(driver, "nvmlInit", broken)
    assert gpu_loads({}) == []
