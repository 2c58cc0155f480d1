"""The same on the toybox's trained base, where it is installed."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from assetforge.api.job import Cell, LoraRef, RenderSettings
from assetforge_diffusers import trainer as trainer_module
from assetforge_diffusers.loading import align_weights
from assetforge_diffusers.params import LoraTrainerParams, RendererParams
from assetforge_diffusers.preparation import Preparation
from assetforge_diffusers.renderer import DiffusersRenderer
from assetforge_diffusers.trainer import LoraTrainer
from diffusers_world import FolderContext


def toybox_base() -> Path | None:
    """Folder of the toybox's base model, found without importing it."""
    found = importlib.util.find_spec("assetforge_toybox")
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(found.submodule_search_locations[0]) / "data" / "base"
    return folder if (folder / "model_index.json").is_file() else None


BASE = toybox_base()
pytestmark = pytest.mark.skipif(BASE is None, reason="the toybox's base model is not there")


def picture(pipeline: StableDiffusionPipeline) -> np.ndarray:
    for module in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        align_weights(module)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        "zork robot",
        num_inference_steps=4,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
    )
    return made.images[0]


@pytest.mark.slow
def test_a_lora_on_the_toybox_reloads_exactly_and_renders(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BASE is not None
    params = LoraTrainerParams(
        rank=8,
        alpha=5.0,
        targets="attention",
        conv_rank=8,
        text_encoder=True,
        steps=6,
        batch_size=2,
        learning_rate=1e-2,
    )
    context = FolderContext(pictures.parent, BASE, params, resolution=64)
    runs: list[Preparation] = []
    original = trainer_module.prepare
    monkeypatch.setattr(trainer_module, "prepare", lambda given: runs.append(original(given)) or runs[-1])
    result = LoraTrainer().train(context)
    assert result.metrics["export_difference"] == 0.0
    assert all(np.isfinite(figures["loss"]) for figures in context.figures)
    trained = picture(runs[0].family.pipeline)
    for name in (result.weights[0].kohya, result.weights[0].diffusers):
        fresh = StableDiffusionPipeline.from_pretrained(BASE, safety_checker=None, dtype=torch.float32)
        fresh.load_lora_weights(context.workdir, weight_name=name)
        assert np.abs(picture(fresh) - trained).max() == 0.0, name

    renderer = DiffusersRenderer()
    context.params = RendererParams()
    renderer.open(context.payload.base, RenderSettings(steps=4, cfg=4.0, width=64, height=64), context)
    cells = [Cell(index=0, block="core", prompt="zork robot", seed=3)]
    bare = next(renderer.render(cells)).tobytes()
    file = context.workdir / result.weights[0].kohya
    lora = LoraRef(name="zork/v1", file=result.weights[0].kohya, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    renderer.use([(lora, 1.0)])
    worn = next(renderer.render(cells))
    assert worn.tobytes() != bare
    assert np.abs(worn / 255.0 - trained).max() < 0.01
    renderer.use([(lora, 0.0)])
    assert next(renderer.render(cells)).tobytes() == bare
