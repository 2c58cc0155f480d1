"""Describes the toybox to assetforge: base model, probe, recipes, suites and demo film. Imports no framework."""

from __future__ import annotations

from collections.abc import Sequence

from assetforge.api import hookimpl
from assetforge.api.specs import BaseModelSpec, DemoSpec, MetricSpec, RecipeSpec, SuiteSpec

from assetforge_toybox.presets import BASE, RECIPES, SUITES

requires_api = 1

SEEN_COSINE = 0.02
"""Loss of cosine to the references that a person sees. Pictures of one cell by two versions were laid side by side: at a loss of 0.01 nobody could say which was
worse; at 0.02 a face, a handle or an outline is drawn less clearly for whoever compares; at 0.05 anybody sees it; at 0.1 it is somebody else."""

SEEN_PROBABILITY = 0.1
"""Loss of prompt following that a person sees: in one more picture out of ten something is not as the prompt says."""


@hookimpl
def register_base_models() -> Sequence[BaseModelSpec]:
    """The tiny base model that the package carries."""
    return [
        BaseModelSpec(
            name=BASE,
            title="Toybox 64",
            summary="A Stable Diffusion 1.x pipeline at doll's-house size: 64 x 64 pictures of a small drawn world.",
            family="sd15",
            locate="assetforge_toybox.locate:base_folder",
            resolution=64,
            licence="Apache-2.0",
        )
    ]


@hookimpl
def register_metrics() -> Sequence[MetricSpec]:
    """The probe, as two metrics: who or what is shown, and how it is drawn; the reader, as a third: whether a picture shows what its prompt names."""
    return [
        MetricSpec(
            name="toybox-identity",
            title="Identity",
            summary="Nearness of the character or prop shown, whatever the place, style and pose.",
            load="assetforge_toybox.probe:IdentityProbe",
            kind="embedding",
            asset_types=("character", "prop"),
            gates=True,
            bases=(BASE,),
            margin=SEEN_COSINE,
            licence="Apache-2.0",
        ),
        MetricSpec(
            name="toybox-style",
            title="Style",
            summary="Nearness of the drawing style, whatever is drawn.",
            load="assetforge_toybox.probe:StyleProbe",
            kind="embedding",
            asset_types=("style",),
            gates=True,
            bases=(BASE,),
            margin=SEEN_COSINE,
            licence="Apache-2.0",
        ),
        MetricSpec(
            name="toybox-prompt",
            title="Prompt following",
            summary="Probability that a picture shows all that its prompt names: subject, colour, place, style, position.",
            load="assetforge_toybox.prompt_metric:PromptMetric",
            kind="prompt",
            gates=True,
            bases=(BASE,),
            margin=SEEN_PROBABILITY,
            licence="Apache-2.0",
        ),
    ]


@hookimpl
def register_recipes() -> Sequence[RecipeSpec]:
    """Presets that teach the toybox a character, a prop or a style within a minute on one core."""
    return list(RECIPES)


@hookimpl
def register_suites() -> Sequence[SuiteSpec]:
    """Regression suites in the words of the toybox world."""
    return list(SUITES)


@hookimpl
def register_demos() -> Sequence[DemoSpec]:
    """The film "Night Harbour"."""
    return [
        DemoSpec(
            name="night-harbour",
            title="Night Harbour",
            summary="Two characters, a prop and a style that the toybox does not know, in two batches of references.",
            load="assetforge_toybox.demo:build",
            base=BASE,
        )
    ]
