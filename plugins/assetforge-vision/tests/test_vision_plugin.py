"""What the plugin registers, that it stays light, and what it says about weights that are not there."""

import json
import os
import subprocess
import sys

import pytest

from assetforge.api.params import Params
from assetforge.extension.registry import load, load_registry
from assetforge_vision.plugin import METRICS
from assetforge_vision.weights import WEIGHTS
from vision_world import clip_folder

METHODS = {"embedding": "embed", "pair": "compare", "prompt": "follow"}


@pytest.fixture
def registry(models, monkeypatch):
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "vision")
    monkeypatch.setenv("ASSETFORGE_STRICT_PLUGINS", "1")
    return load_registry()


def test_every_metric_is_registered_and_its_code_loads(registry):
    assert {spec.name for spec in METRICS} == set(WEIGHTS)
    for spec in METRICS:
        entry = registry.metric(spec.name)
        metric = load(entry.spec.load)
        assert callable(getattr(metric, METHODS[spec.kind]))
        assert issubclass(spec.params, Params)
        metric(params=spec.params())
        assert spec.licence
        assert spec.gates == (spec.kind != "pair")
        assert (spec.margin > 0) == (spec.copy_limit is None)


def test_the_primary_metric_of_each_type_is_the_one_made_for_it():
    def first(asset_type):
        fits = [spec for spec in METRICS if asset_type in spec.asset_types and spec.kind == "embedding"]
        return fits[0].name

    assert (first("character"), first("prop"), first("style")) == ("face-identity", "dinov2", "csd")


def test_missing_weights_are_named_in_one_sentence_with_the_place_to_put_them(registry, models):
    for spec in METRICS:
        needs, wanted = load(spec.ready)(), WEIGHTS[spec.name]
        assert needs.startswith(f"{spec.name} needs ")
        assert needs.endswith(".")
        assert "\n" not in needs
        assert str(models / wanted.folder) in needs
        assert all(names.partition("|")[0] in needs for names in wanted.files)
        assert wanted.hub in needs


def test_neither_the_plugin_nor_its_answers_import_a_framework(assetforge_home):
    code = """
import sys
from assetforge.extension.registry import load
from assetforge_vision.plugin import METRICS
for spec in METRICS:
    load(spec.ready)()
import assetforge_vision.commands
print([name for name in ("torch", "transformers", "onnxruntime", "tokenizers") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_lists_what_is_ready_and_what_is_missing(models):
    clip_folder(models / "clip")
    command = [sys.executable, "-P", "-m", "assetforge", "vision", "weights"]
    environment = {**os.environ, "ASSETFORGE_PLUGINS": "vision"}
    told = subprocess.run(
        [*command, "--json"], capture_output=True, text=True, timeout=120, check=True, env=environment
    )
    document = json.loads(told.stdout)
    assert document["schema"] == "assetforge/vision-weights/1"
    assert document["folder"] == str(models)
    rows = {row["name"]: row for row in document["metrics"]}
    assert list(rows) == [spec.name for spec in METRICS]
    assert {name for name, row in rows.items() if row["ready"]} == {"clip-image", "clip-prompt"}
    assert rows["clip-prompt"]["found"] == str(models / "clip")
    assert rows["clip-prompt"]["needs"] == ""
    assert rows["sscd"]["needs"].startswith("sscd needs model.safetensors in ")
    assert rows["dinov2"]["hub"] == "facebook/dinov2-base"
    assert all(row["licence"] for row in rows.values())
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment).stdout
    assert "face-identity needs det_10g.onnx and w600k_r50.onnx" in " ".join(shown.split())
