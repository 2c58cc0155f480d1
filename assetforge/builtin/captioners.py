"""Captions without a model: those that lie beside the pictures."""

from collections.abc import Sequence
from pathlib import Path

from assetforge.store.sidecar import read_sidecar

__all__ = ["SidecarCaptioner"]


class SidecarCaptioner:
    """Reads ``name.txt`` (or ``name.caption``) beside ``name.png``."""

    def caption(self, files: Sequence[Path]) -> Sequence[str]:
        """One caption per file; empty where there is no sidecar."""
        return [read_sidecar(file) or "" for file in files]
