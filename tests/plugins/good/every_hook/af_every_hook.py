"""A plugin that implements every hook there is, once."""

from pathlib import Path

from assetforge.api import hookimpl, specs

heard = []


class Engine:
    """Stands for whatever a load string names."""


def locate() -> Path:
    return Path(__file__).parent


_WORKING = {"title": "Every hook", "load": "af_every_hook:Engine"}


@hookimpl
def register_asset_types():
    return [specs.AssetTypeSpec(name="every", title="Every hook", folder="everything", class_word="thing")]


@hookimpl
def register_importers():
    return [specs.ImporterSpec(name="every", **_WORKING)]


@hookimpl
def register_checks():
    return [specs.CheckSpec(name="every", **_WORKING)]


@hookimpl
def register_captioners():
    return [specs.CaptionerSpec(name="every", **_WORKING)]


@hookimpl
def register_transforms():
    return [specs.TransformSpec(name="every", **_WORKING)]


@hookimpl
def register_exporters():
    return [specs.ExporterSpec(name="every", exports="version", **_WORKING)]


@hookimpl
def register_base_models():
    return [
        specs.BaseModelSpec(
            name="every", title="Every hook", family="sd15", locate="af_every_hook:locate", resolution=64
        )
    ]


@hookimpl
def register_recipes():
    yield specs.RecipeSpec(
        name="every", title="Every hook", family="sd15", trainer="every", asset_types=("every",), base="every"
    )


@hookimpl
def register_trainers():
    return (specs.TrainerSpec(name="every", families=("sd15",), **_WORKING),)


@hookimpl
def register_executors():
    return [specs.ExecutorSpec(name="every", **_WORKING)]


@hookimpl
def register_provisioners():
    return [specs.ProvisionerSpec(name="every", executor="every", **_WORKING)]


@hookimpl
def register_suites():
    block = specs.SuiteBlock(name="core", prompts=("{trigger}",), seeds=(1,))
    return [specs.SuiteSpec(name="every", title="Every hook", family="sd15", asset_types=("every",), blocks=(block,))]


@hookimpl
def register_renderers():
    return [specs.RendererSpec(name="every", families=("sd15",), **_WORKING)]


@hookimpl
def register_metrics():
    return [specs.MetricSpec(name="every", kind="single", **_WORKING)]


@hookimpl
def register_demos():
    return [specs.DemoSpec(name="every", base="every", **_WORKING)]


@hookimpl
def register_commands():
    return [specs.CommandSpec(path=("every", "hook"), help="Do nothing.", load="af_every_hook:locate")]


@hookimpl
def register_screens():
    return [specs.ScreenSpec(name="every", key="e", **_WORKING)]


@hookimpl
def on_event(event):
    heard.append(event)
