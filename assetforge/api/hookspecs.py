"""Every extension point of assetforge, on one page.

A plugin is a module (or object) named by an entry point of the group ``assetforge.plugins``. It implements any of these functions with
:data:`assetforge.api.hookimpl`. Registering hooks return lists of frozen specs (:mod:`assetforge.api.specs`); they are called once per process, must be
fast, and must not import heavy libraries: the code behind a spec is named by its ``load`` string and imported only where it runs.

A plugin that raises in any hook is quarantined: named with its reason in ``assetforge plugin list``, while everything else goes on.
"""

from collections.abc import Sequence

import pluggy

from assetforge.api import specs
from assetforge.api.events import Event

__all__ = ["API_VERSION", "ENTRY_POINT_GROUP", "HookSpecs", "hookimpl", "hookspec"]

API_VERSION = 1
"""Additive changes keep it. A plugin may declare ``requires_api = 1`` at module level; a higher number than ours quarantines it."""

ENTRY_POINT_GROUP = "assetforge.plugins"

hookspec = pluggy.HookspecMarker("assetforge")
hookimpl = pluggy.HookimplMarker("assetforge")


class HookSpecs:
    """The hooks, in the order of a film's data."""

    @hookspec
    def register_asset_types(self) -> Sequence[specs.AssetTypeSpec]:  # type: ignore[empty-body]
        """Kinds of assets, such as costume or location."""

    @hookspec
    def register_importers(self) -> Sequence[specs.ImporterSpec]:  # type: ignore[empty-body]
        """Readers of other tools' folders."""

    @hookspec
    def register_checks(self) -> Sequence[specs.CheckSpec]:  # type: ignore[empty-body]
        """Inspections of references."""

    @hookspec
    def register_captioners(self) -> Sequence[specs.CaptionerSpec]:  # type: ignore[empty-body]
        """Ways to describe references in words."""

    @hookspec
    def register_transforms(self) -> Sequence[specs.TransformSpec]:  # type: ignore[empty-body]
        """Ways to prepare references, such as background removal."""

    @hookspec
    def register_exporters(self) -> Sequence[specs.ExporterSpec]:  # type: ignore[empty-body]
        """Writers of other tools' forms."""

    @hookspec
    def register_base_models(self) -> Sequence[specs.BaseModelSpec]:  # type: ignore[empty-body]
        """Base models that a plugin ships or can find on this machine."""

    @hookspec
    def register_recipes(self) -> Sequence[specs.RecipeSpec]:  # type: ignore[empty-body]
        """Training presets, as data."""

    @hookspec
    def register_trainers(self) -> Sequence[specs.TrainerSpec]:  # type: ignore[empty-body]
        """Ways to train a LoRA."""

    @hookspec
    def register_executors(self) -> Sequence[specs.ExecutorSpec]:  # type: ignore[empty-body]
        """Places where jobs run."""

    @hookspec
    def register_provisioners(self) -> Sequence[specs.ProvisionerSpec]:  # type: ignore[empty-body]
        """Makers of hosts, such as rented GPUs."""

    @hookspec
    def register_suites(self) -> Sequence[specs.SuiteSpec]:  # type: ignore[empty-body]
        """Regression sample plans, as data."""

    @hookspec
    def register_renderers(self) -> Sequence[specs.RendererSpec]:  # type: ignore[empty-body]
        """Ways to render cells."""

    @hookspec
    def register_metrics(self) -> Sequence[specs.MetricSpec]:  # type: ignore[empty-body]
        """Scores for renders."""

    @hookspec
    def register_demos(self) -> Sequence[specs.DemoSpec]:  # type: ignore[empty-body]
        """Demo films."""

    @hookspec
    def register_commands(self) -> Sequence[specs.CommandSpec]:  # type: ignore[empty-body]
        """CLI commands, loaded when they are called."""

    @hookspec
    def register_screens(self) -> Sequence[specs.ScreenSpec]:  # type: ignore[empty-body]
        """TUI screens, loaded when they are opened."""

    @hookspec
    def on_event(self, event: Event) -> None:
        """Something happened to a film. Called after it is committed; an exception is recorded and changes nothing."""
