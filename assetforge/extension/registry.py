"""What plugins registered: the one place where the program looks for a trainer, a metric, an asset type ...

The registry is filled once per process, from specs alone; the code behind a spec is imported by :func:`load` where it runs.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Generic, TypeVar, cast

from assetforge.api import specs
from assetforge.api.events import Event
from assetforge.errors import NotFoundError, PluginError
from assetforge.extension.crashes import CRASHES_ALLOWED, count_crashes, forget_crashes, marked_as_loading
from assetforge.extension.decisions import read_decisions
from assetforge.extension.discovery import Candidate, installed_plugins, selected_names
from assetforge.extension.kinds import SPEC_OF_KIND, AnySpec, kind_title, spec_name
from assetforge.extension.manager import LoadedPlugin, PluginFailure, PluginLoader, Stage, import_target

__all__ = ["Registered", "Registry", "get_registry", "load", "load_registry", "reset_registry"]

S = TypeVar("S", bound=AnySpec)
S_co = TypeVar("S_co", bound=AnySpec, covariant=True)


@dataclass(frozen=True, slots=True)
class Registered(Generic[S_co]):
    """A spec and who gave it.

    Attributes:
        spec: The description.
        plugin: The distribution that ships it; what lineage records.
        plugin_version: Version of that distribution.
        owner: Name of the plugin; what ``plugin disable`` takes.
    """

    spec: S_co
    plugin: str
    plugin_version: str
    owner: str


def _one(spec_type: type[S]) -> "Callable[[Registry, str], Registered[S]]":
    def find(self: "Registry", name: str) -> Registered[S]:
        return self.get(spec_type, name)

    find.__doc__ = f"The {spec_type.__name__} of that name; see :meth:`Registry.get`."
    return find


def _all(spec_type: type[S]) -> "Callable[[Registry], list[Registered[S]]]":
    def every(self: "Registry") -> list[Registered[S]]:
        return self.every(spec_type)

    every.__doc__ = f"Every {spec_type.__name__}, builtin first, then by plugin."
    return every


class Registry:
    """Specs of all plugins that work, and what went wrong with the others."""

    def __init__(self) -> None:
        self._loader = PluginLoader()
        self._plugins: list[LoadedPlugin] = []
        self._shelves: dict[type[Any], dict[str, Registered[Any]]] = {}
        self._contested: dict[tuple[type[Any], str], list[LoadedPlugin]] = {}

    @property
    def failures(self) -> Sequence[PluginFailure]:
        """Everything that went wrong, in order."""
        return tuple(self._loader.failures)

    @property
    def plugins(self) -> Sequence[LoadedPlugin]:
        """Every plugin that was found, whatever became of it."""
        return tuple(self._plugins)

    def add(self, plugin: LoadedPlugin) -> None:
        """Take in the specs of a plugin. A name that two plugins give is used by neither, and both are told."""
        self._plugins.append(plugin)
        for kind, given in plugin.specs.items():
            for spec in given:
                self._add_spec(plugin, SPEC_OF_KIND[kind], spec)

    def load(self, candidate: Candidate, importer: Callable[[], Any] | None = None) -> None:
        """Load a plugin and take in its specs; see :meth:`PluginLoader.load`. One that ended the process twice in a row is left out."""
        if candidate.source == "builtin":
            self.add(self._loader.load(candidate, importer))
            return
        crashes = count_crashes(candidate)
        if crashes > CRASHES_ALLOWED:
            self.add(LoadedPlugin(candidate, state="quarantined"))
            reason = f"ended the whole program {crashes} times while it was loaded; after a repair: assetforge plugin enable {candidate.name}"
            self.fail(candidate, "crash", reason)
            return
        with marked_as_loading(candidate):
            self.add(self._loader.load(candidate, importer))
        if crashes:
            forget_crashes(candidate.name)

    def fail(self, candidate: Candidate, stage: Stage, reason: str) -> None:
        """Record a failure of a plugin that was not loaded; see :meth:`PluginLoader.fail`."""
        self._loader.fail(candidate, stage, reason)

    def _add_spec(self, plugin: LoadedPlugin, spec_type: type[Any], spec: AnySpec) -> None:
        name = spec_name(spec)
        shelf = self._shelves.setdefault(spec_type, {})
        rivals = self._contested.get((spec_type, name), [])
        if name in shelf:
            owner = shelf.pop(name).owner
            rivals = [next(other for other in self._plugins if other.candidate.name == owner)]
        if not rivals:
            candidate = plugin.candidate
            shelf[name] = Registered(spec, candidate.distribution, candidate.version, candidate.name)
            return
        self._contested[spec_type, name] = [*rivals, plugin]
        for one, other in ((plugin, rivals[0]), *((rival, plugin) for rival in rivals)):
            self._loader.fail(
                one.candidate,
                "collision",
                f"the {kind_title(spec_type)} {name!r} is given by {other.candidate.owner} too; neither is used; disable one of them",
            )

    def get(self, spec_type: type[S], name: str) -> Registered[S]:
        """The spec of that class and name.

        Raises:
            PluginError: Two plugins give it, so neither is used.
            NotFoundError: Nobody gives it; the message names close matches and plugins that failed.
        """
        shelf = self._shelves.get(spec_type, {})
        if name in shelf:
            return cast("Registered[S]", shelf[name])
        kind = kind_title(spec_type)
        contested = self._contested.get((spec_type, name))
        if contested:
            owners = " and ".join(plugin.candidate.owner for plugin in contested)
            raise PluginError(
                f"The {kind} {name!r} is given by {owners}, so neither is used.",
                hint=f"Disable one of them: assetforge plugin disable {contested[-1].candidate.name}",
            )
        close = get_close_matches(name, shelf, n=3)
        known = f"Known: {', '.join(shelf)}." if shelf else "No plugin that works here brings any."
        hint = f"Did you mean {', '.join(close)}?" if close else known
        broken = sorted(
            {failure.name for failure in self._loader.failures if failure.stage not in {"event", "collision"}}
        )
        if broken:
            hint += f" Plugins that failed to load: {', '.join(broken)} (see `assetforge plugin list`)."
        raise NotFoundError(f"There is no {kind} named {name!r}.", hint=hint)

    def every(self, spec_type: type[S]) -> list[Registered[S]]:
        """Every spec of that class, builtin first, then in the order of plugins."""
        return list(cast("dict[str, Registered[S]]", self._shelves.get(spec_type, {})).values())

    def notify(self, event: Event) -> None:
        """Tell every plugin that listens. A plugin that fails is recorded and changes nothing."""
        for plugin in self._plugins:
            if plugin.state == "active" and "on_event" in plugin.hooks:
                self._loader.dispatch(plugin.candidate, event)

    asset_type, asset_types = _one(specs.AssetTypeSpec), _all(specs.AssetTypeSpec)
    importer, importers = _one(specs.ImporterSpec), _all(specs.ImporterSpec)
    check, checks = _one(specs.CheckSpec), _all(specs.CheckSpec)
    captioner, captioners = _one(specs.CaptionerSpec), _all(specs.CaptionerSpec)
    transform, transforms = _one(specs.TransformSpec), _all(specs.TransformSpec)
    exporter, exporters = _one(specs.ExporterSpec), _all(specs.ExporterSpec)
    base_model, base_models = _one(specs.BaseModelSpec), _all(specs.BaseModelSpec)
    recipe, recipes = _one(specs.RecipeSpec), _all(specs.RecipeSpec)
    trainer, trainers = _one(specs.TrainerSpec), _all(specs.TrainerSpec)
    executor, executors = _one(specs.ExecutorSpec), _all(specs.ExecutorSpec)
    provisioner, provisioners = _one(specs.ProvisionerSpec), _all(specs.ProvisionerSpec)
    suite, suites = _one(specs.SuiteSpec), _all(specs.SuiteSpec)
    renderer, renderers = _one(specs.RendererSpec), _all(specs.RendererSpec)
    metric, metrics = _one(specs.MetricSpec), _all(specs.MetricSpec)
    demo, demos = _one(specs.DemoSpec), _all(specs.DemoSpec)
    command, commands = _one(specs.CommandSpec), _all(specs.CommandSpec)
    screen, screens = _one(specs.ScreenSpec), _all(specs.ScreenSpec)


def load(target: str) -> Any:
    """Import what a spec's ``load`` or ``locate`` string names.

    Args:
        target: ``"package.module:Attribute"``.

    Raises:
        PluginError: It cannot be imported, or does not exist.
    """
    try:
        return import_target(target)
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{target} cannot be loaded: {type(error).__name__}: {error}.",
            hint="Is the plugin installed completely in this environment? `assetforge doctor` shows versions.",
        ) from error


def load_registry() -> Registry:
    """A fresh registry with every installed plugin that the user and ``ASSETFORGE_PLUGINS`` allow.

    Raises:
        ConfigError: The user's decisions about plugins cannot be read.
        PluginError: A plugin failed and ``ASSETFORGE_STRICT_PLUGINS=1``.
    """
    registry = Registry()
    disabled, selected = read_decisions().disabled, selected_names()
    candidates = installed_plugins()
    for candidate in candidates:
        twins = [other for other in candidates if other.name == candidate.name]
        if candidate.source == "builtin":
            registry.load(candidate)
        elif candidate.name in disabled:
            registry.add(LoadedPlugin(candidate, state="disabled"))
        elif selected is not None and candidate.name not in selected:
            registry.add(LoadedPlugin(candidate, state="skipped"))
        elif len(twins) > 1:
            owners = " and ".join(twin.owner for twin in twins)
            registry.add(LoadedPlugin(candidate, state="quarantined"))
            registry.fail(
                candidate, "discover", f"two plugins have one name: {owners}; neither is used; uninstall one of them"
            )
        else:
            registry.load(candidate)
    return registry


_lock = threading.Lock()
_current: Registry | None = None


def get_registry() -> Registry:
    """The registry of this process, loaded at the first call."""
    global _current
    with _lock:
        if _current is None:
            _current = load_registry()
        return _current


def reset_registry() -> None:
    """Forget the registry; the next :func:`get_registry` loads anew (after a plugin was enabled, and between tests)."""
    global _current
    with _lock:
        _current = None
