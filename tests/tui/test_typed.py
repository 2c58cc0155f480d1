"""What is typed ahead, on a real terminal: many keys in one read, before the first of them has done anything."""

import sys

import pytest

from tests.tui.terminal import Terminal


@pytest.fixture
def program_on_terminal(home, tmp_path):
    """The real program, with no film yet."""
    environment = {"ASSETFORGE_HOME": str(home), "ASSETFORGE_PROJECTS": str(tmp_path / "projects")}
    with Terminal([sys.executable, "-m", "assetforge", "--images", "off"], env=environment, cwd=tmp_path) as terminal:
        terminal.wait_for("n makes one", 30)
        terminal.settle()
        yield terminal


def test_each_key_does_its_work_before_the_next(program_on_terminal, tmp_path):
    terminal = program_on_terminal
    # The name has letters that mean something in the list of films: d, and q, which would end the program.
    terminal.send("n", "quiet-dunes", "enter", "Quiet Dunes", "enter")
    terminal.wait_for("No assets yet", 30)
    terminal.send("n", "rider", "enter", "enter", "rdrx", "enter", "woman", "enter")
    terminal.wait_for("character · trigger rdrx", 30)
    terminal.wait_for("rider is there", 30)
    assert (tmp_path / "projects" / "quiet-dunes" / "project.toml").is_file()


def test_a_second_enter_closes_nothing_else(program_on_terminal):
    terminal = program_on_terminal
    terminal.send("n", "dunes", "enter", "enter", "enter", "enter", "enter")
    terminal.wait_for("No assets yet", 30)
    terminal.send("q")
    assert terminal.wait_exit() == 0
