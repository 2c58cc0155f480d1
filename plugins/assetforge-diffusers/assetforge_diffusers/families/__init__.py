"""Model families: one readable file each, one shared training loop.

To add a family, write a class that fits :class:`assetforge_diffusers.families.base.Family` and name it in :data:`FAMILIES`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from assetforge.errors import UsageError

if TYPE_CHECKING:
    from assetforge_diffusers.families.base import Family

__all__ = ["FAMILIES", "family_class"]

FAMILIES = {"sd15": "assetforge_diffusers.families.sd15:StableDiffusion15"}


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
