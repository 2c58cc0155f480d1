"""A sweep, a ranking and a check for drift through the real supervisor, agent and children, with the example plugin's numpy model and a metric of colours."""

import json
import os
import subprocess
import sys

import pytest
from sqlmodel import select

from assetforge.db.models import Version
from assetforge.services.runs import list_runs
from assetforge.services.versions import list_versions

pytest.importorskip("assetforge_example")

METRIC = """
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
    return [MetricSpec(name="colours", title="Colours", kind="embedding", gates=True, load="af_colours:Colours")]

@hookimpl
def register_suites():
    prompts = tuple("{trigger} {class} " + word for word in ("", "at night", "in snow", "on a hill", "at sea", "in a city", "by a lake"))
    block = SuiteBlock(name="core", prompts=prompts, seeds=(1,))
    return [SuiteSpec(name="wide", title="Wide", family="example-linear", asset_types=("costume",), blocks=(block,), steps=1, cfg=1.0, width=64, height=64)]
"""


@pytest.fixture
def assetforge(project, monkeypatch, tmp_path):
    """``assetforge(words) -> document``, in processes of its own that know the example and the metric only."""
    folder = tmp_path / "on_path"
    info = folder / "af_colours-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "af_colours.py").write_text(METRIC)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: af-colours\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[assetforge.plugins]\ncolours = af_colours\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example,colours")

    def run(*words, code=0):
        command = [sys.executable, "-m", "assetforge", *words, "--project", str(project.root), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=os.environ.copy())
        assert done.returncode == code, done.stderr + done.stdout
        return json.loads(done.stdout)

    return run


@pytest.mark.slow
def test_from_a_grid_to_a_ranking_and_whether_it_still_comes_out_the_same(assetforge, project, make_png, tmp_path):
    for seed in range(8):
        make_png(tmp_path / "pictures" / f"{seed}.png", seed=seed)
    assetforge("asset", "add", "coat", "--type", "costume", "--trigger", "rdcoat")
    assetforge("ref", "add", "coat", str(tmp_path / "pictures"))
    assetforge("dataset", "freeze", "coat")
    sweep = ("sweep", "coat", "--grid", "steps=1,60", "--set", "rank=2", "--suite", "wide")

    planned = assetforge(*sweep, "--dry-run")
    assert (planned["missing"], planned["runs"], planned["plan"]["hours"]) == (2, [], None)
    assert list_runs(project) == []

    done = assetforge(*sweep, "--wait")
    # Runs that are trained side by side may end in any order.
    short, long = (run["version"] for run in done["runs"])
    assert {short, long} == {"coat/v1", "coat/v2"}
    table = done["ranked"]["ranking"]
    assert (done["ranked"]["metric"], done["ranked"]["suite"]) == ("Colours", "wide")
    # Nothing is approved, so all are compared with the one that was trained longest.
    assert (table["reference"], table["comparisons"], table["pairs"]) == (long, 1, 1)
    assert {row["prompts"] for row in table["rows"]} == {7}
    assert table["suggestion"] in (short, long)
    assert {version.stage for version in list_versions(project)} == {"candidate"}

    again = assetforge(*sweep)
    assert (again["missing"], again["ranked"]["ranking"]) == (0, table)
    assert len(list_runs(project)) == 2
    assert assetforge("rank", short, long, "--suite", "wide")["ranking"] == table

    same = assetforge("drift", "coat/v2", "--wait")
    assert [(check["outcome"], check["pictures"]) for check in same["checks"]] == [("same", 8)]
    with project.read() as session:
        weights = session.exec(select(Version).where(Version.number == 2)).one().weights
    blob = project.blobs.path(weights)
    blob.chmod(0o644)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    damaged = assetforge("drift", "coat/v2", "--wait", code=1)
    assert [check["outcome"] for check in damaged["checks"]] == ["lora"]
