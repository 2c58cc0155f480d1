"""Finding out what a terminal shows, and what really reaches it: a real pseudo-terminal with a scripted terminal at its other end."""

import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

import pytest
from PIL import Image as Pillow

from assetforge.errors import UsageError
from assetforge.tui.images.protocol import TerminalPictures, choose_protocol, forget_detection

DA1, CELL, GRAPHICS = b"\x1b[c", b"\x1b[16t", b"\x1b_Gi=31,"
PLAIN, SIXEL = b"\x1b[?62;22c", b"\x1b[?62;4;22c"
CELL_ANSWER, OK, REFUSED = b"\x1b[6;18;9t", b"\x1b_Gi=31;OK\x1b\\", b"\x1b_Gi=31;EINVAL:no\x1b\\"

CHOOSE = """
import json, os, sys, termios, time
before = termios.tcgetattr(0)
from assetforge.tui.images.protocol import choose_protocol
start = time.perf_counter()
found = choose_protocol(sys.argv[1], environ=os.environ, stdin=sys.stdin, stdout=sys.stdout)
took = time.perf_counter() - start
kept = termios.tcgetattr(0) == before
rest = ""
if len(sys.argv) > 3:
    import select, tty
    tty.setcbreak(0)
    while select.select([0], [], [], 0.3)[0]:
        rest += os.read(0, 100).decode()
with open(sys.argv[2], "w") as file:
    json.dump({"found": found, "took": took, "kept": kept, "rest": rest}, file)
"""


class ScriptedTerminal:
    """A program on a pseudo-terminal; what it asks is answered as the script says.

    Args:
        argv: The program.
        answers: Question to what is sent for it, each time that it is asked; a function may take its time.
        env: Variables of the program beside ours; ``None`` removes one.
        pixels: The size in pixels that the system tells; 0 by default, as many terminals leave it.
    """

    def __init__(
        self,
        argv: list[str],
        answers: dict[bytes, bytes | Callable[[Callable[[bytes], None]], None]],
        env: dict[str, str | None],
        size: tuple[int, int] = (80, 24),
        pixels: tuple[int, int] = (0, 0),
    ) -> None:
        self.output = b""
        self.asked: list[bytes] = []
        self._answers = answers
        master, slave = os.openpty()
        self.master = master
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], *pixels))
        known = {
            name: value for name, value in {**os.environ, "TERM": "xterm-256color", **env}.items() if value is not None
        }
        self.process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=known,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, data: bytes) -> None:
        os.write(self.master, data)

    def wait_for(self, wanted: bytes, timeout: float = 15.0, count: int = 1) -> None:
        deadline = time.monotonic() + timeout
        while self.output.count(wanted) < count:
            assert time.monotonic() < deadline, f"{wanted!r} never came; at the end: {self.output[-300:]!r}"
            assert self.process.poll() is None or self.output.count(wanted) >= count, (
                f"ended early: {self.output[-1500:]!r}"
            )
            time.sleep(0.01)

    def settle(self, quiet: float = 0.2) -> int:
        """Wait until nothing came for a while; returns how much has come."""
        length, deadline = -1, time.monotonic() + 10
        while length != len(self.output):
            assert time.monotonic() < deadline, "it never stops drawing"
            length = len(self.output)
            time.sleep(quiet)
        return length

    def end(self, timeout: float = 15.0) -> int:
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise
        finally:
            self._reader.join(2)
            os.close(self.master)
        return code

    def _read(self) -> None:
        answered = 0
        while True:
            try:
                data = os.read(self.master, 1 << 16)
            except OSError:
                return
            if not data:
                return
            self.output += data
            questions = [question for question in self._answers if question in self.output[answered:]]
            for question in sorted(questions, key=lambda one: self.output.index(one, answered)):
                self.asked.append(question)
                answer = self._answers[question]
                answer(self.send) if callable(answer) else self.send(answer)
            if questions:
                answered = len(self.output)


def _take_terminal() -> None:
    ioctl(0, termios.TIOCSCTTY, 0)


