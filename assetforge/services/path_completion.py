"""What somebody who types a path may mean: the name that comes next, out of the folder that is written so far."""

import os
from pathlib import Path

from assetforge.store.formats import SUFFIXES

__all__ = ["complete_path"]

_MOST = 5000
"""Entries of a folder that are looked at; somebody is typing."""


def complete_path(text: str, *, files: bool = True) -> str:
    """The text with the rest of a name: of a folder, with a slash behind it, or of a picture when no folder begins so.

    Args:
        text: What is written so far, perhaps with ``~``; spaces before it are no part of it.
        files: Pictures count too, not only folders.

    Returns:
        A path that begins with the text as it is written, the first by name; empty when none does or the folder cannot be read.
    """
    text = text.lstrip()
    head, slash, begun = text.rpartition("/")
    if not text or (text.startswith("~") and not slash):
        return ""
    try:
        found = _names(Path(head + slash).expanduser() if slash else Path(), begun, files)
    except (OSError, RuntimeError, ValueError):
        return ""
    return f"{head}{slash}{found}" if found else ""


def _names(folder: Path, begun: str, files: bool) -> str:
    best = ""
    with os.scandir(folder) as entries:
        for _at, entry in zip(range(_MOST), entries, strict=False):
            name = entry.name
            if not name.startswith(begun) or (name.startswith(".") and not begun) or not name.isprintable():
                continue
            if entry.is_dir():
                name += "/"
            elif not files or Path(name).suffix.lower() not in SUFFIXES:
                continue
            best = min(best, name, key=_order) if best else name
    return best


def _order(name: str) -> tuple[bool, str]:
    """Folders first, then by name."""
    return not name.endswith("/"), name
