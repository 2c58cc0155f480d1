"""The ways in which a notification reaches somebody. Each is tried with a time limit and says how it went; none raises."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import IO

from assetforge.builtin.notify.settings import ENVIRONMENT_PREFIX, NotifyConfig
from assetforge.builtin.notify.webhook import Outcome, encoded, post
from assetforge.builtin.notify.wording import Notification

__all__ = ["COMMAND_LIMIT_S", "send"]

COMMAND_LIMIT_S = 30.0
"""Longest time that the user's command may take."""

_DESKTOP_LIMIT_S = 5.0
_OUTPUT_KEPT = 4000


def send(channel: str, notification: Notification, settings: NotifyConfig) -> Outcome:
    """Try once to tell somebody.

    Args:
        channel: ``desktop``, ``command`` or ``webhook``.
        notification: What is told.
        settings: Where and how.
    """
    try:
        return _CHANNELS[channel](notification, settings)
    except Exception as error:  # noqa: BLE001 - one notification must not keep the others from being sent
        return Outcome(f"{type(error).__name__}: {error}")


def _show_on_desktop(notification: Notification, settings: NotifyConfig) -> Outcome:  # noqa: ARG001 - a channel
    title, body = _shown(notification.film), _shown(notification.sentence)
    if sys.platform == "darwin":
        script = ["on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run"]
        command = ["osascript", *(word for line in script for word in ("-e", line)), title, body]
    else:
        # The body may hold markup, and notify-send itself resolves backslashes.
        plain_body = escape(body, quote=False).replace("\\", "\\\\")
        command = ["notify-send", "--app-name=assetforge", "--", title, plain_body]
    if shutil.which(command[0]) is None:
        return Outcome(f"{command[0]} is not installed")
    return _run(command, b"", os.environ, _DESKTOP_LIMIT_S)


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _start_command(notification: Notification, settings: NotifyConfig) -> Outcome:
    program, *arguments = settings.command
    command = [str(Path(program).expanduser()), *arguments]
    if shutil.which(command[0]) is None:
        return Outcome(f"there is no program {command[0]!r}")
    facts = {
        "ID": notification.id,
        "NAME": notification.event,
        "FILM": notification.film,
        "FOLDER": notification.folder,
        "AT": notification.at,
        "TEXT": notification.sentence,
    }
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(ENVIRONMENT_PREFIX)}
    environment |= {f"ASSETFORGE_EVENT_{name}": _shown(value) for name, value in facts.items()}
    return _run(command, encoded(notification), environment, COMMAND_LIMIT_S)


def _run(command: Sequence[str], given: bytes, environment: Mapping[str, str], limit_s: float) -> Outcome:
    with tempfile.TemporaryFile() as output:
        try:
            # At home: in the film's folder a relative name in the user's command would find what the film brought along.
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=Path.home(),
                start_new_session=True,
            )
        except OSError as error:
            return Outcome(f"{command[0]} cannot be started: {error.strerror}")
        with process:
            try:
                process.communicate(given, limit_s)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return Outcome(f"{command[0]} did not end within {limit_s:.0f} s", output=_end_of(output))
        said = _end_of(output)
    if process.returncode:
        reason = f" ({said.splitlines()[-1]})" if said else ""
        return Outcome(f"{command[0]} ended with code {process.returncode}{reason}", output=said)
    return Outcome(output=said)


def _end_of(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _OUTPUT_KEPT))
    return output.read().decode(errors="replace").strip()


_CHANNELS: Mapping[str, Callable[[Notification, NotifyConfig], Outcome]] = {
    "desktop": _show_on_desktop,
    "command": _start_command,
    "webhook": post,
}
