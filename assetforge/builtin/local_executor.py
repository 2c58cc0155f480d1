"""Jobs on this machine: each attempt under its own detached agent, in place, so that it outlives whoever started it."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assetforge import agent
from assetforge.api.job import Resources
from assetforge.api.params import Params, param
from assetforge.api.protocols import EngineState, Handle, Offer
from assetforge.api.specs import ExecutorSpec
from assetforge.errors import BusyError, JobError

__all__ = ["LOCAL_EXECUTOR", "LocalExecutor", "LocalParams"]

_MOST_CPU_SLOTS = 4
_START_LIMIT_S = 60.0
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
    """Runs bundles where they lie. One slot per NVIDIA GPU where there is one, else slots of CPU cores.

    Args:
        params: How the machine is shared out.
    """

    def __init__(self, params: LocalParams | None = None) -> None:
        self._params = params or LocalParams()
        self._offers: Sequence[Offer] = ()

    def probe(self) -> Sequence[Offer]:
        """The slots of this machine; looked up once."""
        if not self._offers:
            self._offers = _gpu_offers() or _other_offers(self._params.slots)
        return self._offers

    def handle(self, job_key: str, attempt: int, workdir: Path) -> Handle:
        """The work folder and the attempt are all it takes."""
        return {"executor": "local", "key": job_key, "attempt": attempt, "workdir": str(workdir)}

    def submit(self, handle: Handle, workdir: Path, resources: Resources, slot: str) -> None:
        """Start the agent of an attempt; an attempt that was started before is left alone.

        Raises:
            BusyError: Another writer is still in the folder; try again later.
            JobError: The agent could not be started.
        """
        command = [sys.executable, str(workdir / "agent.py"), "start", str(workdir)]
        command += ["--attempt", str(handle["attempt"]), "--python", sys.executable]
        for name, value in self._environment(workdir, resources, slot).items():
            command += ["--env", f"{name}={value}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_START_LIMIT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise JobError(f"The agent in {workdir} could not be started: {error}") from error
        if done.returncode == agent.TRY_AGAIN:
            raise BusyError(done.stderr.strip() or f"Another writer is still in {workdir}.")
        if done.returncode != 0:
            raise JobError(f"The agent in {workdir} could not be started: {done.stderr.strip()[-2000:]}")

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

    def _environment(self, workdir: Path, resources: Resources, slot: str) -> dict[str, str]:
        device = next((offer.device for offer in self.probe() if offer.slot == slot), "cpu")
        if resources.device != "auto":
            device = resources.device
        threads = resources.threads or self._threads(device)
        values = dict.fromkeys(_THREAD_VARIABLES, str(threads))
        values |= {"ASSETFORGE_THREADS": str(threads), "ASSETFORGE_DEVICE": device, "HF_HUB_OFFLINE": "1"}
        if slot.startswith("cuda:"):
            values["CUDA_VISIBLE_DEVICES"] = slot.partition(":")[2]
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


def _gpu_offers() -> list[Offer]:
    """One slot per GPU that ``nvidia-smi`` lists; ``CUDA_VISIBLE_DEVICES`` narrows them as it does for every CUDA program."""
    query = ["nvidia-smi", "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode != 0:
        return []
    offers = []
    for line in done.stdout.splitlines():
        index, name, memory = (part.strip() for part in line.split(","))
        if _is_visible(index, os.environ):
            vram = float(memory) / 1024 if memory.replace(".", "").isdigit() else 0.0
            offers.append(Offer(slot=f"cuda:{index}", device="cuda", title=f"{name} ({vram:.0f} GiB)", vram_gb=vram))
    return offers


def _is_visible(index: str, environment: Mapping[str, str]) -> bool:
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    return visible is None or index in [part.strip() for part in visible.split(",")]


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
