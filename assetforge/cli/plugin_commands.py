"""Commands that plugins bring: loaded when they are called."""

from typing import TYPE_CHECKING

from cyclopts import App

from assetforge.cli.commands import COMMANDS
from assetforge.extension.registry import get_registry

if TYPE_CHECKING:
    from assetforge.api.specs import CommandSpec

__all__ = ["add_plugin_commands"]


def add_plugin_commands(app: App) -> None:
    """Add every plugin command under its words; a plugin cannot replace a command of assetforge."""
    builtin = {entry.name for entry in COMMANDS}
    groups: dict[tuple[str, ...], App] = {(): app}
    for registered in get_registry().commands():
        spec = registered.spec
        if spec.path[0] not in builtin:
            _parent(groups, spec).command(spec.load, name=spec.path[-1], help=spec.help)


def _parent(groups: dict[tuple[str, ...], App], spec: "CommandSpec") -> App:
    for depth in range(1, len(spec.path)):
        path = spec.path[:depth]
        if path not in groups:
            groups[path] = App(name=path[-1])
            groups[path[:-1]].command(groups[path])
    return groups[spec.path[:-1]]
