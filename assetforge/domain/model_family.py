"""Model families: what a folder in diffusers layout says about itself in its settings files."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["FAMILIES", "PIPELINES", "component_names", "family_of_pipeline", "native_resolution", "network_names"]

FAMILIES = MappingProxyType(
    {
        "sd15": "Stable Diffusion 1.x",
        "sd2": "Stable Diffusion 2.x",
        "sdxl": "Stable Diffusion XL",
        "sd3": "Stable Diffusion 3 and 3.5",
        "flux1": "FLUX.1",
        "flux2": "FLUX.2",
        "qwen-image": "Qwen-Image",
        "z-image": "Z-Image",
        "wan": "Wan 2.x",
    }
)
"""Families that are recognised, by name, with what people call them. Plugins may bring more, which have to be named."""

PIPELINES = MappingProxyType(
    {
        "StableDiffusionPipeline": "sd15",
        "StableDiffusionXLPipeline": "sdxl",
        "StableDiffusion3Pipeline": "sd3",
        "FluxPipeline": "flux1",
        "Flux2Pipeline": "flux2",
        "Flux2KleinPipeline": "flux2",
        "QwenImagePipeline": "qwen-image",
        "ZImagePipeline": "z-image",
        "WanPipeline": "wan",
    }
)
"""Family by the ``_class_name`` of ``model_index.json``; Stable Diffusion 1.x and 2.x share one class."""

_SD2_TEXT_WIDTH = 1024
_RESOLUTION = {"sd15": 512, "sd2": 512, "wan": 480}
_RESOLUTION_ELSE = 1024
_SD2_V_RESOLUTION = 768
_SD15_LATENT_SIDE = 64
_OPTIONAL = frozenset({"safety_checker", "feature_extractor", "image_encoder", "image_processor"})
_NO_NETWORKS = ("Scheduler", "Tokenizer", "Processor", "Extractor")


def family_of_pipeline(pipeline: str, denoiser: Mapping[str, Any]) -> str:
    """The family of a folder; empty when the pipeline is none that is known.

    Args:
        pipeline: ``_class_name`` of ``model_index.json``.
        denoiser: ``config.json`` of the UNet or transformer.
    """
    family = PIPELINES.get(pipeline, "")
    if family == "sd15":
        width = denoiser.get("cross_attention_dim")
        widths = width if isinstance(width, list) else [width]
        return "sd2" if _SD2_TEXT_WIDTH in widths else "sd15"
    return family


def native_resolution(
    family: str, *, denoiser: Mapping[str, Any], vae: Mapping[str, Any], scheduler: Mapping[str, Any]
) -> int:
    """Side in pixels of the pictures that a base was trained on: side of the latents times the autoencoder's factor, else what is usual in the family.

    Args:
        family: Its family.
        denoiser: ``config.json`` of the UNet or transformer.
        vae: ``config.json`` of the autoencoder.
        scheduler: ``scheduler_config.json``.
    """
    side = denoiser.get("sample_size", _SD15_LATENT_SIDE if family == "sd15" else None)
    channels = vae.get("block_out_channels")
    if isinstance(side, int) and isinstance(channels, list) and channels:
        return int(side * 2 ** (len(channels) - 1))
    if family == "sd2" and scheduler.get("prediction_type") == "v_prediction":
        return _SD2_V_RESOLUTION
    return _RESOLUTION.get(family, _RESOLUTION_ELSE)


def component_names(index: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the components that a pipeline cannot do without, from ``model_index.json``."""
    return tuple(name for name, class_name in _components(index) if class_name and name not in _OPTIONAL)


def network_names(index: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of those of the :func:`component_names` that have weights."""
    needed = component_names(index)
    return tuple(
        name
        for name, class_name in _components(index)
        if name in needed and not any(word in class_name for word in _NO_NETWORKS)
    )


def _components(index: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and class of every component; the class is empty for one that was left out."""
    return [
        (name, value[1] if isinstance(value[1], str) else "")
        for name, value in index.items()
        if not name.startswith("_") and isinstance(value, list) and len(value) == 2
    ]
