"""Two assets in one picture, through the real supervisor, agent and children, with the example plugin's numpy model."""

import json
import os
import subprocess
import sys

import pytest
from sqlmodel import select

from assetforge.db.models_jobs import Render

pytest.importorskip("assetforge_example")

SUITE = """
name = "wardrobe"
family = "example-linear"
asset_types = ["costume"]
steps = 1
cfg = 1
width = 16
height = 16

[[blocks]]
name = "core"
prompts = ["{trigger} {class} beside a hat"]
seeds = [1]

[[blocks]]
name = "pairs"
prompts = ["{trigger} {class} beside a hat"]
seeds = [1]
strengths = [0.0, 1.0]
beside = "cast"
"""


@pytest.fixture
def assetforge(project, monkeypatch):
    """``assetforge(words) -> document``, in processes of its own that know the example plugin only."""
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")

    def run(*words):
        command = [sys.executable, "-m", "assetforge", *words, "--project", str(project.root), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=os.environ.copy())
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    return run


@pytest.mark.slow
def test_a_pair_shows_both_and_its_control_the_companion_alone(assetforge, project, make_png, tmp_path):
    for place, name in enumerate(("coat", "hat")):
        for seed in range(4):
            make_png(tmp_path / name / f"{seed}.png", seed=10 * place + seed)
        assetforge("asset", "add", name, "--type", "costume", "--trigger", f"rd{name}")
        assetforge("ref", "add", name, str(tmp_path / name))
        assetforge("dataset", "freeze", name)
        assetforge("train", name, "--set", "steps=20", "--wait")
    (tmp_path / "wardrobe.toml").write_text(SUITE)
    assetforge("suite", "add", str(tmp_path / "wardrobe.toml"))
    assert list(assetforge("suite", "show", "wardrobe", "--asset", "coat")["left_out"]) == ["pairs"]
    assetforge("approve", "hat/v1", "--why", "the first", "--unseen")
    asked = assetforge("render", "coat/v1", "--suite", "wardrobe", "--wait")
    assert {one["state"] for one in asked["evaluations"]} == {"succeeded"}
    coat, base = (one["id"] for one in asked["evaluations"])
    with project.read() as session:
        made = {(one.evaluation_id, one.cell_index): one.sha256 for one in session.exec(select(Render)).all()}
    # One prompt, one seed: the coat, both at strength 0 of the coat, both, the bare base, the hat alone.
    assert sorted(made) == [(coat, 0), (coat, 1), (coat, 2), (base, 0), (base, 1)]
    assert made[coat, 1] == made[base, 1]
    assert len(set(made.values())) == 4
