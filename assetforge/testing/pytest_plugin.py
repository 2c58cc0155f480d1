"""The pytest plugin that is installed with assetforge: fixtures for authors of plugins.

Imports nothing of assetforge until a fixture is used, since pytest loads it in every environment where assetforge is installed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from assetforge.services.projects import Project
    from assetforge.testing.inputs import ContextMaker

__all__ = ["assetforge_home", "assetforge_project", "assetforge_registry_reset", "assetforge_train_context"]

pytest.register_assert_rewrite(
    "assetforge.testing.executor_contract",
    "assetforge.testing.renderer_contract",
    "assetforge.testing.trainer_contract",
)


@pytest.fixture
def assetforge_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own folder for everything that assetforge keeps per user, so that a test never touches the real one."""
    home = tmp_path / "assetforge-home"
    home.mkdir()
    monkeypatch.setenv("ASSETFORGE_HOME", str(home))
    monkeypatch.setenv("ASSETFORGE_PROJECTS", str(home / "projects"))
    return home


@pytest.fixture
def assetforge_registry_reset() -> Iterator[None]:
    """Plugins are loaded anew in this test, and again after it."""
    from assetforge.extension.registry import reset_registry

    reset_registry()
    yield
    reset_registry()


@pytest.fixture
def assetforge_project(assetforge_home: Path) -> "Iterator[Project]":
    """A fresh opened film named ``film``."""
    from assetforge.services.projects import create_project

    with create_project("film", folder=assetforge_home / "projects" / "film") as project:
        yield project


@pytest.fixture
def assetforge_train_context(tmp_path: Path) -> "ContextMaker":
    """A function ``make(params, base=..., seed=7)`` that gives a train context on a new work folder with small real pictures."""
    from assetforge.testing.inputs import ContextMaker

    return ContextMaker(tmp_path)
