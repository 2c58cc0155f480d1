"""What the plugin gives: descriptions only. The code behind them is imported where it runs."""

from collections.abc import Sequence

from assetforge.api import Params, hookimpl, param
from assetforge.api.events import Event
from assetforge.api.specs import (
    AssetTypeSpec,
    BaseModelSpec,
    CheckSpec,
    CommandSpec,
    MetricSpec,
    RecipeSpec,
    RendererSpec,
    ScreenSpec,
    SuiteBlock,
    SuiteSpec,
    TrainerSpec,
)

requires_api = 1

FAMILY = "example-linear"


class LinearTrainerParams(Params):
    """One declaration becomes the CLI options, the form in the TUI and a JSON Schema."""

    steps: int = param(300, "Training steps.", unit="steps", group="Length", ge=1, le=100_000)
    rank: int = param(4, "Rank of the update.", group="Network", ge=1, le=64)
    alpha: float = param(4.0, "Scale of the update is alpha / rank.", group="Network", gt=0)
    learning_rate: float = param(0.02, "Step size of Adam.", group="Optimiser", gt=0, le=1)
    batch: int = param(4, "Pictures per step.", unit="pictures", group="Optimiser", ge=1, le=256)
    checkpoint_every: int = param(
        50, "Steps between checkpoints.", unit="steps", group="Length", advanced=True, affects_result=False, ge=1
    )


TRAINER = TrainerSpec(
    name="example-linear",
    title="Linear example",
    summary="Fits a low-rank update of a linear picture model, in numpy.",
    load="assetforge_example.trainer:LinearTrainer",
    params=LinearTrainerParams,
    families=(FAMILY,),
    resumable=True,
)

RENDERER = RendererSpec(
    name="example-linear",
    title="Linear example",
    summary="Draws with the linear picture model.",
    load="assetforge_example.renderer:LinearRenderer",
    families=(FAMILY,),
)


@hookimpl
def register_asset_types() -> Sequence[AssetTypeSpec]:
    """Clothes are neither a character nor a prop: they are worn."""
    return [
        AssetTypeSpec(
            name="costume",
            title="Costume",
            summary="Clothes that a character wears.",
            folder="costumes",
            class_word="outfit",
        )
    ]


@hookimpl
def register_checks() -> Sequence[CheckSpec]:
    """References that are too dark to learn from."""
    return [CheckSpec(name="too-dark", title="Too dark", load="assetforge_example.checks:TooDark")]


@hookimpl
def register_metrics() -> Sequence[MetricSpec]:
    """How far apart the colours of two pictures are."""
    return [
        MetricSpec(
            name="palette-distance",
            title="Palette distance",
            summary="Half the L1 distance of two colour histograms, 0 (same colours) to 1 (none in common).",
            load="assetforge_example.metrics:PaletteDistance",
            kind="pair",
            direction="lower",
        )
    ]


@hookimpl
def register_base_models() -> Sequence[BaseModelSpec]:
    """The model that the plugin ships."""
    return [
        BaseModelSpec(
            name="example-linear",
            title="Linear example",
            summary="A random linear map from words and noise to 16 x 16 pixels.",
            family=FAMILY,
            locate="assetforge_example.model:base_folder",
            resolution=16,
            licence="Apache-2.0",
        )
    ]


@hookimpl
def register_trainers() -> Sequence[TrainerSpec]:
    """The trainer for that model."""
    return [TRAINER]


@hookimpl
def register_renderers() -> Sequence[RendererSpec]:
    """The renderer for that model."""
    return [RENDERER]


@hookimpl
def register_recipes() -> Sequence[RecipeSpec]:
    """A preset for costumes."""
    return [
        RecipeSpec(
            name="costume-example",
            title="Costume on the linear example",
            family=FAMILY,
            trainer="example-linear",
            asset_types=("costume",),
            base="example-linear",
            params={"steps": 300, "rank": 4},
        )
    ]


@hookimpl
def register_suites() -> Sequence[SuiteSpec]:
    """What to look at when a costume has a new version."""
    return [
        SuiteSpec(
            name="costume-example",
            title="Costume on the linear example",
            family=FAMILY,
            asset_types=("costume",),
            blocks=(
                SuiteBlock(name="core", prompts=("{trigger} {class}", "{trigger} {class} at night"), seeds=(1, 2)),
                SuiteBlock(name="bleed", prompts=("a {class}",), seeds=(1, 2)),
            ),
            steps=1,
            cfg=1.0,
            width=64,
            height=64,
        )
    ]


@hookimpl
def register_commands() -> Sequence[CommandSpec]:
    """``assetforge example palette FILE``."""
    return [
        CommandSpec(
            path=("example", "palette"),
            help="Show the main colours of a picture.",
            load="assetforge_example.commands:palette",
        )
    ]


@hookimpl
def register_screens() -> Sequence[ScreenSpec]:
    """A screen of the terminal program, in its palette under this title."""
    return [
        ScreenSpec(
            name="example-inboxes",
            title="Count files in the inboxes",
            summary="How many files lie in each asset's inbox.",
            load="assetforge_example.screens:InboxScreen",
        )
    ]


@hookimpl
def on_event(event: Event) -> None:
    """Write every event into the file that ``ASSETFORGE_EXAMPLE_LOG`` names, one JSON object a line."""
    from assetforge_example.listener import write_event

    write_event(event)
