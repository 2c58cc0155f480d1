"""Jobs on this machine: each attempt under its own detached agent, in place, so that it outlives whoever started it."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assetforge import agent
from assetforge.api.job import Resources
from assetforge.api.params import Params, param
from assetforge.api.protocols import EngineState, Handle, Offer
from assetforge.api.specs import ExecutorSpec
from assetforge.builtin.device_slots import DeviceSlots, Reservation
from assetforge.builtin.gpus import Gpu, find_gpus
from assetforge.errors import BusyError, JobError, TryAgainError, UsageError
from assetforge.paths import device_slots_dir

__all__ = ["LOCAL_EXECUTOR", "LocalExecutor", "LocalParams"]

_MOST_CPU_SLOTS = 4
_START_LIMIT_S = 60.0
_LAST_USER_LEAVES_S = 2.0
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class LocalParams(Params):
    """How this machine is shared out."""

    slots: int = param(
        0, "How many jobs may run at once without a GPU; 0 takes one per core, at most four.", unit="jobs", ge=0, le=256
    )


class LocalExecutor:
    """Runs bundles where they lie. One slot per NVIDIA GPU where there is one, else slots of CPU cores; all films of a user share them.

    Args:
        params: How the machine is shared out.
    """

    def __init__(self, params: LocalParams | None = None) -> None:
        self._params = params or LocalParams()
        self._offers: Sequence[Offer] = ()
        self._gpus: dict[str, Gpu] = {}
        self._slots = DeviceSlots(device_slots_dir())
        self._reserved: dict[str, Reservation] = {}

    def probe(self) -> Sequence[Offer]:
        """The slots of this machine; looked up once."""
        if not self._offers:
            self._gpus = {f"cuda:{gpu.key}": gpu for gpu in find_gpus(os.environ)}
            self._offers = [_gpu_offer(slot, gpu) for slot, gpu in self._gpus.items()] or _other_offers(
                self._params.slots
            )
        return self._offers

    def want(self, film: str, wants: Mapping[str, int]) -> None:
        """Say which slots a film waits for, each with the priority of the job; to be repeated every second or so.

        Raises:
            StorageError: The user's data folder cannot be written.
        """
        self._slots.want(film, {self._device(slot): priority for slot, priority in wants.items()})

    def reserve(self, film: str, slot: str) -> Reservation | None:
        """Take a slot for the next attempt that is submitted there; ``None`` when it is in use or another film has its turn.

        Raises:
            StorageError: The user's data folder cannot be written.
        """
        taken = self._slots.take(film, self._device(slot))
        if taken is not None:
            self._reserved[slot] = taken
        return taken

    def user(self, slot: str) -> str:
        """Which film uses a slot, or did last."""
        return self._slots.user(self._device(slot))

    def handle(self, job_key: str, attempt: int, workdir: Path) -> Handle:
        """The work folder and the attempt are all it takes."""
        return {"executor": "local", "key": job_key, "attempt": attempt, "workdir": str(workdir)}

    def submit(self, handle: Handle, workdir: Path, resources: Resources, slot: str) -> None:
        """Start the agent of an attempt, which holds the slot until its processes are gone; an attempt that was started before is left alone.

        Raises:
            BusyError: Another writer is still in the folder, or another job in the slot; try again later.
            TryAgainError: Further GPUs that the job needs are in use; it shall not wait in its slot for them.
            UsageError: The machine has too few GPUs.
            JobError: The agent could not be started.
        """
        reserved = self._reserved.pop(slot, None)
        taken = reserved or self._take(slot, workdir, handle["attempt"])
        if taken is None:
            return
        further: dict[str, Reservation] = {}
        try:
            further = self._further_gpus(slot, resources.gpus)
            locks = [taken.descriptor, *(one.descriptor for one in further.values())]
            self._start(handle, workdir, self._environment(workdir, resources, [slot, *further]), locks)
        except BusyError:
            if reserved is not None:
                self._reserved[slot] = reserved
            else:
                taken.close()
            raise
        except BaseException:
            taken.close()
            raise
        finally:
            for one in further.values():
                one.close()
        taken.close()

    def _further_gpus(self, slot: str, wanted: int) -> dict[str, Reservation]:
        """The GPUs besides its own slot's that a job needs; all of them or none, since two jobs that each hold half would wait for ever."""
        if wanted <= 1 or slot not in self._gpus:
            return {}
        if wanted > len(self._gpus):
            raise UsageError(
                f"The job needs {wanted} GPUs, and this machine has {len(self._gpus)}.",
                hint="Lower its parameter gpus, or run it elsewhere with --on.",
            )
        taken: dict[str, Reservation] = {}
        for other in self._gpus:
            lock = self._slots.lock("", self._device(other)) if other != slot and len(taken) + 1 < wanted else None
            if lock is not None:
                taken[other] = lock
        if len(taken) + 1 < wanted:
            for one in taken.values():
                one.close()
            raise TryAgainError(f"Waits for {wanted} GPUs of this machine at once; {len(taken) + 1} are free.")
        return taken

    def _start(self, handle: Handle, workdir: Path, environment: Mapping[str, str], locks: Sequence[int]) -> None:
        command = [sys.executable, str(workdir / "agent.py"), "start", str(workdir)]
        command += ["--attempt", str(handle["attempt"]), "--python", sys.executable]
        for lock in locks:
            command += ["--keep", str(lock)]
        for name, value in environment.items():
            command += ["--env", f"{name}={value}"]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_START_LIMIT_S,
                check=False,
                pass_fds=tuple(locks),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise JobError(f"The agent in {workdir} could not be started: {error}") from error
        if done.returncode == agent.TRY_AGAIN:
            raise BusyError(done.stderr.strip() or f"Another writer is still in {workdir}.")
        if done.returncode != 0:
            raise JobError(f"The agent in {workdir} could not be started: {done.stderr.strip()[-2000:]}")

    def _take(self, slot: str, workdir: Path, attempt: int) -> Reservation | None:
        """A slot that nobody reserved; ``None`` when the attempt was started before, by a supervisor that is gone, and holds it already."""
        deadline = time.monotonic() + _LAST_USER_LEAVES_S
        while True:
            if agent.read_status(workdir).get("attempt", 0) == attempt:
                return None
            taken = self._slots.lock("", self._device(slot))
            if taken is not None:
                return taken
            if time.monotonic() >= deadline:
                raise BusyError(f"Another job is still in slot {slot} of this machine.")
            time.sleep(0.05)

    def _device(self, slot: str) -> str:
        """Name of the lock: a GPU is the same one in whatever order it is listed."""
        self.probe()
        return self._gpus[slot].uuid if slot in self._gpus else slot

    def poll(self, handle: Handle) -> EngineState:
        """What the agent and the system say."""
        status = agent.read_status(Path(handle["workdir"]))
        if status.get("attempt", 0) < handle["attempt"]:
            return "exited" if status["state"] == "succeeded" else "gone"
        if status["state"] in agent.RUNNING_STATES:
            return "starting" if status["state"] == "starting" else "running"
        return "gone" if status["state"] == "lost" else "exited"

    def follow(self, handle: Handle, cursor: int) -> tuple[list[dict[str, Any]], int]:
        """Whole event lines after a byte cursor."""
        return agent.read_events(Path(handle["workdir"]), cursor)

    def cancel(self, handle: Handle, grace_s: float) -> None:
        """Leave the marker for the agent; a child whose agent died is stopped directly.

        Raises:
            JobError: The marker could not be written.
        """
        workdir = Path(handle["workdir"])
        if not workdir.is_dir():
            return
        command = [sys.executable, str(workdir / "agent.py"), "cancel", str(workdir)]
        command += ["--attempt", str(handle["attempt"]), "--grace", str(grace_s)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_START_LIMIT_S, check=False)
        if done.returncode != 0:
            raise JobError(f"The job in {workdir} could not be cancelled: {done.stderr.strip()[-2000:]}")

    def fetch(self, handle: Handle, workdir: Path) -> None:
        """Everything is in place already."""

    def release(self, handle: Handle) -> None:
        """Nothing is held outside the work folder."""

    def _environment(self, workdir: Path, resources: Resources, slots: Sequence[str]) -> dict[str, str]:
        device = next((offer.device for offer in self.probe() if offer.slot == slots[0]), "cpu")
        if resources.device != "auto":
            device = resources.device
        threads = resources.threads or self._threads(device)
        values = dict.fromkeys(_THREAD_VARIABLES, str(threads))
        values |= {"ASSETFORGE_THREADS": str(threads), "ASSETFORGE_DEVICE": device, "HF_HUB_OFFLINE": "1"}
        if slots[0] in self._gpus:
            values["CUDA_VISIBLE_DEVICES"] = ",".join(self._gpus[slot].uuid for slot in slots)
        if workdir.parent.name == "jobs":
            # Latents and text embeddings are shared by all jobs of a film.
            values["ASSETFORGE_CACHE"] = str(workdir.parent.parent / "cache")
        return values

    def _threads(self, device: str) -> int:
        slots = len(self.probe())
        share = _cores() // slots
        return max(1, share) if device == "cpu" else max(1, min(8, share))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpu_offer(slot: str, gpu: Gpu) -> Offer:
    title = f"{gpu.name} ({gpu.memory_gb:.0f} GiB)"
    return Offer(slot=slot, device="cuda", title=title, vram_gb=gpu.memory_gb)


def _other_offers(slots: int) -> list[Offer]:
    if platform.system() == "Darwin" and platform.machine() == "arm64" and not slots:
        return [Offer(slot="mps:0", device="mps", title="Apple GPU")]
    count = slots or max(1, min(_cores(), _MOST_CPU_SLOTS))
    return [
        Offer(slot=f"cpu:{number}", device="cpu", title=f"CPU, share {number + 1} of {count}")
        for number in range(count)
    ]


LOCAL_EXECUTOR = ExecutorSpec(
    name="local",
    title="This machine",
    summary="Runs jobs here, each under a process of its own that outlives the program.",
    load="assetforge.builtin.local_executor:LocalExecutor",
    params=LocalParams,
    transport="dir",
)
