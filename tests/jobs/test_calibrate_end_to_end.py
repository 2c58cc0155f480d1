"""A calibration and the gate through the real supervisor, agent and children, with the example plugin's numpy model and a metric of colours."""

import json
import os
import subprocess
import sys

import pytest

from assetforge.services.runs import list_runs
from assetforge.services.versions import list_versions, resolve_version

pytest.importorskip("assetforge_example")

PLUGIN = """
import numpy as np
from assetforge.api import hookimpl
from assetforge.api.specs import MetricSpec, SuiteBlock, SuiteSpec

requires_api = 1

class Colours:
    def embed(self, images):
        small = [image[::8, ::8].reshape(-1).astype(float) - 127 for image in images]
        return np.stack(small).astype(np.float32)

@hookimpl
def register_metrics():
    return [MetricSpec(name="colours", title="Colours of it", kind="embedding", gates=True, margin=0.001, load="af_gate:Colours")]

@hookimpl
def register_suites():
    prompts = tuple("{trigger} {class} " + word for word in ("", "at night", "in snow", "on a hill", "at sea", "in a city", "by a lake"))
    block = SuiteBlock(name="core", prompts=prompts, seeds=(1,), quick=2)
    return [SuiteSpec(name="wide", title="Wide", family="example-linear", asset_types=("costume",), blocks=(block,), steps=1, cfg=1.0, width=64, height=64)]
"""


@pytest.fixture
def assetforge(project, monkeypatch, tmp_path):
    """``assetforge(words) -> document``, in processes of its own that know the example and the metric only."""
    folder = tmp_path / "on_path"
    info = folder / "af_gate-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "af_gate.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: af-gate\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[assetforge.plugins]\ngate = af_gate\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example,gate")

    def run(*words, codes=(0,)):
        command = [sys.executable, "-m", "assetforge", *words, "--project", str(project.root), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=os.environ.copy())
        assert done.returncode in codes, done.stderr + done.stdout
        return json.loads(done.stdout)

    return run


@pytest.mark.slow
def test_from_a_gate_that_says_no_to_the_noise_that_takes_it_back(assetforge, project, make_png, tmp_path):
    for seed in range(8):
        make_png(tmp_path / "pictures" / f"{seed}.png", seed=seed)
    assetforge("asset", "add", "coat", "--type", "costume", "--trigger", "rdcoat")
    assetforge("asset", "set", "coat", "--suite", "wide")
    assetforge("ref", "add", "coat", str(tmp_path / "pictures"))
    assetforge("dataset", "freeze", "coat")
    assetforge("train", "coat", "--set", "steps=60", "--set", "rank=2", "--wait")

    # One that hardly learned anything is worse, the other way around it is not, and two prompts say nothing.
    assetforge("train", "coat", "--set", "steps=1", "--set", "rank=2", "--wait")
    worse = assetforge("compare", "coat/v2", "--gate", codes=(1,))
    assert (worse["verdict"], worse["baseline"]) == ("regressed", "coat/v1")
    assert assetforge("compare", "coat/v1", "coat/v2", "--gate")["verdict"] == "pass"
    quick = assetforge("compare", "coat/v2", "coat/v1", "--gate", "--quick", codes=(75,))
    assert (quick["suite"], quick["summary"]["counts"]["cells"]) == ("wide-quick", 2)

    done = assetforge("calibrate", "coat", "--version", "coat/v1", "--wait")
    assert [one["seed"] for one in done["repeats"]] == [1, 2]
    # Runs that are trained side by side may end in any order.
    assert {one["version"] for one in done["repeats"]} == {"coat/v3", "coat/v4"}
    assert [one["state"] for one in done["comparisons"]] == ["succeeded"] * 3
    (colours,) = [one for one in done["noise"]["margins"] if one["margin"]["name"] == "colours"]
    assert (colours["source"], colours["margin"]["pairs"]) == ("own", 3)
    assert colours["margin"]["counts"] == max(0.001, 2 * colours["margin"]["noise"])
    assert [(one.address, one.stage) for one in list_versions(project)] == [
        ("coat/v4", "retired"),
        ("coat/v3", "retired"),
        ("coat/v2", "candidate"),
        ("coat/v1", "candidate"),
    ]
    assert resolve_version(project, "coat@latest").address == "coat/v2"
    again = assetforge("calibrate", "coat", "--version", "coat/v1", "--wait")
    assert (again["noise"], again["comparisons"]) == (done["noise"], done["comparisons"])
    assert len(list_runs(project)) == 4

    # What this recipe does by chance is as much as what looked like a loss, and the next verdict says so.
    judged = assetforge("compare", "coat/v2", "coat/v1", "--metric", "colours", "--gate", codes=(0, 75))
    assert judged["summary"]["verdict"]["metrics"][0]["margin"] == pytest.approx(colours["margin"]["counts"])
