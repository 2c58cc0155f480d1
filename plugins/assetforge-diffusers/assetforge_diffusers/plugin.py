"""Describes the trainer, the renderer and the presets; imports no framework."""

from collections.abc import Sequence

from assetforge.api import hookimpl
from assetforge.api.specs import RecipeSpec, RendererSpec, SuiteSpec, TrainerSpec
from assetforge_diffusers.params import LoraTrainerParams, RendererParams
from assetforge_diffusers.recipes import RECIPES
from assetforge_diffusers.suites import SUITES

requires_api = 1

FAMILIES = ("sd15", "sd2", "sdxl", "sd3", "flux1", "flux2", "qwen-image", "z-image", "wan")
"""The model families that are ready; each is a file in :mod:`assetforge_diffusers.families`."""

TRAINER = TrainerSpec(
    name="diffusers-lora",
    title="LoRA on diffusers",
    summary="Trains LoRAs in this Python with torch, diffusers and peft, on a CPU, an NVIDIA or AMD GPU, or Apple silicon.",
    load="assetforge_diffusers.trainer:LoraTrainer",
    params=LoraTrainerParams,
    families=FAMILIES,
    resumable=True,
    version="3",
    length="assetforge_diffusers.schedule:training_length",
)

RENDERER = RendererSpec(
    name="diffusers",
    title="diffusers",
    summary="Renders with the reference pipelines of diffusers; the base is loaded once, LoRAs are swapped.",
    load="assetforge_diffusers.renderer:DiffusersRenderer",
    params=RendererParams,
    families=FAMILIES,
    version="2",
)


@hookimpl
def register_trainers() -> Sequence[TrainerSpec]:
    """The LoRA trainer."""
    return [TRAINER]


@hookimpl
def register_renderers() -> Sequence[RendererSpec]:
    """The renderer."""
    return [RENDERER]


@hookimpl
def register_recipes() -> Sequence[RecipeSpec]:
    """Presets for characters, props and styles."""
    return list(RECIPES)


@hookimpl
def register_suites() -> Sequence[SuiteSpec]:
    """What versions of characters, props and styles are asked."""
    return list(SUITES)