NEUTRAL: dict[str, str | None] = dict.fromkeys(
    [
        "NO_COLOR",
        "TERM_PROGRAM",
        "TERM_PROGRAM_VERSION",
        "COLORTERM",
        "TMUX",
        "STY",
        "KITTY_WINDOW_ID",
        "GHOSTTY_RESOURCES_DIR",
        "WEZTERM_PANE",
        "KONSOLE_VERSION",
        "SSH_CONNECTION",
        "TEXTUAL_DRIVER",
    ]
)


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., dict]:
    """A function ``ask(answers, setting="auto", **env)``: what a program finds out on such a terminal."""
    result = tmp_path / "result.json"

    def run(
        answers: dict, setting: str = "auto", *, pixels=(0, 0), typed: bytes = b"", rest: bool = False, **env
    ) -> dict:
        result.unlink(missing_ok=True)
        argv = [sys.executable, "-c", CHOOSE, setting, str(result), *(["rest"] if rest else [])]
        terminal = ScriptedTerminal(argv, answers, {**NEUTRAL, **env}, pixels=pixels)
        if typed:
            terminal.send(typed)
        assert terminal.end() == 0, terminal.output
        told = json.loads(result.read_text())
        told["found"] = TerminalPictures(*told["found"])
        told["asked"], told["output"] = terminal.asked, terminal.output
        assert told["kept"], "the terminal was not left as it was"
        return told

    return run


class TestAsking:
    def test_sixel(self, ask):
        told = ask({DA1: SIXEL, CELL: CELL_ANSWER})
        assert told["found"] == TerminalPictures("sixel", 9, 18)
        assert told["took"] < 0.15
        assert GRAPHICS not in told["output"]

    def test_kitty_graphics(self, ask):
        told = ask({CELL: CELL_ANSWER, DA1: PLAIN, GRAPHICS: OK})
        assert told["found"] == TerminalPictures("tgp", 9, 18)

    def test_graphics_refused(self, ask):
        assert ask({DA1: PLAIN, GRAPHICS: REFUSED})["found"].protocol == "halfcell"

    @pytest.mark.parametrize(
        "env", [{"KONSOLE_VERSION": "240202"}, {"TERM_PROGRAM": "WezTerm"}, {"TERM_PROGRAM": "WarpTerminal"}]
    )
    def test_those_that_lack_placeholders_are_not_believed(self, ask, env):
        assert ask({DA1: PLAIN, GRAPHICS: OK}, **env)["found"].protocol == "halfcell"
        forget_detection()
        assert ask({DA1: SIXEL, GRAPHICS: OK}, **env)["found"].protocol == "sixel"

    def test_kitty_before_sixel_where_it_is_known_to_be_whole(self, ask):
        assert (
            ask({DA1: SIXEL, GRAPHICS: OK}, TERM_PROGRAM="ghostty", GHOSTTY_RESOURCES_DIR="/x")["found"].protocol
            == "tgp"
        )

    def test_kitty_variables_in_a_terminal_started_from_it(self, ask):
        assert ask({DA1: SIXEL}, KITTY_WINDOW_ID="1")["found"].protocol == "sixel"

    def test_kitty_by_its_name_is_not_asked(self, ask):
        told = ask({DA1: PLAIN}, TERM="xterm-kitty", pixels=(800, 480))
        assert told["found"] == TerminalPictures("tgp", 10, 20)
        assert told["output"] == b""
        assert told["took"] < 0.05

    def test_no_answer_at_all(self, ask):
        told = ask({})
        assert told["found"] == TerminalPictures("halfcell")
        assert told["took"] < 0.35

    def test_an_answer_that_is_late(self, ask):
        def late(send):
            time.sleep(0.4)
            send(SIXEL)

        told = ask({DA1: late}, rest=True)
        assert told["found"].protocol == "halfcell"
        assert told["took"] < 0.35
        assert told["rest"] == SIXEL.decode()

    def test_an_answer_in_pieces(self, ask):
        def pieces(send):
            for byte in range(0, len(SIXEL), 3):
                send(SIXEL[byte : byte + 3])
                time.sleep(0.01)

        assert ask({DA1: pieces})["found"].protocol == "sixel"

    def test_a_part_of_an_answer(self, ask):
        told = ask({DA1: b"\x1b[?62;4"})
        assert told["found"] == TerminalPictures("halfcell")
        assert told["took"] < 0.4

    def test_rubbish(self, ask):
        told = ask({DA1: b"\x00\xff\x1b]11;rgb:0/0/0\x1b\\\x1b[?x" + SIXEL, CELL: b"\x1b[6;0;0t"})
        assert told["found"].protocol == "sixel"
        assert told["found"][1:3] == (10, 20)

    def test_the_system_knows_the_cells(self, ask):
        assert ask({DA1: SIXEL, CELL: CELL_ANSWER}, pixels=(640, 384))["found"] == TerminalPictures("sixel", 8, 16)

    def test_tmux(self, ask):
        told = ask({DA1: PLAIN, GRAPHICS: OK}, TMUX="/tmp/t,1,0", TERM="tmux-256color", KITTY_WINDOW_ID="1")
        assert told["found"].protocol == "halfcell"
        assert GRAPHICS not in told["output"]
        forget_detection()
        assert ask({DA1: SIXEL}, TMUX="/tmp/t,1,0", TERM="tmux-256color")["found"].protocol == "sixel"

    def test_keys_typed_meanwhile_are_handed_over(self, ask):
        def typing(send):
            send(b"j")
            send(SIXEL)

        told = ask({CELL: b"k" + CELL_ANSWER, DA1: typing}, typed=b"3", rest=True)
        assert told["found"].protocol == "sixel"
        assert sorted(told["found"].typed + told["rest"]) == ["3", "j", "k"]


