"""The executor contract: a new executor is right when a subclass of :class:`ExecutorContract` passes.

::

    class TestMyExecutor(ExecutorContract):
        def executor(self):
            return MyExecutor(MyParams())

Real processes, real kills. What an executor cannot offer a test (the agent's process id on a machine it cannot reach into) it says by overriding
:meth:`ExecutorContract.processes`.
"""

# The names of the tests are their documentation.
# ruff: noqa: D102

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from assetforge import agent
from assetforge.api.job import JobSpec, Resources, Result
from assetforge.api.protocols import EngineState, Executor, Handle
from assetforge.domain.bundle import BundlePlan, InputFile
from assetforge.errors import BusyError
from assetforge.jobs.bundle import write_bundle
from assetforge.store.blobs import BlobStore

__all__ = [
    "ExecutorContract",
    "end_processes",
    "final_weights",
    "read_lines",
    "trainer_plan",
    "wait_until",
    "writer_blocks",
]

_OVER: tuple[EngineState, ...] = ("exited", "gone")


def trainer_plan(job: int = 1, *, grace_s: float = 10.0, **params: Any) -> BundlePlan:
    """A bundle that runs the fake trainer; ``params`` as in :mod:`assetforge.testing.fake_trainer`."""
    script = Path(__file__).with_name("fake_trainer.py").read_bytes()
    spec = JobSpec(
        project="contract",
        job=job,
        kind="train",
        params={"steps": 20, "seconds": 0.02, "save_every": 5, **params},
        argv=("{python}", "inputs/fake_trainer.py"),
        seed=7,
        grace_s=grace_s,
        payload={},
    )
    return BundlePlan(spec=spec, inputs=(InputFile(path="inputs/fake_trainer.py", data=script),))


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = 30.0) -> None:
    """Look again and again until something is true.

    Raises:
        AssertionError: It was not, for ``limit_s`` seconds.
    """
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.02)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every line of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


