"""A program in a real tmux: keys through ``send-keys``, the screen through ``capture-pane``. Every terminal has a tmux server of its own, which ends with it."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

__all__ = ["TmuxTerminal", "have_tmux"]

_NAMES: Mapping[str, str] = {
    "enter": "Enter",
    "escape": "Escape",
    "tab": "Tab",
    "shift+tab": "BTab",
    "space": "Space",
    "backspace": "BSpace",
    "delete": "DC",
    "up": "Up",
    "down": "Down",
    "left": "Left",
    "right": "Right",
    "home": "Home",
    "end": "End",
    "pageup": "PPage",
    "pagedown": "NPage",
    **{f"ctrl+{letter}": f"C-{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"},
    **{f"f{number}": f"F{number}" for number in range(1, 13)},
}


def have_tmux() -> bool:
    """Whether tmux is installed."""
    return shutil.which("tmux") is not None


class TmuxTerminal:
    """A program in a detached tmux; use as a context manager, which ends its own server and nothing else.

    Args:
        argv: The program and its arguments.
        size: Columns and rows.
        env: Variables that differ from this process's own.
        cwd: Where it runs.
    """

    def __init__(
        self,
        argv: Sequence[str],
        size: tuple[int, int] = (120, 40),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.argv, self.size, self.env, self.cwd = list(argv), size, dict(env or {}), cwd

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="tmux-")
        config = Path(self._folder.name) / "tmux.conf"
        # The pane stays when the program ends, so that its last words and its exit status can be read.
        config.write_text(
            "set -g default-terminal tmux-256color\nset -ga terminal-overrides ',*:Tc'\nset -s escape-time 0\nset -g status off\n"
            "set -g remain-on-exit on\nset -g history-limit 200\n",
            encoding="utf-8",
        )
        self._socket = str(Path(self._folder.name) / "socket")
        width, height = self.size
        variables = [word for key, value in self.env.items() for word in ("-e", f"{key}={value}")]
        where = ["-c", str(self.cwd)] if self.cwd else []
        self._config = str(config)
        try:
            self._tmux("new-session", "-d", "-x", str(width), "-y", str(height), *variables, *where, "--", *self.argv)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError, subprocess.SubprocessError):
            self._tmux("kill-server")
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        """Process id of the program."""
        return int(self._tmux("display-message", "-p", "#{pane_pid}"))

    @property
    def text(self) -> str:
        """The screen as it is now, blanks at the ends of lines removed."""
        return "\n".join(self.lines)

    @property
    def lines(self) -> list[str]:
        """The rows as they are now."""
        return [line.rstrip() for line in self._tmux("capture-pane", "-p").split("\n")[: self.size[1]]]

    @property
    def styled(self) -> str:
        """The screen as it is now, with the escape sequences of its colours."""
        return self._tmux("capture-pane", "-p", "-e")

    def send(self, *keys: str) -> None:
        """Press keys by name (``enter``, ``pagedown``, ``ctrl+p`` ...), or type text."""
        for key in keys:
            if key in _NAMES:
                self._tmux("send-keys", _NAMES[key])
            else:
                self._tmux("send-keys", "-l", "--", key)

    def resize(self, width: int, height: int) -> None:
        """Another size of the terminal."""
        self.size = (width, height)
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def wait_for(self, wanted: str | Callable[[str], bool], timeout: float = 15.0) -> str:
        """The screen that first showed a text, or fulfilled a condition.

        Raises:
            TimeoutError: It was not shown in time; the message has the screen.
        """
        test = wanted if callable(wanted) else lambda text: wanted in text
        deadline = time.monotonic() + timeout
        while True:
            text = self.text
            if test(text):
                return text
            status = self.exit_status()
            if time.monotonic() >= deadline or status is not None:
                ended = f" (the program ended with {status})" if status is not None else ""
                raise TimeoutError(f"not on the screen within {timeout} s: {wanted!r}{ended}\n{text}")
            time.sleep(0.05)

    def settle(self, quiet: float = 0.3, timeout: float = 10.0) -> str:
        """The screen after it stayed the same for ``quiet`` seconds, or as it is after ``timeout``."""
        deadline = time.monotonic() + timeout
        text, since = self.text, time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - since < quiet:
            time.sleep(0.05)
            now = self.text
            if now != text:
                text, since = now, time.monotonic()
        return text

    def exit_status(self) -> int | None:
        """The exit status of the program; ``None`` while it runs."""
        dead, _, status = self._tmux("display-message", "-p", "#{pane_dead}|#{pane_dead_status}").partition("|")
        return int(status or 0) if dead == "1" else None

    def wait_exit(self, timeout: float = 15.0) -> int:
        """The exit status of the program.

        Raises:
            TimeoutError: It still runs; the message has the screen.
        """
        deadline = time.monotonic() + timeout
        while (status := self.exit_status()) is None:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"still running after {timeout} s\n{self.text}")
            time.sleep(0.05)
        return status

    def _tmux(self, *arguments: str) -> str:
        # Inside another tmux, TMUX would point at that one's server.
        env = {key: value for key, value in os.environ.items() if key not in ("TMUX", "TMUX_PANE", "NO_COLOR")}
        done = subprocess.run(
            ["tmux", "-S", self._socket, "-f", self._config, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
            env={**env, "LC_ALL": "C.UTF-8", "COLORTERM": "truecolor"},
        )
        if done.returncode:
            raise RuntimeError(f"tmux {arguments[0]}: {done.stderr.strip()}")
        return done.stdout.rstrip("\n") if arguments[0] != "capture-pane" else done.stdout
