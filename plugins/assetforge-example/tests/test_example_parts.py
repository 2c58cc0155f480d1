"""The parts of the example do what they say, through the registry that the program uses."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from assetforge.api.events import VersionCreated
from assetforge.api.job import BaseRef, Cell, RenderSettings
from assetforge.extension.registry import load, load_registry
from assetforge.testing.renderer_contract import lora_ref
from assetforge_example.model import base_bytes, base_folder
from assetforge_example.plugin import LinearTrainerParams
from assetforge_example.renderer import LinearRenderer
from assetforge_example.trainer import LinearTrainer

BASE = BaseRef(name="example-linear", family="example-linear", digest="0" * 64, path=str(base_folder()), resolution=16)


@pytest.fixture
def registry(assetforge_home, monkeypatch):
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")
    monkeypatch.setenv("ASSETFORGE_STRICT_PLUGINS", "1")
    return load_registry()


def test_everything_is_registered_and_loads(registry) -> None:
    entries = (
        registry.trainer("example-linear"),
        registry.renderer("example-linear"),
        registry.check("too-dark"),
        registry.metric("palette-distance"),
        registry.command("example palette"),
    )
    for entry in entries:
        assert entry.plugin == "assetforge-example"
        assert load(entry.spec.load)
    assert registry.asset_type("costume").spec.folder == "costumes"
    recipe = registry.recipe("costume-example").spec
    assert registry.trainer(recipe.trainer).spec.params.model_validate(dict(recipe.params)).steps == 300
    assert load(registry.base_model(recipe.base).spec.locate)().is_dir()
    assert registry.suite("costume-example").spec.family == recipe.family


def test_the_shipped_base_model_is_the_one_the_code_makes() -> None:
    assert (base_folder() / "model.safetensors").read_bytes() == base_bytes()


def test_the_check_finds_dark_pictures(registry, tmp_path) -> None:
    dark, light = tmp_path / "dark.png", tmp_path / "light.png"
    Image.new("RGB", (80, 60), (10, 10, 14)).save(dark)
    Image.new("RGB", (80, 60), (140, 120, 90)).save(light)
    in_dark, in_light = load(registry.check("too-dark").spec.load)().inspect([dark, light])
    assert [finding.code for finding in in_dark] == ["too-dark"]
    assert in_light == []


def test_the_metric_orders_pictures_by_their_colours(registry) -> None:
    rng = np.random.default_rng(0)
    red = np.clip(rng.normal((200, 40, 40), 20, (32, 32, 3)), 0, 255).astype(np.uint8)
    redder = np.clip(rng.normal((210, 50, 40), 20, (32, 32, 3)), 0, 255).astype(np.uint8)
    blue = np.clip(rng.normal((40, 40, 200), 20, (32, 32, 3)), 0, 255).astype(np.uint8)
    same, near, far = load(registry.metric("palette-distance").spec.load)().compare(
        [(red, red), (red, redder), (red, blue)]
    )
    assert same == 0
    assert 0 < near < far <= 1


def test_it_really_learns(assetforge_train_context) -> None:
    context = assetforge_train_context(LinearTrainerParams(), BASE)
    (weights,) = LinearTrainer().train(context).weights
    losses = [figures["loss"] for _, _, figures in context.steps]
    assert np.mean(losses[-20:]) < 0.4 * np.mean(losses[:5])
    item = context.dataset.train_items()[0]
    reference = np.asarray(Image.open(context.workdir / item.file), np.float64)
    cells = [Cell(index=seed, block="core", prompt=item.caption, seed=seed) for seed in range(8)]
    others = [Cell(index=seed, block="bleed", prompt="lake at dawn", seed=seed) for seed in range(8)]
    renderer = LinearRenderer()
    renderer.open(BASE, RenderSettings(steps=1, cfg=1.0, width=64, height=64), context)

    def pictures() -> tuple[np.ndarray, np.ndarray]:
        return np.stack([*renderer.render(cells)]).astype(float), np.stack([*renderer.render(others)]).astype(float)

    base, base_others = pictures()
    renderer.use([(lora_ref(context.workdir, context.workdir / weights.kohya), 1.0)])
    worn, worn_others = pictures()
    distances = np.abs(worn - reference).mean(axis=(1, 2, 3)), np.abs(base - reference).mean(axis=(1, 2, 3))
    assert distances[0].mean() < 0.6 * distances[1].mean()
    assert (distances[0] < distances[1]).all()
    assert np.abs(worn_others - base_others).mean() < 0.6 * np.abs(worn - base).mean()


def test_both_forms_hold_the_same_update(assetforge_train_context) -> None:
    context = assetforge_train_context(LinearTrainerParams(steps=10, rank=4, alpha=1.5), BASE)
    (weights,) = LinearTrainer().train(context).weights
    kohya = load_file(context.workdir / weights.kohya)
    other = load_file(context.workdir / weights.diffusers)
    scale = kohya["lora_decoder.alpha"] / 4
    expected = scale * kohya["lora_decoder.lora_up.weight"] @ kohya["lora_decoder.lora_down.weight"]
    assert np.allclose(other["decoder.lora_B.weight"] @ other["decoder.lora_A.weight"], expected, atol=1e-6)


def test_the_listener_writes_what_happened(registry, tmp_path, monkeypatch) -> None:
    target = tmp_path / "events.jsonl"
    event = VersionCreated(project=tmp_path, at=datetime.now(UTC), actor="kim", version="cloak/v1")
    registry.notify(event)
    monkeypatch.setenv("ASSETFORGE_EXAMPLE_LOG", str(target))
    registry.notify(event)
    (line,) = target.read_text().splitlines()
    assert json.loads(line)["version"] == "cloak/v1"


def test_the_command_shows_colours(assetforge_home, tmp_path) -> None:
    picture = Image.new("RGB", (40, 40), (255, 0, 0))
    picture.paste((0, 0, 255), (0, 0, 10, 40))
    picture.save(tmp_path / "flag.png")
    command = [sys.executable, "-m", "assetforge", "example", "palette", str(tmp_path / "flag.png"), "--colours", "2"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["#ff0000  75.0%", "#0000ff  25.0%"]
