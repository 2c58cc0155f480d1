"""Load plugins one by one, so that a broken one costs itself and nothing else.

Each plugin is imported and asked for its specs in a daemon thread with a time limit. Whatever goes wrong becomes a :class:`PluginFailure` with the
stage, the reason and the traceback; the plugin is unregistered (quarantined) and everything else goes on. ``ASSETFORGE_STRICT_PLUGINS=1`` raises
instead, for the CI of plugin authors.
"""

import contextlib
import importlib
import io
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import ModuleType
from typing import Any, Literal

import pluggy

from assetforge.api import API_VERSION, HookSpecs
from assetforge.errors import ConfigError, PluginError
from assetforge.extension.bounded import Outcome, run_bounded
from assetforge.extension.discovery import Candidate
from assetforge.extension.kinds import COLLECTING_HOOKS, ENGINE_KINDS, AnySpec, spec_name, spec_problems

__all__ = [
    "HEAVY_MODULES",
    "LIMIT_S",
    "SLOW_S",
    "LoadedPlugin",
    "PluginFailure",
    "PluginLoader",
    "Stage",
    "import_target",
    "strict_plugins",
]

LIMIT_S = 10.0
"""Longest time, in seconds, that an import, all registering hooks of a plugin, or one event may take, unless ``ASSETFORGE_PLUGIN_TIMEOUT`` says
otherwise (a cold network drive can need longer)."""

SLOW_S = 1.0
"""From this time on, in seconds, a plugin is named as slow."""

HEAVY_MODULES = ("torch", "diffusers", "transformers", "peft", "accelerate", "tensorflow", "jax")
"""Libraries that a plugin must not import when it is loaded."""

Stage = Literal["discover", "trust", "crash", "import", "register", "hook", "value", "collision", "event"]

_log = logging.getLogger("assetforge.plugins")


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginFailure:
    """Something that went wrong with a plugin.

    Attributes:
        name: Name of the plugin.
        distribution: Distribution that ships it.
        stage: Where: ``discover`` (two plugins of one name), ``trust`` (a film's plugin that may not run),
            ``crash`` (it ended whole processes while it was loaded), ``import``, ``register`` (pluggy refused it,
            or it needs a newer API), ``hook`` (a hook raised), ``value`` (a hook returned something unusable), ``collision`` (a name that another plugin
            gives too), ``event`` (``on_event`` raised).
        reason: One line.
        traceback: The plugin's own traceback, if there is one.
    """

    name: str
    distribution: str
    stage: Stage
    reason: str
    traceback: str = ""


@dataclass(slots=True)
class LoadedPlugin:
    """A plugin that was looked at.

    Attributes:
        candidate: What it is.
        state: ``active``; ``quarantined`` after a failure; ``disabled`` by the user; ``skipped`` by ``ASSETFORGE_PLUGINS``; ``untrusted``.
        hooks: Names of the hooks it implements.
        specs: What it registered, by kind.
        import_s: Seconds its import took.
        hooks_s: Seconds its registering hooks took.
        warnings: What is wrong with it although it can be used: slow, or imports something heavy.
    """

    candidate: Candidate
    state: Literal["active", "quarantined", "disabled", "skipped", "untrusted"] = "active"
    hooks: tuple[str, ...] = ()
    specs: dict[str, tuple[AnySpec, ...]] = field(default_factory=dict)
    import_s: float = 0.0
    hooks_s: float = 0.0
    warnings: list[str] = field(default_factory=list)


class _Quarantine(Exception):  # noqa: N818 - a signal to unwind
    def __init__(self, stage: Stage, reason: str, trace: str = "", cause: BaseException | None = None) -> None:
        super().__init__(reason)
        self.stage: Stage = stage
        self.reason = reason
        self.trace = trace
        self.cause = cause


class _PrintedText(io.TextIOBase):
    """Stands for stdout while a plugin is loaded, since stdout is for data: passes everything to stderr."""

    used = False

    def write(self, text: str) -> int:
        self.used = True
        sys.stderr.write(text)
        return len(text)


def strict_plugins() -> bool:
    """Whether failures of plugins are raised (``ASSETFORGE_STRICT_PLUGINS=1``)."""
    return os.environ.get("ASSETFORGE_STRICT_PLUGINS", "") not in {"", "0"}


def time_limit_s() -> float:
    """:data:`LIMIT_S`, or ``ASSETFORGE_PLUGIN_TIMEOUT``.

    Raises:
        ConfigError: The variable is not a positive number of seconds.
    """
    value = os.environ.get("ASSETFORGE_PLUGIN_TIMEOUT", "")
    try:
        limit = float(value or LIMIT_S)
    except ValueError:
        limit = 0.0
    if not 0 < limit < threading.TIMEOUT_MAX:
        raise ConfigError(
            f"ASSETFORGE_PLUGIN_TIMEOUT={value!r} is not a number of seconds.",
            hint="Set it to a number such as 30, or unset it.",
        )
    return limit


