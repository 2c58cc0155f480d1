"""A plugin that works in one hook and raises in the next one."""

from assetforge.api import hookimpl
from assetforge.api.specs import AssetTypeSpec


@hookimpl
def register_asset_types():
    return [AssetTypeSpec(name="half-done", title="Half done", folder="half-done", class_word="thing")]


@hookimpl
def register_trainers():
    return [1 / 0]
