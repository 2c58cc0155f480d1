"""A plugin that works, and greets on stdout, where only data belongs."""

from assetforge.api import hookimpl
from assetforge.api.specs import AssetTypeSpec

print("Thank you for using chatty!")


@hookimpl
def register_asset_types():
    print("Registering...")
    return [AssetTypeSpec(name="parrot", title="Parrot", folder="parrots", class_word="bird")]