class TestRemembering:
    def test_a_terminal_is_asked_once(self, ask, home):
        answers = {DA1: SIXEL, CELL: CELL_ANSWER}
        first = ask(answers)
        again = ask(answers)
        assert again["found"] == first["found"]
        assert again["output"] == b""
        # The quickest of some: the processor may be needed elsewhere.
        assert min(again["took"], *(ask(answers)["took"] for _ in range(4))) < 0.05
        assert (home / "cache" / "terminals.json").is_file()

    def test_another_terminal_is_asked(self, ask):
        assert ask({DA1: SIXEL})["found"].protocol == "sixel"
        assert ask({DA1: PLAIN}, TERM_PROGRAM="other")["found"].protocol == "halfcell"
        assert ask({DA1: PLAIN}, SSH_CONNECTION="1.2.3.4 5 6.7.8.9 22")["asked"]
        assert not ask({DA1: PLAIN})["asked"]

    def test_forgetting(self, ask):
        ask({DA1: SIXEL})
        forget_detection()
        forget_detection()
        assert ask({DA1: PLAIN})["found"].protocol == "halfcell"

    def test_silence_is_not_remembered_for_long(self, ask, home):
        ask({})
        path = home / "cache" / "terminals.json"
        assert ask({DA1: SIXEL})["output"] == b""
        kept = json.loads(path.read_text())
        for one in kept["terminals"].values():
            one["asked"] -= 2 * 86400
        path.write_text(json.dumps(kept))
        assert ask({DA1: SIXEL})["found"].protocol == "sixel"

    @pytest.mark.parametrize(
        "content", ["", "[]", "{", '{"schema": 1, "terminals": [1]}', '{"schema": 99, "terminals": {}}', "\x00"]
    )
    def test_a_damaged_memory_is_no_memory(self, ask, home, content):
        path = home / "cache" / "terminals.json"
        path.parent.mkdir()
        path.write_text(content)
        assert ask({DA1: SIXEL})["found"].protocol == "sixel"
        assert json.loads(path.read_text())["terminals"]

    def test_nonsense_in_the_memory(self, ask, home):
        ask({DA1: SIXEL})
        path = home / "cache" / "terminals.json"
        kept = json.loads(path.read_text())
        for one in kept["terminals"].values():
            one.update(protocol="hologram", cell=["a", None])
        path.write_text(json.dumps(kept))
        assert ask({DA1: PLAIN})["found"].protocol == "halfcell"

    def test_a_memory_that_cannot_be_written(self, ask, home):
        (home / "cache").write_text("a file in its place")
        assert ask({DA1: SIXEL})["found"].protocol == "sixel"

    def test_only_so_many_are_kept(self, ask, home):
        path = home / "cache" / "terminals.json"
        path.parent.mkdir()
        many = {
            f"TERM=t{at}": {"protocol": "sixel", "cell": [10, 20], "answered": True, "asked": 1} for at in range(200)
        }
        path.write_text(json.dumps({"schema": 1, "terminals": many}))
        ask({DA1: SIXEL})
        assert len(json.loads(path.read_text())["terminals"]) == 64


