"""A plugin whose specs know more than ours."""

from dataclasses import dataclass

from assetforge.api import hookimpl
from assetforge.api.specs import AssetTypeSpec


@dataclass(frozen=True, kw_only=True)
class RichSpec(AssetTypeSpec):
    icon: str = "*"


@hookimpl
def register_asset_types():
    return [RichSpec(name="rich", title="Rich", folder="rich", class_word="thing")]
