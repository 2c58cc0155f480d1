"""Where each family's layers stand in a file that other tools read.

The names are facts about those tools: kohya's sd-scripts and musubi-tuner name what they train after the layers of the model's first
publication, and ComfyUI looks for these names. Where that publication keeps several layers in one (query, key and value), one name holds
several of diffusers' layers, one below the other.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from assetforge.errors import UsageError
from assetforge_diffusers.keys.place import Place
from assetforge_diffusers.keys.published import published_place
from assetforge_diffusers.keys.sgm import sgm_path

__all__ = ["FAMILIES", "UNETS", "canonical", "is_encoder", "known_family", "loose_place", "place", "readable"]

UNETS = frozenset({"sd15", "sd2", "sdxl"})


_ENCODERS: Mapping[str, Mapping[str, str]] = {
    "sd15": {"text_encoder": "lora_te"},
    "sd2": {"text_encoder": "lora_te"},
    "sdxl": {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2"},
    "sd3": {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2", "text_encoder_3": "lora_te3"},
    "flux1": {"text_encoder": "lora_te1", "text_encoder_2": "lora_te3"},
    "flux2": {},
    "qwen-image": {},
    "z-image": {},
    "wan": {},
}
FAMILIES = tuple(_ENCODERS)
"""The families whose names are known."""

_DENOISERS = frozenset({"unet", "transformer", "transformer_2"})
_ENCODER_PREFIXES: Mapping[str, Sequence[str]] = {
    "lora_te": ("lora_te_", "lora_te1_", "text_encoder."),
    "lora_te1": ("lora_te1_", "lora_te_", "text_encoder."),
    "lora_te2": ("lora_te2_", "text_encoder_2."),
    "lora_te3": ("lora_te3_", "lora_te2_", "text_encoder_3.", "text_encoder_2."),
}
_DENOISER_PREFIXES = (
    *("lora_unet_", "lora_transformer_", "lycoris_", "diffusion_model."),
    *("transformer.", "unet.", "base_model.model."),
)


def is_encoder(component: str) -> bool:
    """Whether a component is a text encoder."""
    return component.startswith("text_encoder")


def known_family(family: str) -> None:
    """Check a family's name.

    Raises:
        UsageError: Its names are not known.
    """
    if family not in _ENCODERS:
        raise UsageError(f"The model family {family} is not one of {', '.join(FAMILIES)}.", hint="Name one of these.")


def place(family: str, component: str, path: str) -> Place:
    """Where the layer at ``path`` is written.

    Raises:
        UsageError: No such family, or no tool has a name for the layer.
    """
    known_family(family)
    if is_encoder(component):
        found = _encoder_place(family, component, path)
    else:
        found = _denoiser_place(family, path) if component in _DENOISERS else None
    if found is None:
        raise UsageError(
            f"No other tool has a name for the layer {component}.{path} of a {family} model.",
            hint="Train the attention and feed-forward layers, or keep the file in diffusers' own form.",
        )
    return found


def loose_place(path: str) -> Place:
    """Where a layer that cannot share a name is written: under diffusers' own path, as LyCORIS names it."""
    return Place(f"lycoris_{_flat(path)}")


@lru_cache(maxsize=1 << 16)
def readable(family: str, component: str, path: str) -> tuple[Place, ...]:
    """All places, by :func:`canonical` name, where files of other tools keep the layer at ``path``."""
    places = {_body(component, path): Place(_body(component, path))}
    if not is_encoder(component):
        published = published_place(family, path)
        if family == "sdxl" and (sgm := sgm_path(path)):
            published = Place(_flat(sgm))
        if published:
            places[published.name] = published
    return tuple(places.values())


@lru_cache(maxsize=1 << 16)  # versions of one asset hold the same names
def canonical(family: str, name: str) -> tuple[str, str]:
    """The component (``""`` for the denoiser) and the layer, free of prefixes and dots, that a name in a file means."""
    for component, prefix in _ENCODERS[family].items():
        for start in _ENCODER_PREFIXES[prefix]:
            if name.startswith(start):
                return component, _body(component, name.removeprefix(start))
    for start in _DENOISER_PREFIXES:
        name = name.removeprefix(start)
    return "", _flat(name)


def _flat(path: str) -> str:
    return path.replace(".", "_")


def _body(component: str, path: str) -> str:
    return _flat(path).removeprefix("text_model_") if is_encoder(component) else _flat(path)


def _encoder_place(family: str, component: str, path: str) -> Place | None:
    prefix = _ENCODERS[family].get(component)
    if prefix is None:
        return None
    if path.startswith("encoder.layers."):
        path = f"text_model.{path}"  # transformers 5 took this level away; every other tool looks for it
    return Place(f"{prefix}_{_flat(path)}")


def _denoiser_place(family: str, path: str) -> Place | None:
    if family == "sdxl":
        published = sgm_path(path)
        return Place(f"lora_unet_{_flat(published)}") if published else None
    if family in UNETS or family == "qwen-image":
        return Place(f"lora_unet_{_flat(path)}")
    found = published_place(family, path)
    if family == "z-image":
        # ComfyUI knows diffusers' layers of this family by their dotted names only, and diffusers reads these too; in a joined layer's place
        # diffusers gives each part all of the ranks.
        return Place(f"diffusion_model.{path}") if found else None
    return Place(f"lora_unet_{found.name}", found.slot, found.shares) if found else None
