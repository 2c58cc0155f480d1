"""What was encoded before, by content: small safetensors files that anybody may delete at any time."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

__all__ = ["ContentCache", "digest_of"]


def digest_of(parts: Mapping[str, object]) -> str:
    """SHA-256 over named parts: the key of an entry."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class ContentCache:
    """Entries named by a key; whole or absent, whoever writes at the same time."""

    def __init__(self, folder: Path) -> None:
        """Keep entries under ``folder``."""
        self.folder = folder

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.safetensors"

    def get(self, key: str) -> dict[str, torch.Tensor] | None:
        """The entry, or ``None`` when it is missing or damaged."""
        try:
            return load_file(self._file(key))
        except (OSError, SafetensorError):
            return None

    def put(self, key: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write an entry whole or not at all."""
        file = self._file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".partial", delete=False) as partial:
            pass
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial.name)
            os.replace(partial.name, file)  # noqa: PTH105 - one call that both names need
        finally:
            Path(partial.name).unlink(missing_ok=True)
