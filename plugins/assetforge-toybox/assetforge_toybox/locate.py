"""Where the package's own files are."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parent / "data"


def base_folder() -> Path:
    """Return the folder of the base model, which standard loaders open."""
    return DATA / "base"
