"""Scoring again gives the same scores, byte for byte: from the same renders, from new ones, and when the scoring child was killed or stopped in the middle."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assetforge import agent
from assetforge.services.comparison import list_comparisons, read_scores

pytest.importorskip("assetforge_example")

PROMPTS = 12
PLUGIN = f"""
import time
import numpy as np
from assetforge.api import hookimpl
from assetforge.api.specs import MetricSpec, SuiteBlock, SuiteSpec

requires_api = 1

class Slow:
    def __init__(self, params, context):
        self.calls = context.workdir / "calls.txt"

    def embed(self, images):
        with self.calls.open("a") as stream:
            stream.write(f"{{len(images)}}\\n")
        time.sleep(0.4)
        return np.stack([image[::8, ::8].reshape(-1) / 3 - 40 for image in images]).astype(np.float32)

@hookimpl
def register_metrics():
    return [MetricSpec(name="slow", title="Slow", kind="embedding", gates=True, load="af_slow:Slow")]

@hookimpl
def register_suites():
    prompts = tuple(f"{{{{trigger}}}} {{{{class}}}} number {{number}}" for number in range({PROMPTS}))
    block = SuiteBlock(name="core", prompts=prompts, seeds=(1, 2))
    return [SuiteSpec(name="long", title="Long", family="example-linear", asset_types=("costume",), blocks=(block,), steps=1, cfg=1.0, width=64, height=64)]
"""


@pytest.fixture
def command(project, monkeypatch, tmp_path):
    """``command(words)`` starts the program with the example and a slow metric only."""
    folder = tmp_path / "on_path"
    info = folder / "af_slow-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "af_slow.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: af-slow\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[assetforge.plugins]\nslow = af_slow\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example,slow")

    def start(*words):
        line = [sys.executable, "-m", "assetforge", *map(str, words), "--project", str(project.root), "--json", "-q"]
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy())

    return start


def finished(process):
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err + out
    return json.loads(out)


def forget_scores(project):
    """As in a film that never scored these pictures."""
    shutil.rmtree(project.paths.cache / "scores")


def batches(workdir: Path) -> int:
    calls = workdir / "calls.txt"
    return len(calls.read_text().splitlines()) if calls.is_file() else 0


def disturb(project, process, number: int) -> Path:
    """Send a signal to the scoring child of the newest job after its second batch; returns the job's folder."""
    before = {folder for folder in project.paths.jobs.glob("0*") if batches(folder)}
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        found = [folder for folder in project.paths.jobs.glob("0*") if folder not in before and batches(folder) >= 2]
        child = agent.read_json(found[0] / "status.json").get("child") if found else None
        if child:
            os.kill(child["pid"], number)
            return found[0]
        time.sleep(0.01)
    raise AssertionError("no scoring child came to its second batch")


def attempts(workdir: Path) -> set[int]:
    lines = (workdir / "events.jsonl").read_text().splitlines()
    return {json.loads(line)["attempt"] for line in lines}


@pytest.mark.slow
def test_scores_are_the_same_bits_however_they_came_about(command, project, make_png, tmp_path):
    for seed in range(8):
        make_png(tmp_path / "pictures" / f"{seed}.png", seed=seed)
    finished(command("asset", "add", "coat", "--type", "costume", "--trigger", "rdcoat"))
    finished(command("ref", "add", "coat", tmp_path / "pictures"))
    finished(command("dataset", "freeze", "coat"))
    finished(command("train", "coat", "--set", "steps=5", "--wait"))
    finished(command("train", "coat", "--set", "steps=30", "--wait"))
    words = ("compare", "coat/v2", "coat/v1", "--suite", "long", "--wait")

    calm = finished(command(*words))
    (all_at_once,) = [count for folder in project.paths.jobs.glob("0*") if (count := batches(folder))]
    assert all_at_once >= 4
    again = finished(command(*words))
    assert again["comparison"] == calm["comparison"], "what was scored is not scored again"

    forget_scores(project)
    anew = finished(command(*words, "--fresh"))
    disturbed = []
    for number in (signal.SIGKILL, signal.SIGTERM):
        forget_scores(project)
        process = command(*words, "--fresh")
        workdir = disturb(project, process, number)
        disturbed.append(finished(process))
        assert attempts(workdir) == {1, 2}, f"signal {number}"
        # The second attempt knows what the first one scored; what was under way is scored once more at most.
        assert all_at_once <= batches(workdir) <= all_at_once + 1

    comparisons = [calm, anew, *disturbed]
    assert len({one["comparison"] for one in comparisons}) == 4
    infos = {info.id: info for info in list_comparisons(project)}
    # The documents hold no ids, so that equal scores are one file in the store.
    assert len({infos[one["comparison"]].scores for one in comparisons}) == 1
    scores = read_scores(project, calm["comparison"])
    assert len(scores["raw"]["slow"]) >= 3 * 2 * PROMPTS
    summaries = [{key: value for key, value in one["summary"].items() if key != "rounds"} for one in comparisons]
    assert all(one == summaries[0] for one in summaries)
