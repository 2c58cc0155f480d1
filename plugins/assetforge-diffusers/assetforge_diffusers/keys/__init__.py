"""The names that trained layers have in files which other tools read: exact, for every model family.

Only names, shapes and the arithmetic of joining layers live here; nothing of diffusers or peft is imported.
"""

from assetforge_diffusers.keys.formats import FORMATS, Format
from assetforge_diffusers.keys.kohya import from_kohya, to_kohya
from assetforge_diffusers.keys.layer import Layer

__all__ = ["FORMATS", "Format", "Layer", "from_kohya", "to_kohya"]
