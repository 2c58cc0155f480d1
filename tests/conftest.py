"""Fixtures of the whole suite: an own home per test, a fresh film, small real pictures."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from assetforge.db.migrate import migrate
from assetforge.extension import registry
from assetforge.extension.registry import Registry, load_registry
from assetforge.services import projects
from assetforge.services.projects import Project, create_project


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything per user goes into the test's own folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    films = tmp_path / "projects"
    films.mkdir()
    monkeypatch.setenv("ASSETFORGE_HOME", str(folder))
    monkeypatch.setenv("ASSETFORGE_PROJECTS", str(films))
    monkeypatch.delenv("ASSETFORGE_PROJECT", raising=False)
    monkeypatch.delenv("ASSETFORGE_PLUGINS", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    return folder


@pytest.fixture(scope="session")
def installed_plugins(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The plugins that are installed, none of them left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSETFORGE_HOME", str(tmp_path_factory.mktemp("nobody")))
        patch.delenv("ASSETFORGE_PLUGINS", raising=False)
        return load_registry()


@pytest.fixture(autouse=True)
def own_registry(installed_plugins: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test begins with all plugins, whatever another one of its process left loaded."""
    monkeypatch.setattr(registry, "_current", installed_plugins)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a film in which nothing is yet, as the migrations make it."""
    folder = tmp_path_factory.mktemp("empty")
    migrate(folder / "forge.db", backups=folder)
    return folder / "forge.db"


@pytest.fixture(autouse=True)
def quick_films(empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new film begins with a copy of a migrated database: running all migrations takes longer than most tests of films."""

    def copied(database: Path, *, backups: Path) -> Path | None:
        if database.exists():
            return migrate(database, backups=backups)
        shutil.copyfile(empty_database, database)
        return None

    monkeypatch.setattr(projects, "migrate", copied)


@pytest.fixture
def project(home: Path) -> Iterator[Project]:
    """A fresh opened film named ``film``."""
    with create_project("film") as opened:
        yield opened


@pytest.fixture
def make_png() -> Callable[..., Path]:
    """A function ``make_png(path, seed=0, size=(64, 48))`` that writes a real, textured picture, different for every seed."""

    def write(path: Path, seed: int = 0, size: tuple[int, int] = (64, 48)) -> Path:
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(coarse).resize(size, Pillow.Resampling.BICUBIC).save(path, format="PNG")
        return path

    return write
