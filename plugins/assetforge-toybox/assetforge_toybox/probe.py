"""The probe: says how near two pictures are, by who or what they show and by how they are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from assetforge_toybox.backbone import Trunk, picture_batch
from assetforge_toybox.locate import DATA

WEIGHTS = DATA / "probe.safetensors"
IDENTITY_WIDTH = 64
STYLE_WIDTH = 32
BATCH = 64


class ProbeNetwork(nn.Module):
    """A trunk with two heads: identity from the finest cues of the subject, style from the statistics of the maps."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk((32, 64, 128))
        self.identity = nn.Sequential(nn.Linear(256, 192), nn.SiLU(), nn.Linear(192, IDENTITY_WIDTH))
        self.style = nn.Sequential(nn.Linear(320, 128), nn.SiLU(), nn.Linear(128, STYLE_WIDTH))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map pictures (n, 3, 64, 64) to unit vectors (n, 64) for identity and (n, 32) for style."""
        half, quarter, eighth = self.trunk(x)
        pooled = torch.cat([eighth.amax(dim=(2, 3)), eighth.mean(dim=(2, 3))], dim=1)
        statistics = torch.cat(
            [m for f in (half, quarter) for m in (f.mean(dim=(2, 3)), f.std(dim=(2, 3)))] + [eighth.mean(dim=(2, 3))],
            dim=1,
        )
        return (
            nn.functional.normalize(self.identity(pooled), dim=1),
            nn.functional.normalize(self.style(statistics), dim=1),
        )


class Probe:
    """Embeds pictures with the shipped weights.

    `view` is "identity" (characters and props) or "style". Nearness is the dot product of two embeddings: 1 is equal.
    """

    def __init__(self, view: str = "identity", weights: Path = WEIGHTS) -> None:
        if view not in ("identity", "style"):
            raise ValueError(f"The probe has no view {view!r}; choose identity or style.")
        self.view = view
        self._network = ProbeNetwork()
        self._network.load_state_dict({name: t.float() for name, t in load_file(weights).items()})
        self._network.eval()

    @torch.no_grad()
    def embed(self, images: list[np.ndarray]) -> np.ndarray:
        """Embed uint8 pictures (h, w, 3): float32 (n, 64) for identity, (n, 32) for style, rows of length 1."""
        width = IDENTITY_WIDTH if self.view == "identity" else STYLE_WIDTH
        rows = [np.zeros((0, width), np.float32)]
        for start in range(0, len(images), BATCH):
            identity, style = self._network(picture_batch(images[start : start + BATCH]))
            rows.append((identity if self.view == "identity" else style).numpy().astype(np.float32))
        return np.concatenate(rows)


class IdentityProbe(Probe):
    """The probe as the metric `toybox-identity`."""

    def __init__(self) -> None:
        super().__init__("identity")


class StyleProbe(Probe):
    """The probe as the metric `toybox-style`."""

    def __init__(self) -> None:
        super().__init__("style")
