"""Slots of a machine are shared by all films: never two jobs in one, whatever is killed, and films take turns."""

import os
import signal
import sys
import time
import types
from itertools import pairwise

import pytest

from assetforge import agent
from assetforge.api.job import Resources
from assetforge.builtin import gpus
from assetforge.builtin.device_slots import DeviceSlots
from assetforge.builtin.local_executor import LocalExecutor, LocalParams
from assetforge.errors import TryAgainError, UsageError
from assetforge.jobs.control import get_job
from assetforge.services.projects import create_project
from assetforge.testing.executor_contract import read_lines, wait_until, writer_blocks


@pytest.fixture
def other(home):
    with create_project("other") as opened:
        yield opened


def state(film, job):
    return get_job(film, job).state


def span(film, job):
    events = read_lines(film.paths.job(job) / "events.jsonl")
    return events[0]["t"], events[-1]["t"]


def writes(film, job):
    return len(writer_blocks(film.paths.job(job))) > 0


def test_two_films_take_turns_in_one_slot(project, other, queue_job, supervise):
    jobs = [(film, queue_job(film=film, steps=15)) for _ in range(3) for film in (project, other)]
    both = [supervise("--until-idle", "--slots=1", film=film) for film in (project, other)]
    for one in both:
        one.finish()
    assert {state(*job) for job in jobs} == {"succeeded"}
    spans = sorted((*span(film, job), film.name) for film, job in jobs)
    assert all(end <= start for (_, end, _), (start, _, _) in pairwise(spans)), "two at once"
    names = [name for _, _, name in spans]
    assert all(first != second for first, second in pairwise(names[1:])), names


def test_the_slot_outlives_its_supervisor_and_the_waiting_job_says_so(project, other, queue_job, supervise):
    long = queue_job(steps=800)
    first = supervise("--slots=1")
    wait_until(lambda: writes(project, long), "it runs")
    first.kill()
    waiting = queue_job(film=other, steps=2)
    second = supervise("--until-idle", "--slots=1", film=other)
    wait_until(lambda: get_job(other, waiting).error != "", "it says what it waits for")
    told = get_job(other, waiting)
    assert (told.state, told.attempt) == ("queued", 0)
    assert "cpu:0 (film-" in told.error
    status = agent.read_json(project.paths.job(long) / "status.json")
    os.kill(status["agent"]["pid"], signal.SIGKILL)
    second.finish()
    assert (state(other, waiting), get_job(other, waiting).error) == ("succeeded", "")
    assert span(other, waiting)[0] >= span(project, long)[1], "it began before the child of the other was gone"


def test_a_job_that_cannot_be_planned_gives_its_slot_back(project, other, queue_job, supervise):
    bad, good = queue_job(unplannable=True), queue_job(film=other, steps=2)
    still_there = supervise("--slots=1")
    wait_until(lambda: state(project, bad) == "failed", "it fails")
    supervise("--until-idle", "--slots=1", film=other).finish()
    assert state(other, good) == "succeeded"
    still_there.kill(signal.SIGTERM)


def test_the_least_recently_served_film_goes_first_and_urgent_jobs_before_it(tmp_path):
    slots = DeviceSlots(tmp_path)
    for film in ("a", "b"):
        slots.want(film, {"gpu": 0})
    taken = slots.take("a", "gpu")
    taken.close()
    assert slots.take("a", "gpu") is None, "it is the turn of b"
    slots.want("a", {"gpu": 5})
    urgent = slots.take("a", "gpu")
    assert urgent is not None
    assert slots.take("b", "gpu") is None, "it is taken"
    urgent.close()
    urgent.close()
    slots.want("a", {"gpu": 0})
    assert slots.take("b", "gpu") is not None


def test_a_film_alone_and_one_beside_a_stale_one_wait_for_nobody(tmp_path, monkeypatch):
    slots = DeviceSlots(tmp_path)
    slots.want("gone", {"gpu": 9})
    slots.want("a", {"gpu": 0})
    assert slots.take("a", "gpu") is None
    later = time.time() + 30
    monkeypatch.setattr(time, "time", lambda: later)
    slots.want("a", {"gpu": 0})
    first = slots.take("a", "gpu")
    first.close()
    slots.want("gone", {})
    second = slots.take("a", "gpu")
    assert second is not None
    assert slots.user("gpu") == "a"
    (tmp_path / "waiting" / "damaged.json").write_text("{")
    second.close()
    assert slots.take("a", "gpu") is not None


