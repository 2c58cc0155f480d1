"""Fixtures of the TUI's tests: real films made by services, the real program under Textual's pilot."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from textual.notifications import Notifications
from textual.pilot import Pilot

from assetforge.paths import ProjectPaths
from assetforge.services.assets import add_asset
from assetforge.services.captions import set_caption
from assetforge.services.ingest import add_references
from assetforge.services.projects import Project, create_project
from assetforge.services.references import list_references
from assetforge.services.relocation import remember_place
from assetforge.tui.app import FilmApp
from assetforge.tui.images.protocol import TerminalPictures
from assetforge.tui.preferences import Preferences
from assetforge.tui.state import State
from tests.tui.waiting import press, settle, watched_calls

NASTY = "a[/b] [red]\x1b[31m\nsecond line\u202e مرحبا 🎬"


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the suite runs without colours; and a program on a terminal would believe in sizes that pytest-xdist inherits from readline."""
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ASSETFORGE_ACTOR", "director")


async def _pause(self: Pilot[Any], delay: float | None = None) -> None:
    if delay:
        await asyncio.sleep(delay)
    await settle(self)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The pilot waits for what was begun. Textual's own waits for an idle processor: that takes long, and on a busy machine a program that gets no time looks idle."""
    monkeypatch.setattr(Pilot, "press", press)
    monkeypatch.setattr(Pilot, "pause", _pause)
    # What was told is forgotten after some seconds; a busy machine takes longer to come to where a test asks for it.
    monkeypatch.setattr(Notifications, "_reap", lambda told: told)
    with watched_calls():
        yield


@pytest.fixture(scope="session")
def drawn_film(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What :func:`small_film` is a copy of; made once, since that takes a second."""
    folder = tmp_path_factory.mktemp("drawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSETFORGE_HOME", str(folder / "home"))
        patch.setenv("ASSETFORGE_PROJECTS", str(folder / "projects"))
        patch.setenv("ASSETFORGE_ACTOR", "director")
        with create_project("night-harbour", title="Night Harbour") as project:
            fill(project, folder, _draw)
            root = project.root
    yield root
    shutil.rmtree(folder, ignore_errors=True)


def _draw(path: Path, seed: int = 0, size: tuple[int, int] = (64, 48)) -> Path:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(coarse).resize(size, Pillow.Resampling.BICUBIC).save(path, format="PNG")
    return path


@pytest.fixture
def small_film(home: Path, tmp_path: Path, drawn_film: Path) -> Path:
    """The folder of a film with three assets; ``mara`` has 12 references, two of them with captions that try to break things."""
    root = tmp_path / "projects" / drawn_film.name
    shutil.copytree(drawn_film, root, symlinks=True)
    # It is no copy that somebody made: nothing shall be said about that.
    remember_place(ProjectPaths(root))
    return root


def fill(project: Project, folder: Path, make_png: Callable[..., Path]) -> None:
    """Three assets and their references."""
    add_asset(project, "mara", "character", trigger="mrvale", class_word="woman")
    add_asset(project, "brass-lamp", "prop")
    add_asset(project, "ink-wash", "style", description=NASTY)
    for at in range(12):
        make_png(folder / "stills" / f"still [{at}].png", seed=at, size=(96, 64 + 8 * (at % 3)))
    add_references(project, "mara", [folder / "stills"])
    addresses = [one.address for one in list_references(project, "mara").items]
    set_caption(project, addresses[0], "in profile, heavy rain, night")
    set_caption(project, addresses[1], NASTY)
    for at in range(3):
        make_png(folder / "lamp" / f"lamp {at}.png", seed=100 + at)
    add_references(project, "brass-lamp", [folder / "lamp"])


@pytest.fixture
def program(home: Path) -> Callable[..., FilmApp]:
    """A function ``program(film=None, **preferences)`` that makes the program as a start on a terminal would."""

    def make(film: Path | None = None, *, images: str = "halfcell", **preferences: object) -> FilmApp:
        return FilmApp(
            film,
            preferences=Preferences(motion=False, **preferences),
            pictures=TerminalPictures(images, 10, 20),
            state=State.load(),
        )

    return make
