"""A plugin that gives one name twice."""

from assetforge.api import hookimpl
from assetforge.api.specs import AssetTypeSpec


@hookimpl
def register_asset_types():
    return [AssetTypeSpec(name="twin", title=title, folder="twins", class_word="twin") for title in ("One", "Two")]
