"""Writes the trained networks as a pipeline folder that the standard loaders open."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from pathlib import Path

from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from assetforge_toybox.vocabulary import write_vocabulary


def export_pipeline(
    folder: Path,
    autoencoder: AutoencoderKL,
    text_encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
    tokenizer: CLIPTokenizer,
    scheduler: DDIMScheduler,
    step: int,
) -> Path:
    """Write a Stable Diffusion 1.x folder with weights in half precision and return it.

    The folder is written beside its final place and moved there whole. training.json in it says how many steps the UNet had.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    pipeline = StableDiffusionPipeline(
        vae=deepcopy(autoencoder).half(),
        text_encoder=deepcopy(text_encoder).half(),
        tokenizer=tokenizer,
        unet=deepcopy(unet).half(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(partial, safe_serialization=True)
    for config in partial.glob("*/config.json"):
        settings = json.loads(config.read_text(encoding="utf-8"))
        # Where a part was loaded from says nothing to whoever opens the folder elsewhere.
        settings.pop("_name_or_path", None)
        config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    write_vocabulary(partial / "tokenizer")
    for config in partial.glob("*/config.json"):
        # Where a part was loaded from is nobody's business, and would make the folder differ from machine to machine.
        kept = {key: value for key, value in json.loads(config.read_text()).items() if key != "_name_or_path"}
        config.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
    (partial / "training.json").write_text(json.dumps({"unet_steps": step}) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    return folder
