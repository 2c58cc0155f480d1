"""A program on a real pseudo-terminal: keys go in, and what it draws is read as a terminal reads it, with the moment at which every frame was complete.

The terminal answers what programs ask a common one without pictures (device attributes, synchronised output, cell size), because a program that waits for an answer in
vain starts slower here than anywhere else. Textual wraps every frame in synchronised output, so that the end of a frame is a mark in the bytes and not a guess.
"""

import codecs
import contextlib
import fcntl
import os
import re
import selectors
import signal
import struct
import subprocess
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from rich.cells import cell_len

__all__ = ["KEYS", "Frame", "Screen", "Terminal"]

KEYS: Mapping[str, bytes] = {
    "enter": b"\r",
    "escape": b"\x1b",
    "tab": b"\t",
    "shift+tab": b"\x1b[Z",
    "space": b" ",
    "backspace": b"\x7f",
    "delete": b"\x1b[3~",
    "up": b"\x1b[A",
    "down": b"\x1b[B",
    "right": b"\x1b[C",
    "left": b"\x1b[D",
    "home": b"\x1b[H",
    "end": b"\x1b[F",
    "pageup": b"\x1b[5~",
    "pagedown": b"\x1b[6~",
    **dict(zip(("f1", "f2", "f3", "f4"), (b"\x1bOP", b"\x1bOQ", b"\x1bOR", b"\x1bOS"), strict=True)),
    **{f"f{at}": b"\x1b[%d~" % code for at, code in enumerate((15, 17, 18, 19, 20, 21, 23, 24), start=5)},
    **{f"ctrl+{letter}": bytes([ord(letter) - 96]) for letter in "abcdefghijklmnopqrstuvwxyz"},
}
"""What a terminal sends for keys that are no character."""

CELL_PIXELS = (10, 20)
_SYNC_BEGIN, _SYNC_END = b"\x1b[?2026h", b"\x1b[?2026l"
_TOKEN = re.compile(
    r"\x1b\[(?P<params>[0-?]*)[ -/]*(?P<final>[@-~])"
    r"|\x1b(?P<string>[\]PX^_])(?:[^\x07\x1b]|\x1b(?!\\))*(?:\x07|\x1b\\)"
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"
    r"|(?P<control>[\x00-\x1a\x1c-\x1f\x7f])"
    r"|(?P<text>[^\x00-\x1f\x7f]+)"
)
_ANSWERS: tuple[tuple[re.Pattern[bytes], Callable[[tuple[int, int]], bytes]], ...] = (
    (re.compile(rb"\x1b\[0?c"), lambda _size: b"\x1b[?62;22c"),
    (re.compile(rb"\x1b\[\?2026\$p"), lambda _size: b"\x1b[?2026;2$y"),
    (re.compile(rb"\x1b\[\?2048\$p"), lambda _size: b"\x1b[?2048;0$y"),
    (re.compile(rb"\x1b\[16t"), lambda _size: f"\x1b[6;{CELL_PIXELS[1]};{CELL_PIXELS[0]}t".encode()),
    (re.compile(rb"\x1b\[6n"), lambda _size: b"\x1b[1;1R"),
)


_LONGEST_QUESTION = 16


class Frame(NamedTuple):
    """One complete update of the screen.

    Attributes:
        end: When its last byte was read, in seconds of ``time.perf_counter``.
        size: Bytes since the frame before.
    """

    end: float
    size: int


