"""The real program where people meet it: left in the middle of things, killed, twice on one film, on terminals of all kinds."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from assetforge.jobs.background import ensure_supervisor
from assetforge.jobs.run_control import cancel_run
from assetforge.services.assets import add_asset
from assetforge.services.datasets import freeze
from assetforge.services.ingest import add_references
from assetforge.services.maintenance import check_project
from assetforge.services.projects import Project, create_project
from assetforge.services.references import list_references
from assetforge.services.runs import get_run
from assetforge.services.training import request_training
from assetforge.services.versions import import_version, list_versions
from tests.tui.terminal import Terminal

LONG = 100_000
"""Steps that take minutes."""


@pytest.fixture
def film(
    home: Path, tmp_path: Path, make_png: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """A film with a costume and twelve pictures of it."""
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")
    with create_project("night-harbour", title="Night Harbour") as project:
        add_asset(project, "coat", "costume", trigger="coatx")
        for at in range(12):
            make_png(tmp_path / "stills" / f"{at}.png", seed=at).with_suffix(".txt").write_text(f"place {at}")
        add_references(project, "coat", [tmp_path / "stills"])
        freeze(project, "coat")
        yield project


def start(project: Project, size: tuple[int, int] = (120, 40), **variables: str) -> Terminal:
    """The program, on that film."""
    command = [sys.executable, "-m", "assetforge", "--images", "halfcell"]
    return Terminal(command, size, variables, project.root)


def until(true: Callable[[], object], limit_s: float = 60.0) -> None:
    """Wait for something outside of the terminal."""
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "that never came"
        time.sleep(0.05)


def weights(path: Path, value: float) -> Path:
    """A LoRA file that a film takes in."""
    down, up = np.full((2, 4), value, np.float32), np.full((4, 2), value, np.float32)
    save_file({"lora_unet_x.lora_down.weight": down, "lora_unet_x.lora_up.weight": up}, str(path))
    return path


@pytest.mark.slow
def test_leaving_in_the_middle_of_a_run_loses_nothing(film):
    asked = request_training(film, "coat", overrides={"steps": LONG})
    ensure_supervisor(film)
    until(lambda: get_run(film, asked.run).state == "running")
    try:
        with start(film) as terminal:
            terminal.wait_for("⏵ 1 job", 30)
            terminal.send("q")
            assert terminal.wait_exit() == 0
        assert get_run(film, asked.run).state == "running"
        with start(film) as terminal:
            terminal.wait_for("⏵ 1 job", 30)
            terminal.send("r")
            terminal.wait_for(f"/{LONG:,}", 30)
            # Stopped here by hand: the next start has it as what it is.
            terminal.send("K")
            terminal.wait_for("Cancel", 10)
            terminal.send("y")
            until(lambda: get_run(film, asked.run).state == "cancelled")
            terminal.wait_for("cancelled", 20)
    finally:
        if get_run(film, asked.run).state == "running":
            cancel_run(film, asked.run)


@pytest.mark.slow
def test_killed_in_the_middle_of_an_import_it_leaves_a_sound_film(film, tmp_path, make_png):
    more = tmp_path / "more"
    for at in range(160):
        make_png(more / f"{at:03d}.png", seed=1000 + at, size=(160, 120))
    with start(film) as terminal:
        terminal.wait_for("12 references", 30)
        terminal.send("i")
        terminal.wait_for("Import pictures", 20)
        terminal.send(str(more), "enter", "enter", "enter")
        terminal.wait_for("importing coat", 20)
        until(lambda: list_references(film, "coat").total > 12)
        os.kill(terminal.pid, signal.SIGKILL)
        terminal.wait_exit()
    report = check_project(film, level="deep")
    assert not report.problems
    with start(film) as terminal:
        terminal.wait_for("references", 30)
        terminal.send("i")
        terminal.wait_for("Import pictures", 20)
        terminal.send(str(more), "enter", "enter", "enter")
        terminal.wait_for("172 references", 60)
        terminal.send("q")
        assert terminal.wait_exit() == 0


def test_what_one_program_approves_another_shows_within_a_second(film, tmp_path):
    import_version(film, "coat", weights(tmp_path / "coat.safetensors", 1.0), family="example-linear")
    with start(film, ASSETFORGE_ACTOR="director") as one, start(film) as other:
        for terminal in (one, other):
            terminal.wait_for("○ v1", 30)
        one.send("enter")
        one.wait_for("6 Activity", 20)
        one.send("4")
        one.wait_for("not compared", 20)
        one.send("a")
        one.wait_for("decide without a comparison", 20)
        one.send("down", "enter")
        one.wait_for("Approve coat/v1?", 20)
        one.send("that is it", "enter")
        one.wait_for("is approved", 20)
        told = time.monotonic()
        other.wait_for("● v1", 10)
        assert time.monotonic() - told < 1.0
    assert list_versions(film, "coat")[0].stage == "approved"


def test_other_sizes_while_it_runs(film):
    with start(film) as terminal:
        terminal.wait_for("12 references", 30)
        terminal.send("enter")
        terminal.wait_for("6 Activity", 20)
        for size in ((80, 24), (200, 60), (40, 12), (120, 40)):
            terminal.resize(*size)
            terminal.wait_for("References", 10)
            terminal.settle()
        terminal.wait_for("12 references", 10)
        terminal.send("2")
        terminal.wait_for("12 captions", 20)
        terminal.send("q")
        assert terminal.wait_exit() == 0


@pytest.mark.parametrize(
    "variables",
    [
        {"TERM": "dumb", "COLORTERM": ""},
        pytest.param({"TERM": "linux", "COLORTERM": ""}, marks=pytest.mark.slow),
        pytest.param({"TERM": "xterm", "COLORTERM": ""}, marks=pytest.mark.slow),
        {"TERM": "xterm-256color", "COLORTERM": "", "NO_COLOR": "1"},
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"},
    ],
    ids=["dumb", "linux", "xterm", "no-colour", "c-locale"],
)
def test_terminals_of_all_kinds(film, variables):
    with start(film, **variables) as terminal:
        terminal.wait_for("12 references", 30)
        terminal.send("enter")
        terminal.wait_for("6 Activity", 20)
        terminal.send("q")
        assert terminal.wait_exit() == 0


@pytest.mark.parametrize("closed", ["stdin", "stdout"])
def test_without_a_terminal_it_shows_what_there_is_to_do(film, closed):
    command = [sys.executable, "-m", "assetforge"]
    master, slave = os.openpty()
    streams = {"stdin": slave, "stdout": slave, closed: subprocess.DEVNULL if closed == "stdin" else subprocess.PIPE}
    try:
        with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=film.root, **streams) as process:
            said = process.stdout.read() if process.stdout else b""
            assert process.wait(30) == 0
            said += os.read(master, 1 << 16) if closed == "stdin" else b""
    finally:
        os.close(master)
        os.close(slave)
    assert b"assetforge" in said
    assert b"train" in said
    assert b"\x1b[?1049h" not in said
