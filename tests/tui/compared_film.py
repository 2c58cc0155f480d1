"""A film with two versions that were compared, made by services with stand-ins for the children of jobs, and hands for the comparison screen."""

import asyncio
import time

from assetforge.db.models_jobs import Comparison
from assetforge.services.reviews import worst_cells
from assetforge.tui.screens.compare import CompareScreen
from tests.db.review.conftest import World, registry, world

__all__ = ["World", "judged", "opened", "registry", "settled", "told", "until", "words", "world", "worst"]


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
