"""A film with two versions that were compared, made by services with stand-ins for the children of jobs, and hands for the comparison screen."""

import asyncio
import shutil
import time

import pytest

from assetforge.db.models_jobs import Comparison
from assetforge.extension import registry as registry_module
from assetforge.paths import ProjectPaths
from assetforge.services.comparison import list_comparisons
from assetforge.services.projects import create_project, open_project
from assetforge.services.releases import approve
from assetforge.services.relocation import remember_place
from assetforge.services.reviews import worst_cells
from assetforge.tui.screens.compare import CompareScreen
from tests.db.review.conftest import World, make_world, registry, review_registry

__all__ = [
    "World",
    "compared",
    "judged",
    "made_worlds",
    "opened",
    "registry",
    "settled",
    "told",
    "until",
    "words",
    "world",
    "worst",
]


@pytest.fixture(scope="session")
def made_worlds(tmp_path_factory):
    """The folder of the film before anything was compared, and of the one in which ``mara/v2`` was; made once, since that takes half a second."""
    folder = tmp_path_factory.mktemp("compared")
    films = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSETFORGE_HOME", str(folder / "home"))
        patch.setenv("ASSETFORGE_PLUGINS", "none")
        patch.setenv("ASSETFORGE_ACTOR", "director")
        patch.setattr(registry_module, "_current", review_registry())
        with create_project("film", folder=folder / "before") as project:
            made = make_world(project, folder)
        films[False] = project.root
        films[True] = shutil.copytree(project.root, folder / "after", symlinks=True)
        with open_project(films[True]) as project:
            approve(project, "mara/v1", why="the first", review="skipped")
            World(project=project, folder=made.folder).compare("mara/v2")
    yield films
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def world(request, home, registry, tmp_path, made_worlds):
    """As :func:`tests.db.review.conftest.world`, a copy; with ``compared`` the one in which that was done."""
    root = tmp_path / "projects" / "film"
    shutil.copytree(made_worlds["compared" in request.fixturenames], root, symlinks=True)
    remember_place(ProjectPaths(root))
    folder = tmp_path / "hands"
    folder.mkdir()
    with open_project(root) as project:
        yield World(project=project, folder=folder)


@pytest.fixture
def compared(world):
    """mara/v1 is approved, and mara/v2 compared with it."""
    return list_comparisons(world.project)[0]


async def until(pilot, condition, limit_s=15.0):
    """Let the program work until something is true."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "that never came"
        await pilot.pause(0.02)


async def opened(pilot, comparison_id):
    """The comparison screen on top, with what it shows read."""
    app = pilot.app
    await until(
        pilot,
        lambda: (
            app.session is not None
            and app.session.is_open
            and (app.pictures or app.terminal_pictures.protocol == "off")
        ),
    )
    await app.push_screen(CompareScreen(comparison_id))
    screen = app.screen
    await until(pilot, lambda: screen.facts is not None or screen.unfinished is not None)
    await settled(pilot)
    return screen


async def settled(pilot):
    """Pictures and threads have caught up."""
    await asyncio.sleep(0.05)
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def told(app):
    """Everything that was told, from now on."""
    said = []
    app.tell = lambda sentence, **_: said.append(sentence)
    return said


def words(app):
    """All text on the screen."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def worst(project, comparison_id):
    """Cells in the order of the screen that show a difference."""
    return [one.cell for one in worst_cells(project, comparison_id)]


def judged(project, comparison_id, outcome):
    """The comparison gets another verdict, as a suite with more prompts would give."""
    with project.write() as session:
        row = session.get_one(Comparison, comparison_id)
        verdict = {**row.summary["verdict"], "outcome": outcome, "headline": f"it is {outcome}"}
        row.summary = {**row.summary, "verdict": verdict}
        session.add(row)
