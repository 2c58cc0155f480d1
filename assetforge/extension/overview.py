"""Every plugin on one page: what it is, what became of it, what it gives, what is wrong with it. For the CLI, the TUI and ``doctor``."""

from dataclasses import dataclass, field

from assetforge.api.specs import LoadableSpec
from assetforge.extension.kinds import spec_name
from assetforge.extension.manager import LoadedPlugin, PluginFailure
from assetforge.extension.registry import Registry

__all__ = ["PluginReport", "report_plugins"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginReport:
    """One plugin.

    Attributes:
        name: Its name.
        distribution: Distribution that ships it; ``film`` for a plugin inside a film.
        version: Version of that.
        source: ``builtin``, ``installed`` or ``film``.
        state: ``active``, ``quarantined``, ``disabled``, ``skipped`` or ``untrusted``.
        path: Where a film's plugin lies; empty for the others.
        content_hash: What ``plugin trust`` would trust; empty for the others.
        reason: Why it does not work, or what does not; empty when all is well.
        warnings: What is wrong with it although it can be used.
        hooks: Names of the hooks it implements.
        gives: Names of what it registered, by kind.
        seconds: Time that loading it took.
        failures: Everything that went wrong, with tracebacks.
    """

    name: str
    distribution: str
    version: str
    source: str
    state: str
    path: str = ""
    content_hash: str = ""
    reason: str = ""
    warnings: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    gives: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0
    failures: tuple[PluginFailure, ...] = ()


def report_plugins(registry: Registry) -> list[PluginReport]:
    """Describe every plugin, in the order they were found.

    Generates the JSON Schema of every parameter model, which loading does not do since it takes time; a model that has none becomes a warning.
    """
    return [_report(plugin, _failures_of(registry, plugin)) for plugin in registry.plugins]


def _failures_of(registry: Registry, plugin: LoadedPlugin) -> tuple[PluginFailure, ...]:
    about = (plugin.candidate.name, plugin.candidate.distribution)
    return tuple(failure for failure in registry.failures if (failure.name, failure.distribution) == about)


def _report(plugin: LoadedPlugin, failures: tuple[PluginFailure, ...]) -> PluginReport:
    candidate = plugin.candidate
    return PluginReport(
        name=candidate.name,
        distribution=candidate.distribution,
        version=candidate.version,
        source=candidate.source,
        state=plugin.state,
        path=str(candidate.path or ""),
        content_hash=candidate.content_hash,
        reason="; ".join(f"{failure.stage}: {failure.reason}" for failure in failures),
        warnings=(*plugin.warnings, *_schema_problems(plugin)),
        hooks=plugin.hooks,
        gives={kind: [spec_name(spec) for spec in given] for kind, given in plugin.specs.items() if given},
        seconds=round(plugin.import_s + plugin.hooks_s, 4),
        failures=failures,
    )


def _schema_problems(plugin: LoadedPlugin) -> list[str]:
    problems = []
    for spec in (spec for given in plugin.specs.values() for spec in given if isinstance(spec, LoadableSpec)):
        try:
            spec.params.model_json_schema()
        except Exception as error:  # noqa: BLE001 - a plugin's own model may raise anything
            problems.append(
                f"the parameters of {spec.name} give no JSON Schema: {type(error).__name__}: {error}".splitlines()[0]
            )
    return problems
