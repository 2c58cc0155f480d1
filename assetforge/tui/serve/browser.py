"""Opening the browser without showing the token to whoever lists processes."""

import html
import os
import sys
import threading
import webbrowser
from pathlib import Path

__all__ = ["has_browser", "open_in_browser"]


def has_browser() -> bool:
    """Whether there is a screen to open a browser on; one in the terminal would take the terminal from the server."""
    graphical = sys.platform in ("darwin", "win32") or any(
        os.environ.get(one) for one in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    try:
        return graphical and bool(webbrowser.get())
    except webbrowser.Error:
        return False


def open_in_browser(address: str, page: Path) -> None:
    """Open an address through a page that only this user can read, since the words of a command can be read by everybody.

    Args:
        address: With the token.
        page: Where to write that page; the caller deletes it.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    page.unlink(missing_ok=True)
    text = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={html.escape(address)}">\n'
    with os.fdopen(os.open(page, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    threading.Thread(target=webbrowser.open, args=(page.as_uri(),), name="opens-browser", daemon=True).start()
