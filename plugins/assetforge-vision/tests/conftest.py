"""Tiny real models with random weights for this plugin's tests."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from vision_world import picture

torch.set_num_threads(1)


@pytest.fixture
def models(assetforge_home, monkeypatch) -> Path:
    """The folder of all weights, empty, and no cache of Hugging Face."""
    monkeypatch.delenv("ASSETFORGE_VISION_MODELS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(assetforge_home / "hub"))
    folder = assetforge_home / "data" / "models"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def pictures() -> list[np.ndarray]:
    """Five pictures of three sizes."""
    return [picture(seed, *size) for seed, size in enumerate([(48, 64), (64, 48), (48, 64), (80, 80), (48, 64)])]
