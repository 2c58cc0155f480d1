"""A plugin that gives a name that another one gives too, and one of its own."""

from assetforge.api import hookimpl
from assetforge.api.specs import AssetTypeSpec


@hookimpl
def register_asset_types():
    return [
        AssetTypeSpec(name="vehicle", title="Vehicle", folder="vehicles", class_word="car"),
        AssetTypeSpec(name="boat", title="Boat", folder="boats", class_word="boat"),
    ]
