"""The two terminals that other tests drive the program in, and the generator of the big film."""

import importlib.util
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
from textual.app import App
from textual.widgets import Static

class Small(App):
    BINDINGS = [("q", "quit", "q"), ("a", "add", "a")]
    def compose(self):
        yield Static("hello [b] 漢字 é 🏮 end", markup=False, id="words")
    def action_add(self):
        self.query_one("#words").update("size " + str(self.size.width) + " x " + str(self.size.height))

Small().run()
"""


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_for_tests", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_terminal, _tmux = _module("terminal"), _module("tmux")


@pytest.fixture
def argv(tmp_path: Path) -> list[str]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    return [sys.executable, str(program)]


def test_a_program_on_a_pty_is_read_as_a_terminal_reads_it(argv: list[str]) -> None:
    with _terminal.Terminal(argv, (80, 24)) as terminal:
        first = terminal.wait_for("hello [b] 漢字 é 🏮 end")
        assert 0.0 < first - terminal.started < 10.0
        terminal.settle()
        pressed = terminal.send("a")
        frame = terminal.frame_after(pressed)
        assert frame.end > pressed
        assert frame.end <= terminal.wait_for("size 80 x 24")
        terminal.resize(100, 30)
        terminal.settle()
        terminal.send("a")
        terminal.wait_for("size 100 x 30")
        assert len(terminal.lines) == 30
        with pytest.raises(TimeoutError, match="size 100 x 30"):
            terminal.wait_for("never", 0.1)
        terminal.send("q")
        assert terminal.wait_exit() == 0


def test_what_a_screen_makes_of_sequences() -> None:
    screen = _terminal.Screen(10, 3)
    # Cut in the middle of a sequence, as reads are.
    for piece in (
        "\x1b[2;3",
        "Hab\x1b[31mc\x1b[0m",
        "\x1b]0;title\x07\x1b[1;1H漢x",
        "\x1b[3;9Hlong",
        "\x1b[2;4H\x1b[1K",
    ):
        screen.feed(piece)
    assert screen.lines == ["漢x", "    c", "        lo"]


def test_a_program_in_tmux(argv: list[str]) -> None:
    if not _tmux.have_tmux():
        pytest.skip("needs tmux")
    with _tmux.TmuxTerminal(argv, (80, 24)) as terminal:
        terminal.wait_for("hello [b] 漢字 é 🏮 end")
        terminal.send("a")
        terminal.wait_for("size 80 x 24")
        terminal.resize(100, 30)
        terminal.settle()
        terminal.send("a")
        terminal.wait_for("size 100 x 30")
        assert terminal.exit_status() is None
        terminal.send("q")
        assert terminal.wait_exit() == 0


@pytest.mark.slow
def test_the_big_film_is_a_sound_film(tmp_path: Path) -> None:
    script, film = ROOT / "tests" / "benchmarks" / "big_film.py", tmp_path / "film"
    command = [sys.executable, str(script), str(film), "--scale", "0.01", "--few-pictures"]
    facts = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    rows = facts["rows"]
    assert (rows["asset"], rows["reference"], rows["version"]) == (6, 1000, 50)
    assert 4500 <= rows["render"] <= 5000
    # As its docstring says: pictures of all but five assets, and of the sixth all but twelve; nothing else.
    problems = _problems(film)
    assert {(one["kind"], one["subject"].split()[0]) for one in problems} == {("missing", "picture")}
    with sqlite3.connect(film / ".assetforge" / "forge.db") as database:
        (others,) = database.execute("SELECT count(*) FROM reference WHERE asset_id = 6").fetchone()
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    database.close()
    assert len(problems) == others - 12
    _live_run_goes_on(film)


def _live_run_goes_on(film: Path) -> None:
    live = json.loads((film / "big-film.json").read_text(encoding="utf-8"))["live"]
    events = Path(live["workdir"]) / "events.jsonl"
    before = events.read_text(encoding="utf-8").count("\n")
    script = ROOT / "tests" / "benchmarks" / "live_run.py"
    subprocess.run([sys.executable, str(script), str(film), "--rate", "50", "--seconds", "0.5"], check=True)
    lines = events.read_text(encoding="utf-8").splitlines()
    assert len(lines) >= before + 20
    steps = [one["step"] for one in map(json.loads, lines) if one["kind"] == "progress"]
    assert steps == list(range(1, len(steps) + 1))
    listed = [sys.executable, "-m", "assetforge", "--project", str(film), "--json", "jobs", "list"]
    jobs = json.loads(subprocess.run(listed, capture_output=True, text=True, check=True).stdout)["jobs"]
    assert [job["id"] for job in jobs if job["state"] == "running"] == [live["job"]]


def _problems(folder: Path) -> list[dict[str, str]]:
    command = [sys.executable, "-m", "assetforge", "--project", str(folder), "--json", "fsck", "--quick"]
    found: list[dict[str, str]] = json.loads(
        subprocess.run(command, capture_output=True, text=True, check=False).stdout
    )["report"]["problems"]
    return found