class Screen:
    """The cells of a terminal: text and cursor, without colours.

    Args:
        width: Columns.
        height: Rows.

    Attributes:
        written: How many characters were written, blanks included: 0 until the first frame.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.row = self.column = self.written = 0
        self._cells = [[" "] * width for _ in range(height)]
        self._rest = ""

    @property
    def lines(self) -> list[str]:
        """The rows, without blanks at their ends. A wide character stands once, and takes two columns."""
        return ["".join(row).rstrip() for row in self._cells]

    @property
    def text(self) -> str:
        """The rows as one text."""
        return "\n".join(self.lines)

    def resize(self, width: int, height: int) -> None:
        """Another size; what is drawn is lost, as it is about to be drawn anew."""
        self.__init__(width, height)

    def feed(self, text: str) -> None:
        """Take in what the program wrote; a sequence that is cut off waits for its rest."""
        text = self._rest + text
        self._rest = ""
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                self._rest = text[at:]
                return
            at = match.end()
            if match["text"]:
                self._write(match["text"])
            elif match["control"]:
                self._control(match["control"])
            elif match["final"]:
                self._sequence(match["params"], match["final"])

    def _write(self, text: str) -> None:
        self.written += len(text)
        if text.isascii():
            self._put_narrow(text)
            return
        for character in text:
            width = cell_len(character)
            if width == 0:
                if self.column:
                    self._cells[self.row][self.column - 1] += character
            elif width == 1:
                self._put_narrow(character)
            elif self.column + 1 < self.width:
                row = self._cells[self.row]
                row[self.column], row[self.column + 1] = character, ""
                self.column += 2

    def _put_narrow(self, text: str) -> None:
        """Wrapping is off in full-screen programs: what does not fit is not shown."""
        text = text[: self.width - self.column]
        self._cells[self.row][self.column : self.column + len(text)] = text
        self.column = min(self.width, self.column + len(text))

    def _control(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row = min(self.height - 1, self.row + 1)
        elif character == "\b":
            self.column = max(0, self.column - 1)

    def _sequence(self, params: str, final: str) -> None:
        if params[:1] in "<=>?" and params:
            if final == "h" and "1049" in params:
                self._cells = [[" "] * self.width for _ in range(self.height)]
            return
        numbers = [int(part) if part.isdigit() else 0 for part in params.split(";")]
        count = max(1, numbers[0])
        if final in "Hf":
            self.row = min(self.height, max(1, numbers[0])) - 1
            self.column = min(self.width, max(1, numbers[1] if len(numbers) > 1 else 1)) - 1
        elif final == "A":
            self.row = max(0, self.row - count)
        elif final == "B":
            self.row = min(self.height - 1, self.row + count)
        elif final == "C":
            self.column = min(self.width - 1, self.column + count)
        elif final == "D":
            self.column = max(0, self.column - count)
        elif final == "G":
            self.column = min(self.width, count) - 1
        elif final == "d":
            self.row = min(self.height, count) - 1
        elif final == "J":
            self._erase_display(numbers[0])
        elif final == "K":
            self._erase_line(numbers[0])

    def _erase_display(self, how: int) -> None:
        rows = range(self.height) if how >= 2 else range(self.row) if how == 1 else range(self.row + 1, self.height)
        for row in rows:
            self._cells[row] = [" "] * self.width
        if how < 2:
            self._erase_line(how)

    def _erase_line(self, how: int) -> None:
        start = 0 if how else self.column
        stop = self.column + 1 if how == 1 else self.width
        self._cells[self.row][start:stop] = [" "] * (min(stop, self.width) - start)


class Terminal:
    """A program on a pseudo-terminal of its own; use as a context manager, which ends it and all it started in its session.

    Args:
        argv: The program and its arguments.
        size: Columns and rows.
        env: Variables that differ from this process's own; ``TERM`` is ``xterm-256color`` with true colour unless they say otherwise.
        cwd: Where it runs.
    """

    def __init__(
        self,
        argv: Sequence[str],
        size: tuple[int, int] = (120, 40),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.argv, self.size, self.cwd = list(argv), size, cwd
        # The suite runs without colours; who sits at a terminal has them.
        inherited = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        self.env = {**inherited, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})}
        self.screen = Screen(*size)
        self.frames: list[Frame] = []
        self.started = 0.0
        self.bytes_read = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending: deque[tuple[float, bytes, bool]] = deque()
        self._arrived = threading.Condition()
        self._closing = threading.Event()
        self._last_byte = 0.0

    def __enter__(self) -> Self:
        self._master, slave = os.openpty()
        self._set_size(self._master)
        # A pty has echo and line editing on until the program says otherwise, like a shell's.
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            self.argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=self.env,
            cwd=self.cwd,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - one system call, before any thread of the child
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGHUP)
        try:
            self.process.wait(3.0)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._closing.set()
        self._reader.join(3.0)
        os.close(self._master)

    @property
    def pid(self) -> int:
        """Process id of the program."""
        return self.process.pid

    @property
    def text(self) -> str:
        """The screen as it is now."""
        for _ in self.updates():
            pass
        return self.screen.text

    @property
    def lines(self) -> list[str]:
        """The rows as they are now."""
        return self.text.split("\n")

    def send(self, *keys: str) -> float:
        """Press keys by name (see :data:`KEYS`), or type text; returns when the first byte was written."""
        data = b"".join(KEYS.get(key, key.encode()) for key in keys)
        moment = time.perf_counter()
        os.write(self._master, data)
        return moment

    def resize(self, width: int, height: int) -> None:
        """Another size of the terminal."""
        self.size = (width, height)
        for _ in self.updates():
            pass
        self.screen.resize(width, height)
        self._set_size(self._master)

    def wait_for(self, wanted: str | Callable[[Screen], bool], timeout: float = 10.0) -> float:
        """The moment at which the frame was complete that first showed a text, or fulfilled a condition.

        Raises:
            TimeoutError: It was not shown in time; the message has the screen.
        """
        test = wanted if callable(wanted) else lambda screen: wanted in screen.text
        deadline = time.perf_counter() + timeout
        moment = time.perf_counter()
        while True:
            if test(self.screen):
                return moment
            for moment in self.updates():
                if test(self.screen):
                    return moment
            left = deadline - time.perf_counter()
            if left <= 0 or (self.process.poll() is not None and not self._pending and not self._reader.is_alive()):
                break
            with self._arrived:
                if not self._pending:
                    self._arrived.wait(min(left, 0.25))
        ended = f" (the program ended with {self.process.returncode})" if self.process.poll() is not None else ""
        raise TimeoutError(f"not on the screen within {timeout} s: {wanted!r}{ended}\n{self.screen.text}")

    def settle(self, quiet: float = 0.15, timeout: float = 10.0) -> float:
        """Wait until nothing was drawn for ``quiet`` seconds, from now on; returns when the last byte came."""
        called = time.perf_counter()
        while (now := time.perf_counter()) < called + timeout:
            left = quiet - (now - max(self._last_byte, called))
            if left <= 0:
                break
            time.sleep(min(left, 0.02))
        for _ in self.updates():
            pass
        return self._last_byte

    def wait_exit(self, timeout: float = 10.0) -> int:
        """The exit status of the program.

        Raises:
            TimeoutError: It still runs.
        """
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"still running after {timeout} s\n{self.text}") from error

    def frame_after(self, moment: float, timeout: float = 5.0) -> Frame:
        """The first frame that was complete after a moment; nothing is parsed meanwhile, so that reading it costs the program nothing.

        Raises:
            TimeoutError: None came in time.
        """
        return next(self.frames_after(moment, timeout=timeout))

    def frames_after(self, moment: float, *, quiet: float = 0.15, timeout: float = 5.0) -> Iterator[Frame]:
        """The frames that were complete after a moment, until nothing comes for ``quiet`` seconds after one.

        Raises:
            TimeoutError: None came in time.
        """
        at = len(self.frames)
        while at and self.frames[at - 1].end > moment:
            at -= 1
        deadline, found = time.perf_counter() + timeout, False
        while True:
            if at < len(self.frames):
                found = True
                yield self.frames[at]
                at += 1
                deadline = time.perf_counter() + quiet
                continue
            left = deadline - time.perf_counter()
            if left <= 0:
                if not found:
                    raise TimeoutError(f"no frame within {timeout} s")
                return
            with self._arrived:
                if at >= len(self.frames):
                    self._arrived.wait(left)

    def updates(self) -> Iterator[float]:
        """Draw what has come, frame by frame; yields the moment at which each was complete, with the screen as it was then."""
        while self._pending:
            moment, data, whole = self._pending.popleft()
            self.screen.feed(self._decoder.decode(data))
            if whole:
                yield moment

    def _read(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._master, selectors.EVENT_READ)
        tail, asked, since, inside = b"", b"", 0, False
        while not self._closing.is_set():
            if not selector.select(0.2):
                continue
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:
                break
            if not data:
                break
            moment = time.perf_counter()
            self._answer(asked + data, len(asked))
            asked = (asked + data)[-_LONGEST_QUESTION:]
            self.bytes_read += len(data)
            # Cut at the ends of frames, also at those that two reads share; the rest is whole when no frame has begun in it.
            joined, carried = tail + data, len(tail)
            pieces, start = [], carried
            while (end := joined.find(_SYNC_END, max(0, start - len(_SYNC_END) + 1))) >= 0:
                stop = end + len(_SYNC_END)
                pieces.append((moment, joined[start:stop], True))
                self.frames.append(Frame(moment, since + stop - start))
                start, since, inside = stop, 0, False
            tail = joined[start if start > carried else 0 :][1 - len(_SYNC_END) :]
            if rest := joined[start:]:
                inside = inside or _SYNC_BEGIN in joined[max(0, start - len(_SYNC_BEGIN) + 1) :]
                pieces.append((moment, rest, not inside))
                since += len(rest)
            with self._arrived:
                self._pending.extend(pieces)
                self._last_byte = moment
                self._arrived.notify_all()
        with self._arrived:
            self._arrived.notify_all()

    def _answer(self, data: bytes, known: int) -> None:
        for pattern, answer in _ANSWERS:
            for match in pattern.finditer(data):
                if match.end() > known:
                    with contextlib.suppress(OSError):
                        os.write(self._master, answer(self.size))

    def _set_size(self, descriptor: int) -> None:
        width, height = self.size
        pixels = (width * CELL_PIXELS[0], height * CELL_PIXELS[1])
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, *pixels))


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
