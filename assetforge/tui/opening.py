"""Files shown outside the terminal, by whatever the system opens them with."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assetforge.services.projects import Project

__all__ = ["open_file", "open_outside"]


def open_file(path: Path) -> str:
    """Open a file with the system's own program, which goes on by itself.

    Returns:
        A sentence: that it was opened, or where the file is when nothing here can show it.
    """
    opener = "open" if sys.platform == "darwin" else shutil.which("xdg-open") or ""
    seen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not opener or not seen:
        return f"Nothing here can show it; it is {path}."
    subprocess.Popen(
        [opener, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return f"Opened {path}."


def open_outside(project: "Project", sha256: str, name: str) -> str:
    """Open a stored picture under a readable name; a copy, so that the viewer cannot change what the film owns.

    Returns:
        See :func:`open_file`.

    Raises:
        StorageError: The picture is gone.
    """
    folder = project.paths.cache / "viewer"
    folder.mkdir(parents=True, exist_ok=True)
    safe = "".join(char if char.isalnum() or char in "-_. " else "_" for char in name)[-80:] or "picture"
    copy = folder / f"{sha256[:12]}-{safe}"
    if not copy.exists():
        project.blobs.copy_out(sha256, copy)
    return open_file(copy)