class PluginLoader:
    """Loads candidates and keeps what became of them.

    Attributes:
        failures: Everything that went wrong, in order.
    """

    def __init__(self) -> None:
        self.failures: list[PluginFailure] = []
        self._limit_s = time_limit_s()
        self._pluggy = pluggy.PluginManager("assetforge")
        self._pluggy.add_hookspecs(HookSpecs)

    def load(self, candidate: Candidate, importer: Callable[[], Any] | None = None) -> LoadedPlugin:
        """Import a plugin and collect its specs.

        Args:
            candidate: What to load.
            importer: How to import it; the default imports ``candidate.target``.

        Returns:
            The plugin, ``active`` or ``quarantined``.

        Raises:
            PluginError: It is broken, and ``ASSETFORGE_STRICT_PLUGINS=1``.
        """
        loaded = LoadedPlugin(candidate)
        printed = _PrintedText()
        try:
            with contextlib.redirect_stdout(printed):
                plugin = self._import(loaded, importer or (lambda: import_target(candidate.target)))
                self._register(loaded, plugin)
                self._collect(loaded)
        except _Quarantine as quarantine:
            self._quarantine(loaded, quarantine)
        except Exception as error:  # noqa: BLE001 - foreign objects may raise anything
            # Attributes, repr and comparison of what a plugin handed over.
            reason = f"its objects cannot be looked at: {type(error).__name__}"
            self._quarantine(loaded, _Quarantine("value", reason, traceback.format_exc(), error))
        if printed.used:
            loaded.warnings.append("prints to stdout when it is loaded; that was sent to stderr")
        return loaded

    def _quarantine(self, loaded: LoadedPlugin, quarantine: _Quarantine) -> None:
        candidate = loaded.candidate
        if self._pluggy.has_plugin(candidate.name):
            self._pluggy.unregister(name=candidate.name)
        loaded.state, loaded.specs = "quarantined", {}
        self.fail(candidate, quarantine.stage, quarantine.reason, quarantine.trace, quarantine.cause)

    def fail(
        self, candidate: Candidate, stage: Stage, reason: str, trace: str = "", cause: BaseException | None = None
    ) -> None:
        """Record a failure, and say so in the log (stderr).

        Raises:
            PluginError: ``ASSETFORGE_STRICT_PLUGINS=1``.
        """
        self.failures.append(
            PluginFailure(
                name=candidate.name, distribution=candidate.distribution, stage=stage, reason=reason, traceback=trace
            )
        )
        if strict_plugins():
            raise PluginError(f"The plugin {candidate.owner} failed ({stage}): {reason}.") from cause
        _log.warning("plugin %s: %s: %.300s", candidate.owner, stage, reason)

    def dispatch(self, candidate: Candidate, event: object) -> None:
        """Call one plugin's ``on_event``; a failure is recorded and changes nothing else."""
        plugin = self._pluggy.get_plugin(candidate.name)
        for impl in self._pluggy.hook.on_event.get_hookimpls():
            if impl.plugin is not plugin:
                continue
            outcome = run_bounded(lambda: _call(impl, {"event": event}), self._limit_s, f"event {candidate.name}")  # noqa: B023 - awaited here
            if outcome.reason:
                self.fail(candidate, "event", f"on_event: {outcome.reason}", outcome.trace, outcome.error)
            elif outcome.seconds > SLOW_S:
                _log.warning("plugin %s: on_event took %.1f s", candidate.owner, outcome.seconds)

    def _limit_for(self, candidate: Candidate) -> float | None:
        # The builtin plugin is ours: on a machine that is too busy it is late, not hanging.
        return None if candidate.source == "builtin" else self._limit_s

    def _import(self, loaded: LoadedPlugin, importer: Callable[[], Any]) -> object:
        heavy_before = {name for name in HEAVY_MODULES if name in sys.modules}
        outcome = run_bounded(importer, self._limit_for(loaded.candidate), f"import {loaded.candidate.name}")
        loaded.import_s = outcome.seconds
        if outcome.reason:
            raise _Quarantine("import", outcome.reason, outcome.trace, outcome.error)
        if outcome.seconds > SLOW_S:
            loaded.warnings.append(f"slow: its import took {outcome.seconds:.1f} s")
        heavy = [name for name in HEAVY_MODULES if name in sys.modules and name not in heavy_before]
        if heavy:
            loaded.warnings.append(
                f"imports {', '.join(heavy)} when it is loaded ({outcome.seconds:.1f} s); that belongs into the module a spec's load names"
            )
        plugin: object = outcome.value
        if isinstance(plugin, type) or plugin is None:
            raise _Quarantine("register", f"{loaded.candidate.target} is {plugin!r}; name a module or an instance")
        needed = getattr(plugin, "requires_api", API_VERSION)
        if not isinstance(needed, int) or needed > API_VERSION:
            raise _Quarantine(
                "register", f"needs plugin API {needed!r}; this assetforge has {API_VERSION}; upgrade assetforge-film"
            )
        return plugin

    def _register(self, loaded: LoadedPlugin, plugin: object) -> None:
        name = loaded.candidate.name
        try:
            self._pluggy.register(plugin, name=name)
        except Exception as error:
            raise _Quarantine("register", str(error).replace("\n", " ").strip(), cause=error) from error
        impls = [
            impl
            for caller in self._pluggy.get_hookcallers(plugin) or ()
            for impl in [*caller.get_hookimpls()]
            if impl.plugin is plugin
        ]
        callers = [caller.name for caller in self._pluggy.get_hookcallers(plugin) or ()]
        try:
            self._pluggy.check_pending()
        except pluggy.PluginValidationError as error:
            known = [hook for hook in vars(HookSpecs) if not hook.startswith("_")]
            unknown = [hook for hook in callers if hook not in known]
            guesses = [match for hook in unknown for match in get_close_matches(hook, known, 1)]
            hint = f"; did you mean {', '.join(guesses)}?" if guesses else ""
            raise _Quarantine("register", f"there is no hook {', '.join(unknown)}{hint}", cause=error) from error
        if any(impl.hookwrapper or impl.wrapper for impl in impls):
            raise _Quarantine("register", "hook wrappers are not supported; a plugin speaks for itself alone")
        loaded.hooks = tuple(sorted(callers))
        if not callers:
            loaded.warnings.append("implements no hook; is @hookimpl missing?")

    def _collect(self, loaded: LoadedPlugin) -> None:
        plugin = self._pluggy.get_plugin(loaded.candidate.name)
        impls = {
            hook: impl
            for hook in COLLECTING_HOOKS
            for impl in getattr(self._pluggy.hook, hook).get_hookimpls()
            if impl.plugin is plugin
        }
        reached: list[str] = []

        def collect() -> dict[str, Any]:
            values = {}
            for hook, impl in impls.items():
                reached.append(hook)
                returned = _call(impl, {})
                values[hook] = (
                    tuple(returned) if isinstance(returned, list | tuple | set | frozenset | Iterator) else returned
                )
            return values

        outcome: Outcome = run_bounded(collect, self._limit_for(loaded.candidate), f"hooks {loaded.candidate.name}")
        loaded.hooks_s = outcome.seconds
        if outcome.reason:
            raise _Quarantine(
                "hook", f"{reached[-1] if reached else 'hooks'}: {outcome.reason}", outcome.trace, outcome.error
            )
        if outcome.seconds > SLOW_S:
            loaded.warnings.append(f"slow: its hooks took {outcome.seconds:.1f} s")
        problems = [
            problem
            for hook, value in outcome.value.items()
            for problem in _value_problems(loaded.candidate, hook, value)
        ]
        if problems:
            raise _Quarantine("value", "; ".join(problems))
        loaded.specs = {COLLECTING_HOOKS[hook][0]: value for hook, value in outcome.value.items()}


def import_target(target: str) -> object:
    """Import ``"package.module"`` or ``"package.module:attribute"``."""
    module_name, _, attribute = target.partition(":")
    found: ModuleType | Any = importlib.import_module(module_name)
    for name in attribute.split(".") if attribute else ():
        found = getattr(found, name)
    return found


def _call(impl: pluggy.HookImpl, arguments: dict[str, object]) -> Any:
    return impl.function(*(arguments[name] for name in impl.argnames))


def _value_problems(candidate: Candidate, hook: str, value: object) -> list[str]:
    kind, expected = COLLECTING_HOOKS[hook]
    if not isinstance(value, tuple):
        return [f"{hook} returned {value!r:.80}, which is not a list of {expected.__name__}"]
    problems = [f"{hook}: {problem}" for entry in value for problem in spec_problems(entry, expected)]
    if not problems:
        names = [spec_name(entry) for entry in value]
        problems += [
            f"{hook}: gives {name!r} twice" for name in sorted({name for name in names if names.count(name) > 1})
        ]
    if candidate.source == "film" and kind in ENGINE_KINDS and value:
        problems.append(
            f"{hook}: a {kind} runs in a job, on any machine, where the film's folder is not; install it as a distribution"
        )
    return problems
