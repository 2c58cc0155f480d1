"""A check: looks at references and says what it noticed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from assetforge.api.protocols import Finding

__all__ = ["TooDark"]

LIMIT = 0.12
"""Mean luma, of 1, below which a picture shows too little."""


class TooDark:
    """Fits :class:`assetforge.api.protocols.Check`."""

    def inspect(self, files: Sequence[Path]) -> list[list[Finding]]:
        """Findings per file, in the order of ``files``."""
        return [self._one(file) for file in files]

    def _one(self, file: Path) -> list[Finding]:
        with Image.open(file) as picture:
            luma = float(np.asarray(picture.convert("L").resize((64, 64)), np.float32).mean()) / 255
        if luma >= LIMIT:
            return []
        message = f"{file.name} has a mean brightness of {luma:.0%}; a model learns little from the dark."
        return [Finding(code="too-dark", severity="warning", message=message)]
