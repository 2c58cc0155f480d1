"""``python -m assetforge.tui.serve.program PARENT [FILM]``: the program behind one tab. It ends when the server does, however that ended."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

__all__ = ["command_of", "main"]

_LOOK_EVERY_S = 1.0
_GRACE_S = 2.0


def command_of(film: Path | None) -> list[str]:
    """The words that start the program behind a tab of this process.

    Args:
        film: Folder of the film; ``None`` begins with the list of films.
    """
    words = [sys.executable, "-P", "-m", "assetforge.tui.serve.program", str(os.getpid())]
    return [*words, str(film)] if film else words


def main() -> None:
    """Open the TUI; the server is at the other end of the standard streams."""
    parent, film = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    threading.Thread(target=_end_with, args=(parent,), name="ends-with-server", daemon=True).start()
    from assetforge.errors import AssetForgeError
    from assetforge.tui import run
    from assetforge.tui.preferences import read_preferences

    # A terminal in a browser draws characters only; the other ways to draw pictures would end the session.
    images = "off" if read_preferences().images == "off" else "halfcell"
    try:
        sys.exit(run(Path(film) if film else None, images=images))
    except AssetForgeError as error:
        sys.stderr.write(f"{error.message}\n{error.hint}\n")
        sys.exit(1)


def _end_with(parent: int) -> None:
    """Leave when the server is gone, which nothing else tells a program that does not write."""
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(1)


if __name__ == "__main__":
    main()
