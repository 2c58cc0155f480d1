"""Attributes of our widgets never take the place of something that Textual keeps under the same name: it fails silently, or hangs."""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest
from textual.app import App
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.widget import Widget

import assetforge.tui

ROOT = Path(assetforge.tui.__file__).parent
MODULES = [
    ".".join(("assetforge.tui", *path.relative_to(ROOT).with_suffix("").parts))
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "__init__.py" and "serve" not in path.parts
]


def _assigned(kind: type) -> set[str]:
    tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind)))
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
        and node.attr.startswith("_")
    }


@pytest.mark.parametrize("module", MODULES)
def test_no_private_attribute_of_textual_is_overwritten(module: str) -> None:
    for kind in vars(import_module(module)).values():
        if not (inspect.isclass(kind) and issubclass(kind, MessagePump) and kind.__module__ == module):
            continue
        base = App if issubclass(kind, App) else Screen if issubclass(kind, Screen) else Widget
        taken = set(dir(base)) | set(vars(base.__mro__[0]))
        inherited = {name for name in _assigned(kind) if name in taken}
        assert not inherited, f"{kind.__qualname__} assigns {sorted(inherited)}, which Textual uses itself"
