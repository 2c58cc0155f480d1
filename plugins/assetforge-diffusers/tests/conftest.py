"""Tiny real models and pictures for this plugin's tests."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from diffusers_world import tiny_base, write_pictures

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion 1.x pipeline with random weights, 32 px."""
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of five textured pictures."""
    return write_pictures(tmp_path / "work" / "inputs", 5)
