"""A plugin that works, and takes its time."""

import time

from assetforge.api import hookimpl
from assetforge.api.specs import AssetTypeSpec

time.sleep(1.1)


@hookimpl
def register_asset_types():
    return [AssetTypeSpec(name="glacier", title="Glacier", folder="glaciers", class_word="ice")]
