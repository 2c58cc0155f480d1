"""A folder of real photographs goes all the way on the toybox: ingest, dataset, training, renders, comparison with the bare base."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image as Pillow

skimage = pytest.importorskip("skimage")
pytest.importorskip("assetforge_diffusers")
pytest.importorskip("assetforge_toybox")

SUITE = """
name = "photographs"
title = "Two pictures are enough here"
family = "sd15"
asset_types = ["style"]
steps = 4
cfg = 2.0
width = 64
height = 64

[[blocks]]
name = "core"
prompts = ["{trigger}, a cat in a room"]
seeds = [1, 2]
"""


@pytest.fixture
def assetforge(tmp_path: Path):
    def call(*words: str) -> dict:
        command = [sys.executable, "-m", "assetforge", *map(str, words), "--json", "--quiet"]
        env = {**os.environ, "ASSETFORGE_PLUGINS": "diffusers,toybox"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    return call


@pytest.mark.slow
def test_photographs_become_a_version_with_pictures(assetforge, tmp_path: Path) -> None:
    photographs = sorted(
        path
        for path in (Path(skimage.__file__).parent / "data").iterdir()
        if path.stem in {"astronaut", "chelsea", "coffee", "rocket", "retina", "motorcycle_left", "camera", "brick"}
    )
    assert len(photographs) >= 6
    film = Path(assetforge("project", "new", "photographs")["root"])
    assetforge("asset", "add", "archive", "--type", "style", "--trigger", "phtgrph")
    added = assetforge("ref", "add", "archive", *photographs)["report"]
    assert len(added["added"]) == len(photographs)
    assert added["refused"] == []
    assetforge("dataset", "freeze", "archive", "--held-out", "2")
    trained = assetforge("train", "archive", "--base", "toybox", "--set", "steps=4", "--wait")
    assert trained["versions"] == ["archive/v1"]
    again = assetforge("train", "archive", "--base", "toybox", "--set", "steps=4", "--wait")
    assert again["reused"] == "archive/v1"

    (tmp_path / "suite.toml").write_text(SUITE)
    assetforge("suite", "add", tmp_path / "suite.toml")
    compared = assetforge("compare", "archive/v1", "--suite", "photographs", "--wait")
    assert compared["state"] == "succeeded"
    pictures = list((film / ".assetforge" / "jobs").glob("*/outputs/renders/*/*.png"))
    assert len(pictures) == 4
    for path in pictures:
        with Pillow.open(path) as picture:
            assert picture.size == (64, 64)
    assert Path(film, compared["report"]).is_file()
