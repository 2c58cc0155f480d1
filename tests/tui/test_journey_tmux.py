"""The same journey with the real program in a real tmux, on the toybox: what a new user does on the first evening."""

import sys

import pytest

from assetforge.services.projects import open_project
from assetforge.services.versions import list_versions
from tests.tui.hands import TmuxHands
from tests.tui.journey import Journey, draw_stills, write_suite
from tests.tui.tmux import TmuxTerminal, have_tmux


@pytest.mark.slow
@pytest.mark.skipif(not have_tmux(), reason="no tmux")
@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
async def test_from_nothing_to_a_published_version(home, tmp_path, size):
    pytest.importorskip("torch")
    draw_stills(tmp_path / "stills", 30)
    suite = write_suite(tmp_path, "sd15", steps=4, cfg=4.0, width=64, height=64, sampler='"ddim"')
    environment = {
        "ASSETFORGE_HOME": str(home),
        "ASSETFORGE_PROJECTS": str(tmp_path / "projects"),
        "ASSETFORGE_ACTOR": "director",
    }
    with TmuxTerminal([sys.executable, "-m", "assetforge"], size, environment, tmp_path) as terminal:
        walk = Journey(TmuxHands(terminal), tmp_path / "projects" / "night-harbour")
        await walk.whole(tmp_path / "stills", suite)
        terminal.send("q")
        assert terminal.wait_exit() == 0
    print(walk.seconds)
    with open_project(walk.film) as project:
        second, first = list_versions(project, "mara")
    assert (first.stage, second.stage) == ("rejected", "approved")
