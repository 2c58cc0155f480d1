"""How this terminal shows pictures, found out before the program takes it: from its name, from an answer that was remembered, or by asking it once.

Standard library only, and little of it, since it stands before the first frame.

What is asked is what every terminal answers: the size of a cell (``CSI 16 t``) and the device attributes (``CSI c``), whose ``4`` means sixel. Only a terminal that
answered that is asked for the graphics protocol of kitty: a late answer to the former is skipped by Textual, a late answer to the latter would be read as keys. kitty
and Ghostty are known by their ``TERM``. Konsole, WezTerm and Warp say that they know the protocol but lack its placeholders, with which alone a picture keeps its
place among text; the first two show sixels.
"""

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast
from typing import Protocol as Interface

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SETTINGS", "Protocol", "TerminalPictures", "choose_protocol", "forget_detection", "replay"]

Protocol = Literal["tgp", "sixel", "halfcell", "off"]

SETTINGS = ("auto", "tgp", "sixel", "halfcell", "off")
"""What a user may ask for."""

_CELL = (10, 20)
"""Pixels of a cell where nobody says: the VT340's, which Windows Terminal keeps for sixels at any font size."""

_WAIT_S = 0.15
_FINISH_S = 0.05
"""How long the first byte of an answer may take, and how much longer the rest."""

_KEEP_S = 30 * 86400.0
_KEEP_SILENCE_S = 86400.0
"""How long an answer, and that there was none, is remembered."""

_MOST = 64
_SCHEMA = 1

_VALUES = (
    "TERM",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "LC_TERMINAL",
    "LC_TERMINAL_VERSION",
    "COLORTERM",
    "KONSOLE_VERSION",
    "VTE_VERSION",
    "XTERM_VERSION",
)
_PRESENCES = ("TMUX", "STY", "KITTY_WINDOW_ID", "GHOSTTY_RESOURCES_DIR", "WEZTERM_PANE", "WT_SESSION", "SSH_CONNECTION")
"""Variables that tell one terminal from another: by their values, and by being there."""

_PLACEHOLDERS = ("xterm-kitty", "xterm-ghostty")
_SILENT = ("linux", "Apple_Terminal")
"""Terminals without pictures that print what they do not understand."""

_ASK = b"\x1b[16t\x1b[c"
_ASK_GRAPHICS = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c"

# Compiled when a terminal is asked, which is seldom.
_ATTRIBUTES = rb"\x1b\[\?([\d;]*)c"
_CELL_SIZE = rb"\x1b\[6;(\d+);(\d+)t"
_GRAPHICS = rb"\x1b_G[^\x1b]*?(?:;([^\x1b]*))?\x1b\\"
_UNFINISHED = rb"\x1b(?:\[\?[\d;]*|\[6;?[\d;]*|_G[^\x1b]*\x1b?|_)\Z"


class _Stream(Interface):
    def fileno(self) -> int: ...
    def isatty(self) -> bool: ...


class TerminalPictures(NamedTuple):
    """What the terminal can show.

    Attributes:
        protocol: How.
        cell_width: Pixels of a cell.
        cell_height: Pixels of a cell.
        typed: What was typed while the terminal was asked; :func:`replay` hands it to the program.
    """

    protocol: Protocol
    cell_width: int = _CELL[0]
    cell_height: int = _CELL[1]
    typed: str = ""


class _Answer(NamedTuple):
    answered: bool = False
    sixel: bool = False
    graphics: bool = False
    cell: tuple[int, int] | None = None
    typed: bytes = b""


def choose_protocol(setting: str, *, environ: Mapping[str, str], stdin: _Stream, stdout: _Stream) -> TerminalPictures:
    """How pictures are shown. Call it before the program takes the terminal: afterwards, answers go to the program.

    Args:
        setting: One of :data:`SETTINGS`; ``auto`` finds out, in at most 0.2 s and once for a terminal.
        environ: The environment.
        stdin: The terminal, or what stands in its place.
        stdout: The terminal, or what stands in its place.

    Raises:
        UsageError: There is no such setting.
    """
    if setting not in SETTINGS:
        from assetforge.errors import UsageError

        raise UsageError(
            f"{setting!r} is no way to show pictures.",
            hint=f"Choose one of {', '.join(SETTINGS)} (setting tui.images).",
        )
    term = environ.get("TERM", "")
    if setting == "off" or (setting == "auto" and term in ("dumb", "unknown")):
        return TerminalPictures("off")
    if environ.get("TEXTUAL_DRIVER") or not (_is_terminal(stdin) and _is_terminal(stdout)):
        # In a browser protocols break the session; without a terminal there is nobody to understand them.
        return TerminalPictures("halfcell")
    if setting == "halfcell":
        return TerminalPictures("halfcell")
    if setting == "auto":
        if "NO_COLOR" in environ or term in _SILENT or environ.get("TERM_PROGRAM") in _SILENT:
            return TerminalPictures("halfcell")
        return _find_out(environ, stdin, stdout)
    protocol = cast("Protocol", setting)
    cell = _measured_cell(stdout)
    if cell is not None:
        return TerminalPictures(protocol, *cell)
    return _find_out(environ, stdin, stdout)._replace(protocol=protocol)


