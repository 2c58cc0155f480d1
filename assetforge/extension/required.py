"""Plugins that a film cannot do without: a missing one stops the work instead of quietly changing its result."""

import re
from collections.abc import Sequence

from assetforge.errors import ConfigError, PluginError
from assetforge.extension.manager import LoadedPlugin
from assetforge.extension.registry import Registry

__all__ = ["check_required"]

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\s*>=\s*(?P<least>\d+(\.\d+)*))?")


def check_required(registry: Registry, required: Sequence[str]) -> None:
    """Check that every required plugin is there and works.

    Args:
        registry: What is loaded.
        required: Distributions or plugin names, each alone or with a least version: ``assetforge-diffusers>=0.2``.

    Raises:
        ConfigError: An entry cannot be read.
        PluginError: Some are missing, too old, switched off or broken; the message names each with its reason.
    """
    problems = [problem for entry in required if (problem := _problem(registry, entry.strip()))]
    if problems:
        raise PluginError(
            f"This film requires plugins that do not work here: {'; '.join(problems)}.",
            hint="Install or enable them; `assetforge plugin list` shows what is there. `required` is set in project.toml.",
        )


def _problem(registry: Registry, entry: str) -> str:
    match = _REQUIREMENT.fullmatch(entry)
    if match is None:
        raise ConfigError(
            f"The required plugin {entry!r} in project.toml cannot be read.", hint="Write NAME or NAME>=VERSION."
        )
    wanted = _normal(match["name"])
    found = [
        plugin
        for plugin in registry.plugins
        if wanted in {_normal(plugin.candidate.distribution), _normal(plugin.candidate.name)}
    ]
    if not found:
        return f"{entry} is not installed"
    least = match["least"]
    for plugin in found:
        if plugin.state != "active":
            return f"{plugin.candidate.owner} is {plugin.state}{_why(registry, plugin)}"
        if least and _numbers(plugin.candidate.version) < _numbers(least):
            return f"{entry} is needed, {plugin.candidate.version} is installed"
    return ""


def _why(registry: Registry, plugin: LoadedPlugin) -> str:
    reasons = [failure.reason for failure in registry.failures if failure.name == plugin.candidate.name]
    return f" ({reasons[-1]})" if reasons else ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in re.findall(r"\d+", version)]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
