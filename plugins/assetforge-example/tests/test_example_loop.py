"""The whole loop on the example, by the command line: references, dataset, run, renders, scores, report, and what a listener heard."""

import json
import os
import subprocess
import sys

import pytest

from assetforge.store.weights import read_metadata
from assetforge.testing.inputs import write_picture


@pytest.fixture
def assetforge(assetforge_home, tmp_path):
    """Run one command line in an own home, with the example plugin alone."""
    environment = {
        **os.environ,
        "ASSETFORGE_PLUGINS": "example",
        "ASSETFORGE_EXAMPLE_LOG": str(tmp_path / "events.jsonl"),
    }

    def run(*words):
        command = [sys.executable, "-P", "-m", "assetforge", *words, "--json"]
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=180, check=False, cwd=tmp_path, env=environment
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


@pytest.mark.slow
def test_the_loop(assetforge, assetforge_home, tmp_path) -> None:
    for index in range(8):
        picture = write_picture(tmp_path / "drop" / f"{index}.png", index)
        picture.with_suffix(".txt").write_text(f"cloakx outfit, place {index}")
    assetforge("project", "new", "harbour")
    film = assetforge_home / "projects" / "harbour"
    for name in ("sqlmodel", "subprocess", "json", "numpy", "assetforge_example"):
        # Opening somebody's film must not run code, whatever it is called.
        (film / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    assetforge("asset", "add", "cloak", "--type", "costume", "--trigger", "cloakx")
    assetforge("ref", "add", "cloak", "drop")
    assetforge("dataset", "freeze", "cloak")
    assetforge("train", "cloak", "--set", "steps=60", "--wait")
    compared = assetforge("compare", "cloak/v1", "--wait")
    assert compared["state"] == "succeeded"
    assert "palette-distance" in compared["summary"]["pixels"]["pairs"]
    assert not (tmp_path / "ran").exists()
    assert list(film.glob("reports/*.html"))
    assetforge("approve", "cloak/v1", "--why", "the red is right", "--unseen")
    assetforge("version", "publish", "cloak/v1")
    (published,) = film.glob("loras/cloak/*.safetensors")
    assert read_metadata(published)["ss_network_dim"] == "4"
    heard = {json.loads(line)["event"] for line in (tmp_path / "events.jsonl").read_text().splitlines()}
    assert {"ReferencesAdded", "DatasetFrozen", "VersionCreated", "VersionReviewed"} <= heard