def forget_detection() -> None:
    """Ask every terminal again the next time.

    Raises:
        StorageError: The file cannot be removed.
    """
    path = _memory()
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        from assetforge.durable import storage_error

        raise storage_error(error, path, "removed") from error


def replay(app: Any, typed: str) -> None:
    """Hand keys that were typed before the program ran to it; call it once it runs.

    Args:
        app: The Textual app.
        typed: As :class:`TerminalPictures` has it.
    """
    if not typed:
        return
    from textual._xterm_parser import XTermParser
    from textual.events import Key

    parser = XTermParser(debug=False)
    for event in [*parser.feed(typed), *parser.feed("")]:
        if isinstance(event, Key):
            app.post_message(event)


def _find_out(environ: Mapping[str, str], stdin: _Stream, stdout: _Stream) -> TerminalPictures:
    cell, key = _measured_cell(stdout), _identity(environ)
    alone = not (environ.get("TMUX") or environ.get("STY"))
    if alone and cell and environ.get("TERM") in _PLACEHOLDERS:
        return TerminalPictures("tgp", *cell)
    known = _recall(key)
    if known is not None:
        return TerminalPictures(known.protocol, *(cell or known[1:3]))
    answer = _ask(stdin, stdout, environ, graphics=alone)
    if answer is None:
        return TerminalPictures("halfcell", *(cell or _CELL))
    protocol = _decide(environ, answer, alone=alone)
    found = TerminalPictures(protocol, *(cell or answer.cell or _CELL))
    _remember(key, found, answered=answer.answered)
    return found._replace(typed=answer.typed.decode("utf-8", "replace"))


def _decide(environ: Mapping[str, str], answer: _Answer, *, alone: bool) -> Protocol:
    if alone and environ.get("TERM") in _PLACEHOLDERS:
        return "tgp"
    program = environ.get("TERM_PROGRAM", "").lower()
    # Variables of kitty and Ghostty are handed down to other terminals that were started from them; those do not answer.
    knows_placeholders = program == "ghostty" or "KITTY_WINDOW_ID" in environ or "GHOSTTY_RESOURCES_DIR" in environ
    claims = (
        program in ("wezterm", "warpterminal", "konsole")
        or "KONSOLE_VERSION" in environ
        or "WEZTERM_PANE" in environ
        or "WARP_IS_LOCAL_SHELL_SESSION" in environ
    )
    if answer.graphics and knows_placeholders and not claims:
        return "tgp"
    if answer.sixel:
        return "sixel"
    return "tgp" if answer.graphics and not claims else "halfcell"


def _is_terminal(stream: _Stream) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (ValueError, OSError):
        return False


