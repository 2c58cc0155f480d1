"""Tiny real models and pictures for this plugin's tests."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from assetforge.errors import PluginError
from assetforge_diffusers.memory import Estimator, _Pass
from assetforge_diffusers.params import LoraTrainerParams
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


@pytest.fixture
def needs_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory that training needs is not computed beforehand, which takes longer than the training itself; a run then goes on as asked."""

    def unknown(_self: Estimator, _params: LoraTrainerParams) -> _Pass:
        raise PluginError("The memory that training needs is not computed in this test.")

    monkeypatch.setattr(Estimator, "_computed", unknown)


@pytest.fixture(autouse=True)
def _needs(request: pytest.FixtureRequest, needs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules about memory say ``NEEDS_ARE_COMPUTED``; their runs remember in one place, as runs of one film do."""

    def estimator(self: Preparation) -> Estimator:
        return Estimator(self.family, self._largest(), self.machine, needs)

    monkeypatch.setattr(Preparation, "_estimator", estimator)
    if not getattr(request.module, "NEEDS_ARE_COMPUTED", False):
        request.getfixturevalue("needs_unknown")
