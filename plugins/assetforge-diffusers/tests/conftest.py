"""Tiny real models and pictures for this plugin's tests."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from assetforge_diffusers.memory import Estimator
from assetforge_diffusers.preparation import Preparation
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


@pytest.fixture(scope="session")
def needs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the memory that training needs is remembered across tests."""
    return tmp_path_factory.mktemp("needs")


@pytest.fixture(autouse=True)
def _needs_are_computed_once(needs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of all tests remember in one place, as runs of one film do."""

    def estimator(self: Preparation) -> Estimator:
        return Estimator(self.family, self._largest(), self.machine, needs)

    monkeypatch.setattr(Preparation, "_estimator", estimator)