def _measured_cell(stdout: _Stream) -> tuple[int, int] | None:
    """The size of a cell as the system knows it from the terminal, where the terminal said."""
    import fcntl
    import struct
    import termios

    try:
        rows, columns, width, height = struct.unpack(
            "HHHH", fcntl.ioctl(stdout.fileno(), termios.TIOCGWINSZ, b"\0" * 8)
        )
    except (OSError, ValueError):
        return None
    return _sensible(width // columns, height // rows) if rows and columns else None


def _sensible(width: int, height: int) -> tuple[int, int] | None:
    return (width, height) if 2 <= width <= 200 and 4 <= height <= 400 else None


def _ask(stdin: _Stream, stdout: _Stream, environ: Mapping[str, str], *, graphics: bool) -> _Answer | None:
    """Ask the terminal; ``None`` where that is not possible."""
    import os
    import termios
    import tty

    try:
        reading, writing = stdin.fileno(), stdout.fileno()
        if os.tcgetpgrp(reading) != os.getpgrp():
            # A process in the background is stopped when it touches the terminal.
            return None
        before = termios.tcgetattr(reading)
    except (OSError, ValueError, termios.error):
        return None
    deadline = time.monotonic() + _WAIT_S
    try:
        # Control characters keep their meaning, so that ctrl+c ends the program as ever.
        tty.setcbreak(reading, termios.TCSANOW)
        os.write(writing, _ASK)
        answer = _read(reading, deadline)
        if answer.answered and graphics and not (answer.sixel and not _may_be_kitty(environ)):
            os.write(writing, _ASK_GRAPHICS)
            more = _read(reading, deadline)
            answer = answer._replace(graphics=more.graphics, typed=answer.typed + more.typed)
    except (OSError, termios.error):
        return None
    finally:
        try:
            termios.tcsetattr(reading, termios.TCSANOW, before)
        except (OSError, termios.error):
            # The terminal is gone; whoever uses it next says so.
            pass
    return answer


def _may_be_kitty(environ: Mapping[str, str]) -> bool:
    return "KITTY_WINDOW_ID" in environ or "GHOSTTY_RESOURCES_DIR" in environ or environ.get("TERM") in _PLACEHOLDERS


def _read(descriptor: int, deadline: float) -> _Answer:
    """Read until the device attributes have come."""
    import os
    import select

    data, started = b"", False
    while not re.search(_ATTRIBUTES, data):
        if not started and b"\x1b" in data:
            started, deadline = True, deadline + _FINISH_S
        rest = deadline - time.monotonic()
        if rest <= 0 or not select.select([descriptor], [], [], rest)[0]:
            break
        piece = os.read(descriptor, 4096)
        if not piece:
            break
        data += piece
    return _understood(data)


def _understood(data: bytes) -> _Answer:
    attributes, cell, graphics = re.search(_ATTRIBUTES, data), re.search(_CELL_SIZE, data), re.search(_GRAPHICS, data)
    typed = data
    for pattern in (_ATTRIBUTES, _CELL_SIZE, _GRAPHICS, _UNFINISHED):
        typed = re.sub(pattern, b"", typed)
    return _Answer(
        answered=attributes is not None,
        sixel=attributes is not None and b"4" in attributes[1].split(b";"),
        graphics=graphics is not None and graphics[1] == b"OK",
        cell=_sensible(int(cell[2]), int(cell[1])) if cell else None,
        typed=typed,
    )


def _identity(environ: Mapping[str, str]) -> str:
    """What tells this terminal from others, in words."""
    values = [f"{name}={environ[name]}" for name in _VALUES if environ.get(name)]
    return " ".join([*values, *(name for name in _PRESENCES if environ.get(name))])


def _memory() -> "Path":
    from assetforge.paths import user_cache_dir

    return user_cache_dir() / "terminals.json"


def _remembered() -> dict[str, dict[str, Any]]:
    import json

    try:
        kept = json.loads(_memory().read_bytes())
        terminals = kept["terminals"] if kept["schema"] == _SCHEMA else {}
    except (OSError, ValueError, KeyError, TypeError):
        # It may be deleted, cut short or of another release: then the terminal is asked.
        return {}
    return terminals if isinstance(terminals, dict) else {}


def _recall(key: str) -> TerminalPictures | None:
    try:
        kept = _remembered()[key]
        protocol, (width, height) = kept["protocol"], map(int, kept["cell"])
        age = time.time() - float(kept["asked"])
    except (KeyError, TypeError, ValueError):
        return None
    if protocol not in SETTINGS[1:] or not _sensible(width, height):
        return None
    keep = _KEEP_S if kept.get("answered") else _KEEP_SILENCE_S
    return TerminalPictures(protocol, width, height) if 0 <= age < keep else None


def _remember(key: str, found: TerminalPictures, *, answered: bool) -> None:
    import json
    import os
    import tempfile
    from pathlib import Path

    terminals = {name: kept for name, kept in _remembered().items() if name != key}
    for oldest in list(terminals)[: max(0, len(terminals) - _MOST + 1)]:
        del terminals[oldest]
    cell = [found.cell_width, found.cell_height]
    terminals[key] = {"protocol": found.protocol, "cell": cell, "answered": answered, "asked": int(time.time())}
    path = _memory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"schema": _SCHEMA, "terminals": terminals}, file, indent=1)
        # No fsync: what a power cut takes is asked for again.
        Path(name).replace(path)
    except OSError:
        # A cache that cannot be written costs a question at every start, no more.
        return
