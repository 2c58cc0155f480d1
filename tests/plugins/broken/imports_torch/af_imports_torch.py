"""A plugin that works, and imports torch although nobody has asked it to compute anything."""

import torch  # noqa: F401

from assetforge.api import hookimpl
from assetforge.api.specs import AssetTypeSpec


@hookimpl
def register_asset_types():
    return [AssetTypeSpec(name="tensor", title="Tensor", folder="tensors", class_word="tensor")]
