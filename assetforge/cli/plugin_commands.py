"""Commands that plugins bring: the one that is called is loaded, and what goes wrong in it is the plugin's failure, not a crash."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from cyclopts import App

from assetforge.api.specs import CommandSpec
from assetforge.cli.commands import COMMANDS
from assetforge.cli.session import film_folder
from assetforge.errors import AssetForgeError, PluginError
from assetforge.extension.film_plugins import add_film_plugins
from assetforge.extension.manager import strict_plugins
from assetforge.extension.registry import Registered, get_registry, load

__all__ = ["add_plugin_commands"]


def add_plugin_commands(app: App, words: Sequence[str] | None = None) -> None:
    """Add every plugin command under its words; a plugin cannot replace a command of assetforge.

    Args:
        app: The command tree.
        words: The command line; only the command it calls is imported. ``None`` imports all of them, for completion scripts.
    """
    builtin = {entry.name for entry in COMMANDS}
    groups: dict[tuple[str, ...], App] = {(): app}
    registry, folder = get_registry(), film_folder()
    if folder is not None:
        add_film_plugins(registry, folder)
    for entry in registry.commands():
        spec = entry.spec
        if spec.path[0] in builtin:
            continue
        called = words is None or tuple(words[: len(spec.path)]) == spec.path
        _parent(groups, spec).command(_guarded(entry) if called else _named, name=spec.path[-1], help=spec.help)


def _parent(groups: dict[tuple[str, ...], App], spec: CommandSpec) -> App:
    for depth in range(1, len(spec.path)):
        path = spec.path[:depth]
        if path not in groups:
            groups[path] = App(name=path[-1])
            groups[path[:-1]].command(groups[path])
    return groups[spec.path[:-1]]


def _named() -> None:
    """Stands for a command that another line calls; the help of its group shows it."""


def _guarded(entry: Registered[CommandSpec]) -> Callable[..., Any]:
    words = " ".join(entry.spec.path)
    try:
        function = load(entry.spec.load)
    except PluginError as error:
        failure = error

        def broken(*_: str) -> None:
            raise failure

        return broken

    @functools.wraps(function)
    def guarded(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except AssetForgeError:
            raise
        except Exception as error:
            if strict_plugins():
                raise
            raise PluginError(
                f"`assetforge {words}` of the plugin {entry.owner} ({entry.plugin} {entry.plugin_version}) failed: "
                f"{type(error).__name__}: {error}.",
                hint="Tell its author; ASSETFORGE_STRICT_PLUGINS=1 shows the traceback.",
            ) from error

    return guarded