class FakeDriver(types.ModuleType):
    """As much of NVML as we ask for: GPU 1 has fallen off the bus, GPU 2 does not tell its memory."""

    class NVMLError(Exception):
        pass

    def __init__(self, driver=True):
        super().__init__("pynvml")
        self.driver, self.open = driver, 0

    def nvmlInit(self):  # noqa: N802
        if not self.driver:
            raise self.NVMLError("no driver")
        self.open += 1

    def nvmlShutdown(self):  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        return 3

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        if index == 1:
            raise self.NVMLError("lost")
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        if uuid != "MIG-5":
            raise self.NVMLError("not found")
        return uuid

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802
        return handle if isinstance(handle, str) else f"GPU-{'abc'[handle]}{handle}"

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return "NVIDIA Test"

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        if handle == 2:
            raise self.NVMLError("not supported")
        return types.SimpleNamespace(total=24 * 2**30)


@pytest.fixture
def driver(monkeypatch):
    fake = FakeDriver()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


def test_gpus_are_slots_and_children_see_one_by_its_uuid(driver, tmp_path):
    executor = LocalExecutor(LocalParams(slots=2))
    assert [(offer.slot, offer.device, offer.vram_gb) for offer in executor.probe()] == [
        ("cuda:0", "cuda", 24.0),
        ("cuda:2", "cuda", 0.0),
    ]
    assert driver.open == 0
    environment = executor._environment(tmp_path, types.SimpleNamespace(device="auto", threads=0), ["cuda:2"])
    assert (environment["CUDA_VISIBLE_DEVICES"], environment["ASSETFORGE_DEVICE"]) == ("GPU-c2", "cuda")
    reserved = executor.reserve("film", "cuda:2")
    assert LocalExecutor().reserve("film", "cuda:2") is None
    assert LocalExecutor().reserve("film", "cuda:0") is not None
    reserved.close()


def test_a_job_for_two_gpus_gets_both_or_neither(driver, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(
        LocalExecutor,
        "_start",
        lambda self, handle, workdir, environment, locks: started.append((environment, len(locks))),
    )
    executor = LocalExecutor()
    handle = executor.handle("film-1", 1, tmp_path)
    elsewhere = LocalExecutor().reserve("other", "cuda:2")
    executor.reserve("film", "cuda:0")
    with pytest.raises(TryAgainError, match="1 are free"):
        executor.submit(handle, tmp_path, Resources(gpus=2), "cuda:0")
    assert started == []
    alone = LocalExecutor().reserve("other", "cuda:0")
    assert alone is not None, "it does not keep its slot while it waits for more"
    alone.close()
    elsewhere.close()
    executor.reserve("film", "cuda:0")
    executor.submit(handle, tmp_path, Resources(gpus=2), "cuda:0")
    ((environment, locks),) = started
    assert (environment["CUDA_VISIBLE_DEVICES"], locks) == ("GPU-a0,GPU-c2", 2)
    executor.reserve("film", "cuda:0")
    with pytest.raises(UsageError, match="needs 3 GPUs, and this machine has 2"):
        executor.submit(handle, tmp_path, Resources(gpus=3), "cuda:0")


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("2,0", ["GPU-c2", "GPU-a0"]),
        ("GPU-c", ["GPU-c2"]),
        ("MIG-5", ["MIG-5"]),
        ("0,7,2", ["GPU-a0"]),
        ("GPU-", []),
        ("", []),
        ("-1", []),
    ],
)
def test_visible_devices_count_as_for_cuda(driver, visible, expected):
    assert [gpu.uuid for gpu in gpus.find_gpus({"CUDA_VISIBLE_DEVICES": visible})] == expected


def test_without_a_driver_there_are_cpu_slots(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", FakeDriver(driver=False))
    assert gpus.find_gpus({}) == []
    assert LocalExecutor(LocalParams(slots=2)).probe()[1].slot == "cpu:1"
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpus.find_gpus({}) == []
