"""Model families: one readable file each, one shared training loop.

To add a family, write a class that derives from :class:`assetforge_diffusers.families.base.Family` and name it in :data:`FAMILIES`.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from assetforge.api.job import BaseRef
from assetforge.errors import UsageError
from assetforge_diffusers.basefiles import BaseFiles

if TYPE_CHECKING:
    from assetforge_diffusers.families.base import Family

__all__ = ["FAMILIES", "family_class", "open_family"]

FAMILIES = {
    "sd15": "assetforge_diffusers.families.sd15:StableDiffusion15",
    "sd2": "assetforge_diffusers.families.sd2:StableDiffusion2",
    "sdxl": "assetforge_diffusers.families.sdxl:StableDiffusionXL",
    "sd3": "assetforge_diffusers.families.sd3:StableDiffusion3",
    "flux1": "assetforge_diffusers.families.flux1:Flux1",
    "flux2": "assetforge_diffusers.families.flux2:Flux2",
    "qwen-image": "assetforge_diffusers.families.qwen_image:QwenImage",
    "z-image": "assetforge_diffusers.families.z_image:ZImage",
    "wan": "assetforge_diffusers.families.wan:Wan",
}


def family_class(name: str) -> "type[Family]":
    """The class of a model family.

    Raises:
        UsageError: No such family here.
    """
    if name not in FAMILIES:
        raise UsageError(
            f"The model family {name} is not one of {', '.join(FAMILIES)}.",
            hint="Take a base model of one of these, or another trainer.",
        )
    module, _, attribute = FAMILIES[name].partition(":")
    loaded: type[Family] = getattr(import_module(module), attribute)
    return loaded


def open_family(ref: BaseRef, path: Path, dtype: torch.dtype, cache: Path | None = None) -> "Family":
    """Open a base model on the CPU, lazily: components are loaded when they are first needed.

    Raises:
        UsageError: No such family here, or the base cannot be opened.
        NotFoundError: The base is not there.
    """
    kind = family_class(ref.family)
    config = Path(ref.config) if ref.config else None
    return kind(BaseFiles(path, kind.pipeline_class, dtype, config=config, cache=cache))
