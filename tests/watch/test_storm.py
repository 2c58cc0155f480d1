"""Storms over a watched folder, with events, with lost events, and with polling."""

import signal
import sys
import time
from pathlib import Path

import pytest

from assetforge.services.assets import add_asset
from assetforge.services.project_config import set_value

sys.path.insert(0, str(Path(__file__).parent))
from storm import Storm, wait_until_calm, watcher


@pytest.fixture
def inbox(project):
    set_value(project.paths.config, "watch.settle_seconds", 1.0)
    return add_asset(project, "mara", "character").references


def _storm(project, inbox, files, *, words=(), during=None, limit_s=600.0, folders=40):
    storm = Storm(inbox, files, stall_s=1.6, folders=folders)
    with watcher(project, *words) as running:
        time.sleep(1.5)
        if during:
            during(running, storm)
        else:
            storm.blow()
        wait_until_calm(project, storm, "mara", limit_s)
        assert running.stop() == 0, running.log.read_text()
    text = running.log.read_text()
    assert "Traceback" not in text, text
    return storm.check(project, "mara")


def _frozen(running, storm):
    """The watcher hears nothing while more happens than the system keeps for it."""
    running.signal(signal.SIGSTOP)
    storm.blow()
    noise = storm.root / "noise.png.part"
    for _ in range(12_000):
        noise.write_bytes(b"x")
        noise.unlink()
    running.signal(signal.SIGCONT)


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=pytest.mark.slow) for way in ("events", "polling", "overflow")]
)
def test_every_file_of_a_storm_is_taken_in_once(project, inbox, way):
    if way == "polling":
        set_value(project.paths.config, "watch.mode", "polling")
        set_value(project.paths.config, "watch.poll_seconds", 0.5)
    figures = _storm(project, inbox, 240, during=_frozen if way == "overflow" else None, limit_s=90.0)
    assert figures["references"] >= 240


@pytest.mark.soak
@pytest.mark.parametrize("way", ["events", "polling", "overflow"])
def test_every_file_of_a_great_storm_is_taken_in_once(project, inbox, way):
    if way == "polling":
        set_value(project.paths.config, "watch.mode", "polling")
        set_value(project.paths.config, "watch.poll_seconds", 0.5)
    figures = _storm(project, inbox, 10_000, during=_frozen if way == "overflow" else None)
    assert figures["references"] >= 10_000