def writer_blocks(workdir: Path) -> list[int]:
    """Process ids in the order in which they wrote into the folder; one that comes back after another began means two writers at once."""
    path = workdir / "writers.log"
    pids = [int(line.split()[0]) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []
    return [pid for number, pid in enumerate(pids) if number == 0 or pids[number - 1] != pid]


def final_weights(workdir: Path) -> str:
    """Hash of the weights that a finished fake trainer made, after checking the file against ``result.json``."""
    result = Result.read(workdir / "result.json")
    for output in result.outputs:
        assert agent.file_digest(workdir / output.path) == output.sha256, f"{output.path} is not what result.json says"
    return result.weights[0].tensor_hash


class ExecutorContract(ABC):
    """Subclass it, name the class ``Test...``, override ``executor``."""

    @abstractmethod
    def executor(self) -> Executor:
        """A new executor object; two of them stand for two clients."""

    def processes(self, handle: Handle) -> Mapping[str, Any]:
        """``status.json`` of the attempt as it is where the job runs, with ``agent`` and ``child``; skips where nothing can be killed."""
        return agent.read_status(Path(handle["workdir"]))

    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return BlobStore(tmp_path / "blobs")

    @pytest.fixture
    def bundle(self, tmp_path: Path, store: BlobStore) -> Iterator[Callable[..., Path]]:
        """A function that writes a bundle of the fake trainer and returns its work folder; what still runs at the end is ended."""
        made: list[Path] = []

        def write(number: int = 1, **params: Any) -> Path:
            workdir = tmp_path / "work" / f"{number:06d}"
            write_bundle(trainer_plan(number, **params), workdir, store, tmp_path / "trash")
            made.append(workdir)
            return workdir

        yield write
        for workdir in made:
            end_processes(workdir)

    def test_it_offers_slots(self) -> None:
        offers = self.executor().probe()
        assert offers, "it has no slot at all"
        assert len({offer.slot for offer in offers}) == len(offers), "two slots have one name"

    def test_handles_are_plain_and_repeatable(self, bundle: Callable[..., Path]) -> None:
        workdir = bundle()
        first, second = self.executor().handle("k-1", 1, workdir), self.executor().handle("k-1", 1, workdir)
        assert first == second == json.loads(json.dumps(first))
        assert first != self.executor().handle("k-1", 2, workdir)

    def test_it_runs_a_bundle_and_brings_everything_back(self, bundle: Callable[..., Path]) -> None:
        workdir = bundle()
        handle = self.submit(workdir)
        self.finish(handle, workdir)
        assert final_weights(workdir)
        assert agent.read_status(workdir)["state"] == "succeeded"
        assert [event["step"] for event in read_lines(workdir / "events.jsonl") if event["kind"] == "progress"] == list(
            range(1, 21)
        )
        self.executor().release(handle)

    def test_submitting_again_starts_nothing(self, bundle: Callable[..., Path]) -> None:
        workdir = bundle()
        handle = self.submit(workdir)
        self.submit(workdir)
        self.finish(handle, workdir)
        self.submit(workdir)
        time.sleep(0.3)
        assert len(writer_blocks(workdir)) == 1

    def test_following_by_cursor_misses_and_repeats_nothing(self, bundle: Callable[..., Path]) -> None:
        workdir = bundle(steps=75, seconds=0.005)
        handle = self.submit(workdir)
        received, cursor, over = [], 0, False
        while True:
            # A new client every time, as after a lost connection.
            client = self.executor()
            over = client.poll(handle) in _OVER
            events, after = client.follow(handle, cursor)
            received += events
            if over and after == cursor:
                break
            cursor = after
        self.executor().fetch(handle, workdir)
        assert received == read_lines(workdir / "events.jsonl")
        assert [event["step"] for event in received if event["kind"] == "progress"] == list(range(1, 76))

    def test_a_killed_child_resumes_to_the_same_weights(self, bundle: Callable[..., Path]) -> None:
        reference = bundle(1)
        self.finish(self.submit(reference), reference)
        workdir = bundle(2, kill_at=13)
        self.finish(self.submit(workdir), workdir)
        assert agent.read_status(workdir)["state"] == "interrupted"
        self.finish(self.submit(workdir, 2), workdir)
        assert final_weights(workdir) == final_weights(reference)
        starts = [event for event in read_lines(workdir / "events.jsonl") if event["kind"] == "started"]
        assert [start["resumed_from"] for start in starts] == [0, 10]

    def test_a_killed_agent_never_means_two_writers(self, bundle: Callable[..., Path]) -> None:
        workdir = bundle(steps=200, deaf=True)
        handle = self.submit(workdir)
        wait_until(lambda: len(writer_blocks(workdir)) == 1, "the child writes")
        os.kill(self.processes(handle)["agent"]["pid"], signal.SIGKILL)
        with pytest.raises(BusyError):
            self.submit(workdir, 2)
        wait_until(lambda: self.executor().poll(handle) in _OVER, "the orphan ends")
        self.executor().fetch(handle, workdir)
        assert len(writer_blocks(workdir)) == 1
        assert final_weights(workdir), "the orphan's result counts"

    def test_the_child_of_a_killed_agent_saves_and_stops(self, bundle: Callable[..., Path]) -> None:
        if not sys.platform.startswith("linux"):
            pytest.skip("only Linux tells a child that its parent died")
        workdir = bundle(steps=500)
        handle = self.submit(workdir)
        wait_until(lambda: len(writer_blocks(workdir)) == 1, "the child writes")
        os.kill(self.processes(handle)["agent"]["pid"], signal.SIGKILL)
        wait_until(lambda: self.executor().poll(handle) == "gone", "both are gone", 10.0)
        assert any((workdir / "checkpoints").glob("step-*.state.json"))

    def test_a_killed_client_ends_nothing(self, bundle: Callable[..., Path]) -> None:
        workdir = bundle(steps=60)
        handle = self.submit(workdir)
        reader = textwrap.dedent("""
            import sys, time
            from pathlib import Path
            from assetforge import agent
            while True:
                agent.read_events(Path(sys.argv[1]), 0); time.sleep(0.01)
        """)
        client = subprocess.Popen([sys.executable, "-c", reader, str(workdir)])
        wait_until(lambda: len(writer_blocks(workdir)) == 1, "the child writes")
        client.kill()
        client.wait()
        self.finish(handle, workdir)
        assert final_weights(workdir)

    def test_cancelled_before_it_starts(self, bundle: Callable[..., Path]) -> None:
        workdir = bundle()
        handle = self.executor().handle("k-1", 1, workdir)
        self.executor().cancel(handle, 1.0)
        self.submit(workdir)
        self.finish(handle, workdir)
        assert agent.read_status(workdir)["state"] == "cancelled"
        assert writer_blocks(workdir) == []

    def test_cancelled_while_it_runs(self, bundle: Callable[..., Path]) -> None:
        workdir = bundle(steps=500)
        handle = self.submit(workdir)
        wait_until(lambda: len(writer_blocks(workdir)) == 1, "the child writes")
        self.executor().cancel(handle, 5.0)
        self.executor().cancel(handle, 5.0)
        self.finish(handle, workdir)
        assert agent.read_status(workdir)["state"] == "cancelled"
        assert any((workdir / "checkpoints").glob("step-*.state.json")), "it had no time to save"
        self.finish(self.submit(workdir, 2), workdir, wait=False)
        wait_until(lambda: len(writer_blocks(workdir)) == 2, "the next attempt runs")

    def test_a_deaf_child_is_killed_after_the_grace(self, bundle: Callable[..., Path]) -> None:
        workdir = bundle(steps=5000, deaf=True, grace_s=0.5)
        handle = self.submit(workdir)
        wait_until(lambda: len(writer_blocks(workdir)) == 1, "the child writes")
        self.executor().cancel(handle, 0.5)
        self.finish(handle, workdir)
        assert agent.read_status(workdir)["state"] == "cancelled"

    def test_a_stopped_machine_means_interrupted(self, bundle: Callable[..., Path]) -> None:
        workdir = bundle(steps=500)
        handle = self.submit(workdir)
        wait_until(lambda: len(writer_blocks(workdir)) == 1, "the child writes")
        os.kill(self.processes(handle)["agent"]["pid"], signal.SIGTERM)
        self.finish(handle, workdir)
        assert agent.read_status(workdir)["state"] == "interrupted"

    def test_a_failure_is_told_with_its_reason(self, bundle: Callable[..., Path]) -> None:
        workdir = bundle(fail_at=3)
        self.finish(self.submit(workdir), workdir)
        status = agent.read_status(workdir)
        assert (status["state"], status["error"]) == ("failed", "the fake trainer was told to fail")

    def test_a_tampered_input_is_refused(self, bundle: Callable[..., Path]) -> None:
        workdir = bundle()
        script = workdir / "inputs" / "fake_trainer.py"
        data = script.read_bytes()
        script.unlink()
        script.write_bytes(data[:-1] + b" ")
        self.finish(self.submit(workdir), workdir)
        status = agent.read_status(workdir)
        assert status["state"] == "failed"
        assert "fake_trainer.py" in status["error"]
        assert writer_blocks(workdir) == []

    def submit(self, workdir: Path, attempt: int = 1) -> Handle:
        """Submit an attempt in the first slot."""
        executor = self.executor()
        handle = executor.handle("k-1", attempt, workdir)
        executor.submit(handle, workdir, Resources(), executor.probe()[0].slot)
        return handle

    def finish(self, handle: Handle, workdir: Path, *, wait: bool = True) -> None:
        """Wait for the end of an attempt and bring back what it made."""
        if wait:
            wait_until(lambda: self.executor().poll(handle) in _OVER, "the attempt ends")
            self.executor().fetch(handle, workdir)


def end_processes(workdir: Path) -> None:
    """Kill what a test left behind in a work folder, by process id."""
    status = agent.read_json(workdir / "status.json")
    for name in ("agent", "child"):
        process = status.get(name)
        if process and agent.is_alive(process):
            with suppress(ProcessLookupError):
                os.kill(process["pid"], signal.SIGKILL)
