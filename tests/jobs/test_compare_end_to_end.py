"""A comparison through the real supervisor, agent and children, with the example plugin's numpy model."""

import json
import os
import subprocess
import sys

import pytest

from assetforge.services.comparison import list_comparisons
from assetforge.services.releases import publish
from assetforge.services.versions import list_versions

pytest.importorskip("assetforge_example")


@pytest.fixture
def assetforge(project, monkeypatch):
    """``assetforge(words) -> document``, in processes of its own that know the example plugin only."""
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")

    def run(*words, code=0):
        command = [sys.executable, "-m", "assetforge", *words, "--project", str(project.root), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=os.environ.copy())
        assert done.returncode == code, done.stderr + done.stdout
        return json.loads(done.stdout)

    return run


@pytest.mark.slow
def test_from_two_trainings_to_a_report(assetforge, project, make_png, tmp_path):
    folder = tmp_path / "pictures"
    for seed in range(8):
        make_png(folder / f"{seed}.png", seed=seed)
    assetforge("asset", "add", "coat", "--type", "costume", "--trigger", "rdcoat")
    assetforge("ref", "add", "coat", str(folder))
    assetforge("dataset", "freeze", "coat")
    assetforge("train", "coat", "--set", "steps=20", "--wait")
    assetforge("train", "coat", "--set", "steps=40", "--wait")
    assert [version.address for version in list_versions(project)] == ["coat/v2", "coat/v1"]

    # The first version's pictures, and the control's, are there when the second one is compared.
    first = assetforge("render", "coat/v1", "--wait")
    assert {one["state"] for one in first["evaluations"]} == {"succeeded"}
    compared = assetforge("compare", "coat/v2", "--wait")
    assert (compared["state"], compared["baseline"]) == ("succeeded", "coat/v1")
    summary = compared["summary"]
    assert summary["engines"]["equal"]
    assert summary["counts"]["cells"] == 6
    assert 0 < summary["pixels"]["pairs"]["ssim"]["new|baseline"] < 1
    assert summary["pixels"]["pairs"]["palette-distance"]
    assert "identity-not-measured" in {flag["code"] for flag in summary["flags"]}
    page = (project.root / "reports" / "coat-v2-against-v1-costume-example.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp;base64,") > 18

    again = assetforge("compare", "coat/v2")
    assert (again["comparison"], again["jobs"]) == (compared["comparison"], [])
    assert [info.id for info in list_comparisons(project, "coat/v2")] == [compared["comparison"]]
    assert publish(project, "coat@latest").written