class TestNotAsking:
    @pytest.mark.parametrize(
        ("env", "expected"),
        [
            ({"TERM": "dumb"}, "off"),
            ({"NO_COLOR": "1"}, "halfcell"),
            ({"TERM": "linux"}, "halfcell"),
            ({"TERM_PROGRAM": "Apple_Terminal"}, "halfcell"),
            ({"TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver"}, "halfcell"),
        ],
    )
    def test_by_the_environment(self, ask, env, expected):
        told = ask({DA1: SIXEL}, **env)
        assert told["found"].protocol == expected
        assert told["output"] == b""

    @pytest.mark.parametrize("setting", ["off", "halfcell"])
    def test_by_the_setting(self, ask, setting):
        told = ask({DA1: SIXEL}, setting)
        assert told["found"].protocol == setting
        assert told["output"] == b""

    def test_a_protocol_that_the_user_insists_on(self, ask):
        assert ask({DA1: PLAIN, CELL: CELL_ANSWER}, "sixel")["found"] == TerminalPictures("sixel", 9, 18)
        assert ask({}, "tgp", pixels=(640, 384))["found"] == TerminalPictures("tgp", 8, 16)

    def test_no_terminal(self, tmp_path):
        with (tmp_path / "out").open("w+") as file:
            found = choose_protocol("auto", environ={"TERM": "xterm-kitty"}, stdin=file, stdout=file)
        assert found == TerminalPictures("halfcell")

    def test_closed_streams(self, tmp_path):
        file = (tmp_path / "out").open("w+")
        file.close()
        assert choose_protocol("tgp", environ={}, stdin=file, stdout=file).protocol == "halfcell"

    def test_an_unknown_setting(self):
        with pytest.raises(UsageError, match="hologram"):
            choose_protocol("hologram", environ={}, stdin=sys.stdin, stdout=sys.stdout)

    def test_it_is_light(self):
        code = (
            "import sys, assetforge.tui.images.protocol; "
            "print(sorted({'PIL', 'numpy', 'textual', 'textual_image', 'rich', 'json'} & set(sys.modules)))"
        )
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


PROGRAM = """
import sys
from pathlib import Path
from PIL import Image as Pillow
from textual.app import App
from textual.screen import ModalScreen
from textual.widgets import Static
from assetforge.tui.images.protocol import TerminalPictures
from assetforge.tui.widgets.picture import Picture, release_pictures

class Over(ModalScreen):
    DEFAULT_CSS = "Over { align: center middle; background: black 40%; } Over Static { width: 10; height: 1; }"
    BINDINGS = [("x", "dismiss", "x")]
    def compose(self):
        yield Static("IN FRONT")

class Program(App):
    CSS = "Picture { width: 70; height: 21; }"
    BINDINGS = [("b", "blink", "b"), ("m", "over", "m"), ("q", "quit", "q"), ("t", "toast", "t"), ("c", "clear", "c"), ("l", "lend", "l")]
    ENABLE_COMMAND_PALETTE = False
    told = ""
    a = Pillow.open(sys.argv[2]).convert("RGB")
    b = a.rotate(180)
    def compose(self):
        yield Static("HEAD", id="head")
        yield Picture(None, TerminalPictures(sys.argv[1], 10, 20))
        yield Static("FOOT")
    def on_mount(self):
        self.query_one(Picture).show_image(self.a, "first")
        self.set_interval(0.05, self.look)
    def look(self):
        picture = self.query_one(Picture)
        if picture._shown[0] and picture.shown_caption != self.told:
            self.told = picture.shown_caption
            self.query_one("#head").update("SHOWS " + self.told)
    def action_blink(self):
        picture = self.query_one(Picture)
        picture.show_image(*((self.b, "second") if picture.shown_caption == "first" else (self.a, "first")))
    def action_over(self):
        self.push_screen(Over())
    def action_toast(self):
        self.notify("TOAST", timeout=1.5)
    def action_lend(self):
        with self.suspend():
            print("LENT", flush=True)
    def exit(self, *args, **more):
        release_pictures(self)
        super().exit(*args, **more)
    def action_clear(self):
        self.query_one(Picture).clear()
        self.query_one("#head").update("CLEARED")

Program().run()
"""


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., ScriptedTerminal]:
    """A function ``program(protocol)``: a real Textual program that shows a picture, on a terminal that answers what Textual asks."""
    still = tmp_path / "still.png"
    Pillow.radial_gradient("L").resize((400, 240)).convert("RGB").save(still)
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)

    def run(protocol: str, **env) -> ScriptedTerminal:
        answers = {b"\x1b[?2026$p": b"\x1b[?2026;2$y"}
        argv = [sys.executable, str(script), protocol, str(still)]
        return ScriptedTerminal(argv, answers, {**NEUTRAL, "COLORTERM": "truecolor", **env})

    return run


def clean(output: bytes) -> bool:
    """The program left full screen, showed the cursor, and wrote nothing of pictures afterwards."""
    left = output.rindex(b"\x1b[?1049l")
    return b"\x1b_G" not in output[left:] and b"\x1bP" not in output[left:] and b"\x1b[?25h" in output[left - 200 :]


