"""The other plugin of that name."""

from assetforge.api import hookimpl
from assetforge.api.specs import AssetTypeSpec


@hookimpl
def register_asset_types():
    return [AssetTypeSpec(name="vehicle", title="Vehicle", folder="cars", class_word="vehicle")]
