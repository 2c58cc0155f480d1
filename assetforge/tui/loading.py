"""Screens by name, imported when they are opened."""

from importlib import import_module
from typing import Any

__all__ = ["load"]


def load(target: str) -> Any:
    """What ``"module:attribute"`` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
