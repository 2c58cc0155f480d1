"""The builtin plugin: registers everything in this package. Imports specs only; the code behind them is loaded where it runs."""

from collections.abc import Sequence

from assetforge.api import hookimpl
from assetforge.api.events import Event
from assetforge.api.specs import AssetTypeSpec, CaptionerSpec, ExecutorSpec, ExporterSpec, MetricSpec
from assetforge.builtin.dataset_specs import CAPTIONERS, DATASET_EXPORTERS
from assetforge.builtin.local_executor import LOCAL_EXECUTOR
from assetforge.builtin.notify.listener import hear
from assetforge.builtin.pixel_metric_specs import PIXEL_METRICS

__all__ = [
    "on_event",
    "register_asset_types",
    "register_captioners",
    "register_executors",
    "register_exporters",
    "register_metrics",
]

requires_api = 1


@hookimpl
def register_asset_types() -> Sequence[AssetTypeSpec]:
    """The three kinds of assets that every film has."""
    return [
        AssetTypeSpec(
            name="character",
            title="Character",
            folder="characters",
            class_word="person",
            summary="A person or creature.",
        ),
        AssetTypeSpec(name="prop", title="Prop", folder="props", class_word="object", summary="A thing that recurs."),
        AssetTypeSpec(
            name="style", title="Style", folder="styles", class_word="style", summary="The look of the pictures."
        ),
    ]


@hookimpl
def register_metrics() -> Sequence[MetricSpec]:
    """Pixel metrics: they flag a change and never pass a version."""
    return PIXEL_METRICS


@hookimpl
def register_executors() -> Sequence[ExecutorSpec]:
    """This machine."""
    return [LOCAL_EXECUTOR]


@hookimpl
def register_captioners() -> Sequence[CaptionerSpec]:
    """Captions that lie beside the pictures."""
    return CAPTIONERS


@hookimpl
def register_exporters() -> Sequence[ExporterSpec]:
    """Datasets as folders that other trainers read."""
    return DATASET_EXPORTERS


@hookimpl
def on_event(event: Event) -> None:
    """Notifications, as far as the user's settings ask for them."""
    hear(event)
