"""A trainer without a framework: what executor tests run. Standard library only; travels as an input of the bundle and runs as a script.

It "trains" a few bytes by hashing them once a step, commits checkpoints, stops when asked, resumes, writes a valid safetensors file and ``result.json`` last.
Parameters in ``job.json``: ``steps``, ``seconds`` per step, ``save_every``, ``fail_at`` (raises), ``deaf`` (ignores SIGTERM), and what happens in the first
attempt only: ``full_at`` (the disk is full), ``kill_at`` (ends itself with SIGKILL), ``hang_at`` (says nothing more). Every step leaves a line in
``writers.log``: process, step.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["main"]

_stop = False


def main() -> int:
    """Run the job in the current folder."""
    job: dict[str, Any] = json.loads(Path("job.json").read_bytes())
    params, attempt = job["params"], int(os.environ.get("ASSETFORGE_ATTEMPT", "1"))
    signal.signal(signal.SIGTERM, signal.SIG_IGN if params.get("deaf") else _ask_to_stop)
    step, weights = _latest(str(job["seed"]))
    _say("started", attempt, resumed_from=step)
    while step < params["steps"]:
        step += 1
        weights = hashlib.sha256(weights + b"%d" % step).digest()
        time.sleep(params.get("seconds", 0.0))
        _append("writers.log", f"{os.getpid()} {step}\n")
        _say("progress", attempt, step=step, total=params["steps"], loss=1.0 / step)
        if step == params.get("fail_at"):
            _say("failed", attempt, error="the fake trainer was told to fail", traceback="")
            return 1
        if step == params.get("full_at") and attempt == 1:
            _say("interrupted", attempt, error="no space left for the fake trainer")
            return 75
        if step == params.get("kill_at") and attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == params.get("hang_at") and attempt == 1:
            time.sleep(600)
        if _stop or step % params.get("save_every", 10) == 0:
            _commit(step, weights)
            _say("checkpoint", attempt, step=step)
        if _stop:
            return 75
    output = Path("outputs/weights.safetensors")
    _write(output, _safetensors(weights))
    _say("finished", attempt)
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    result = {
        "schema": "assetforge/result/1",
        "job": job["job"],
        "attempt": attempt,
        "outputs": [{"path": output.as_posix(), "sha256": digest, "size": output.stat().st_size}],
        "weights": [{"step": step, "kohya": output.as_posix(), "tensor_hash": hashlib.sha256(weights).hexdigest()}],
    }
    _write(Path("result.json"), json.dumps(result).encode())
    return 0


def _ask_to_stop(*_: object) -> None:
    global _stop
    _stop = True


def _latest(seed: str) -> tuple[int, bytes]:
    """The last committed checkpoint, or the beginning."""
    states = sorted(Path("checkpoints").glob("step-*.state.json"))
    if not states:
        return 0, hashlib.sha256(seed.encode()).digest()
    state = json.loads(states[-1].read_bytes())
    return state["step"], Path(state["file"]).read_bytes()


def _commit(step: int, weights: bytes) -> None:
    file = Path("checkpoints") / f"step-{step:08d}.bin"
    _write(file, weights)
    _write(
        Path("checkpoints") / f"step-{step:08d}.state.json",
        json.dumps({"step": step, "file": file.as_posix()}).encode(),
    )


def _safetensors(weights: bytes) -> bytes:
    header = json.dumps({"lora": {"dtype": "U8", "shape": [len(weights)], "data_offsets": [0, len(weights)]}}).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + weights


def _say(kind: str, attempt: int, **fields: Any) -> None:
    _append("events.jsonl", json.dumps({"kind": kind, "t": time.time(), "attempt": attempt, **fields}) + "\n")


def _append(name: str, line: str) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
