"""The terminal program: the film's assets, versions and renders, made to be looked at. Everything in it calls the services that the command line calls."""

from pathlib import Path

__all__ = ["run"]


def run(film: Path | None = None, *, images: str = "") -> int:
    """Open the TUI on this terminal until the user leaves.

    Args:
        film: The film's folder; ``None`` begins with the list of films.
        images: ``auto``, ``tgp``, ``sixel``, ``halfcell`` or ``off`` instead of the user's setting.

    Returns:
        The exit code: 0, or 1 when the program broke.
    """
    import gc
    import os
    import sys

    gc.disable()  # until the program stands: nothing that is loaded for it is garbage
    from assetforge.tui.images.protocol import choose_protocol
    from assetforge.tui.preferences import read_preferences

    preferences = read_preferences()
    # Before the program takes the terminal: some answers come from the terminal itself.
    pictures = choose_protocol(images or preferences.images, environ=os.environ, stdin=sys.stdin, stdout=sys.stdout)
    from assetforge.tui.app import FilmApp
    from assetforge.tui.state import State

    app = FilmApp(film, preferences=preferences, pictures=pictures, state=State.load())
    app.run()
    _end_readers()
    return app.return_code or 0


def _end_readers() -> None:
    """Whoever quits while pictures are taken in does not wait for those that were only queued; what was taken in is kept, and the rest is read another time."""
    import sys

    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None:
        for child in multiprocessing.active_children():
            child.kill()
