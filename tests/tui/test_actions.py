"""Every action has an id of its own, does something where it is offered, is in the palette, and has a command line that does the same."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest
from cyclopts import App as Commands
from textual.dom import DOMNode

import assetforge.tui
from assetforge.cli.commands import COMMANDS
from assetforge.extension.registry import load
from assetforge.tui.actions import ACTIONS, Action, actions_of, bindings
from assetforge.tui.app import FilmApp

ROOT = Path(assetforge.tui.__file__).parent
MODULES = [
    ".".join(("assetforge.tui", *path.relative_to(ROOT).with_suffix("").parts))
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "__init__.py" and "serve" not in path.parts
]
_GLOBAL = {"--help", "COMMAND"}


def _owners() -> dict[str, type]:
    found: dict[str, type] = {"app": FilmApp}
    for module in MODULES:
        for kind in vars(import_module(module)).values():
            if inspect.isclass(kind) and issubclass(kind, DOMNode) and kind.__module__ == module:
                scope = vars(kind).get("SCOPE")
                if scope:
                    found[scope] = kind
    return found


OWNERS = _owners()


def test_ids_are_unique() -> None:
    ids = [one.id for one in ACTIONS]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("scope", sorted({one.scope for one in ACTIONS}))
def test_every_scope_belongs_to_a_screen_that_binds_it(scope: str) -> None:
    owner = OWNERS[scope]
    bound = {binding.id for binding in owner.BINDINGS if not isinstance(binding, tuple)}
    assert {binding.id for binding in bindings(scope)} <= bound


@pytest.mark.parametrize("action", ACTIONS, ids=lambda one: one.id)
def test_every_action_does_something(action: Action) -> None:
    name = action.method.removeprefix("app.")
    assert callable(getattr(OWNERS[action.scope], f"action_{name}", None)), (
        f"{OWNERS[action.scope]} lacks action_{name}"
    )


@pytest.mark.parametrize("scope", sorted({one.scope for one in ACTIONS}))
def test_keys_of_a_scope_are_used_once(scope: str) -> None:
    keys = [key for one in actions_of(scope) for key in one.keys.split(",") if key]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("action", ACTIONS, ids=lambda one: one.id)
def test_every_action_has_a_twin_on_the_command_line(action: Action) -> None:
    program, *words = action.twin.split()
    assert program == "assetforge"
    if words[0] in _GLOBAL:
        return
    entry = next((one for one in COMMANDS if one.name == words[0]), None)
    assert entry is not None, f"there is no command {words[0]}"
    command = load(entry.load)
    path = words[1:]
    while isinstance(command, Commands):
        names = [name for name in command if not name.startswith("-")]
        if command.default_command is not None and not (path and path[0] in names):
            command = command.default_command
            break
        assert path, f"{action.twin} names no command"
        assert path[0] in names, f"{action.twin}: {path[0]} is none of {names}"
        command, path = command[path[0]], path[1:]
    options = {word for word in path if word.startswith("--")}
    help_text = inspect.getsource(command) if inspect.isfunction(command) else ""
    for option in options:
        assert option.removeprefix("--").replace("-", "_") in help_text, f"{action.twin}: {option} is unknown"
