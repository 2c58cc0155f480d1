"""kill -9 of the real training child at random steps: the run resumes each time and ends with the same bits as one that nobody disturbed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("assetforge_diffusers")
pytest.importorskip("assetforge_toybox")

STEPS, KILLS = 40, 5


@pytest.fixture
def command(tmp_path):
    """``command(words)`` starts the program, with the plugins of the loop only."""
    env = {**os.environ, "ASSETFORGE_PLUGINS": "diffusers,toybox"}

    def start(*words):
        line = [sys.executable, "-m", "assetforge", *map(str, words), "--json", "--quiet"]
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=tmp_path)

    return start


def finished(process) -> dict:
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err + out
    return json.loads(out)


def steps_of(workdir: Path) -> list[tuple[int, int]]:
    """(attempt, step) of every progress event so far."""
    events = workdir / "events.jsonl"
    lines = events.read_text().splitlines() if events.is_file() else []
    parsed = [json.loads(line) for line in lines if line.endswith("}")]
    return [(event["attempt"], event["step"]) for event in parsed if event["kind"] == "progress"]


def kill_child_at(workdir: Path, attempt: int, step: int) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if any(one == attempt and at >= step for one, at in steps_of(workdir)):
            status = json.loads((workdir / "status.json").read_text())
            if status["attempt"] == attempt and status.get("child"):
                os.kill(status["child"]["pid"], signal.SIGKILL)
                return
        time.sleep(0.01)
    raise AssertionError(f"attempt {attempt} never came to step {step}")


@pytest.mark.slow
def test_five_kills_and_the_same_bits(command, make_png, tmp_path) -> None:
    film = Path(finished(command("project", "new", "killed"))["root"])
    finished(command("asset", "add", "look", "--type", "style", "--trigger", "lkstl"))
    for seed in range(5):
        make_png(tmp_path / "pictures" / f"{seed}.png", seed=seed)
    finished(command("ref", "add", "look", tmp_path / "pictures"))
    finished(command("dataset", "freeze", "look"))
    options = ["--base", "toybox", "--set", f"steps={STEPS}", "--set", "checkpoint_every=3", "--wait"]
    calm = finished(command("train", "look", *options))

    seed = random.randrange(10**6)
    marks = sorted(random.Random(seed).sample(range(4, STEPS - 4), KILLS))
    disturbed = command("train", "look", *options, "--again")
    workdir = film / ".assetforge" / "jobs" / f"{calm['job'] + 1:06d}"
    for attempt, mark in enumerate(marks, start=1):
        kill_child_at(workdir, attempt, mark)
    result = finished(disturbed)

    attempts = {attempt for attempt, _ in steps_of(workdir)}
    assert attempts == set(range(1, KILLS + 2)), f"seed {seed}"
    hashes = [
        finished(command("version", "show", address))["version"]["version"]["tensor_hash"]
        for address in ("look/v1", "look/v2")
    ]
    assert result["versions"] == ["look/v2"]
    assert hashes[0] == hashes[1], f"seed {seed}: {hashes}"
