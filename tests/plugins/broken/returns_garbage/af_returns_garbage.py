"""A plugin that hands over things that are not what its hooks promise."""

from assetforge.api import hookimpl
from assetforge.api.specs import AssetTypeSpec, MetricSpec, SuiteSpec


@hookimpl
def register_trainers():
    return {"name": "not-a-spec"}


@hookimpl
def register_recipes():
    return None


@hookimpl
def register_suites():
    return [SuiteSpec]


@hookimpl
def register_asset_types():
    return [AssetTypeSpec(name="Bad Name", title="", folder="../outside", class_word="x")]


@hookimpl
def register_metrics():
    return [MetricSpec(name="no-load", title="No load", load="just.a.module", kind="single", params=dict)]