class TestWhatReachesTheTerminal:
    def test_kitty_graphics(self, program):
        terminal = program("tgp")
        terminal.wait_for(b"SHOWS first")
        assert terminal.output.count(b"\x1b_Ga=T,U=1") == 1
        (first,) = re.findall(rb"a=T,U=1[^;]*,i=(\d+),", terminal.output)
        colour = f"38;2;{int(first) >> 16};{int(first) >> 8 & 255};{int(first) & 255}"
        assert colour.encode() in terminal.output
        assert "\U0010eeee".encode() in terminal.output

        terminal.send(b"b")
        terminal.wait_for(b"second")
        assert terminal.output.count(b"\x1b_Ga=T,U=1") == 2
        at = terminal.settle()
        terminal.send(b"b")
        terminal.wait_for(b"first", count=terminal.output.count(b"first") + 1)
        assert b"\x1b_G" not in terminal.output[at:]  # both are known to the terminal already
        assert len(terminal.output) - at < 20_000

        at = terminal.settle()
        terminal.send(b"m")
        terminal.wait_for(b"IN FRONT")
        assert "\U0010eeee".encode() not in terminal.output[at:]
        assert "▀".encode() in terminal.output[at:]
        at = terminal.settle()
        terminal.send(b"x")
        terminal.settle()
        assert "\U0010eeee".encode() in terminal.output[at:]

        at = terminal.settle()
        terminal.send(b"l")
        terminal.wait_for(b"LENT")
        terminal.settle()
        lent = terminal.output[at:].index(b"LENT")
        assert terminal.output[at : at + lent].count(b"\x1b_Ga=d,d=I") == 2
        assert terminal.output[at + lent :].count(b"\x1b_Ga=T,U=1") == 1  # the one that is shown

        terminal.send(b"q")
        assert terminal.end() == 0
        sent = re.findall(rb"a=T,U=1[^;]*,i=(\d+),", terminal.output)
        freed = re.findall(rb"\x1b_Ga=d,d=I,i=(\d+),", terminal.output)
        assert sorted(sent) == sorted(freed)
        assert clean(terminal.output)

    def test_sixels(self, program):
        terminal = program("sixel")
        terminal.wait_for(b"SHOWS first")
        shown = re.findall(rb"\x1b7\x1b\[(\d+)G\x1bP0;1;0q[^\x1b]*\x1b\\\x1b8", terminal.output)
        assert 8 <= len(shown) <= 40
        assert set(shown) == {shown[0]}

        at = terminal.settle()
        terminal.send(b"m")
        terminal.wait_for(b"IN FRONT")
        assert b"\x1bP" not in terminal.output[at:]
        terminal.send(b"x")
        terminal.wait_for(b"\x1bP0;1;0q", count=terminal.output.count(b"\x1bP0;1;0q") + 8)

        at = terminal.settle()
        terminal.send(b"c")
        terminal.wait_for(b"CLEARED")
        assert b"\x1bP" not in terminal.output[at:]
        terminal.send(b"q")
        assert terminal.end() == 0
        assert clean(terminal.output)

    def test_sixels_make_room_for_what_covers_them(self, program):
        terminal = program("sixel")
        terminal.wait_for(b"SHOWS first")
        at = terminal.settle()
        terminal.send(b"t")
        terminal.wait_for(b"TOAST")
        terminal.settle(0.3)
        covered = terminal.output[at:]
        assert b"\x1bP" not in covered[covered.index(b"TOAST") :]
        terminal.wait_for(b"\x1bP0;1;0q", count=terminal.output.count(b"\x1bP0;1;0q") + 8)
        terminal.send(b"q")
        assert terminal.end() == 0

    def test_half_cells(self, program):
        terminal = program("halfcell")
        terminal.wait_for(b"SHOWS first")
        assert "▀".encode() in terminal.output
        terminal.send(b"q")
        assert terminal.end() == 0
        assert b"\x1b_G" not in terminal.output
        assert b"\x1bP" not in terminal.output

    @pytest.mark.parametrize("env", [{"COLORTERM": None}, {"NO_COLOR": "1"}])
    def test_placeholders_need_their_colours(self, program, env):
        terminal = program("tgp", **env)
        terminal.wait_for(b"SHOWS first")
        terminal.send(b"q")
        assert terminal.end() == 0
        assert b"\x1b_G" not in terminal.output
        assert "▀".encode() in terminal.output
