"""``assetforge`` alone, and ``assetforge ui``: the terminal program. Imports nothing that its first frame does not need."""

import sys
from pathlib import Path

__all__ = ["open_program", "ui"]


def ui(*, images: str = "") -> int:
    """Open the terminal program; `assetforge` alone does the same.

    Args:
        images: auto, tgp, sixel, halfcell or off; by default the setting tui.images.
    """
    from assetforge.cli.global_options import current_options

    return _open(current_options().project, images)


def open_program(arguments: list[str]) -> int:
    """Open the program for a line that has only its own options, in pairs.

    Returns:
        The exit code.
    """
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    return _open(given.get("--project", given.get("-p", "")), given.get("--images", ""))


def _open(name: str, images: str) -> int:
    from assetforge.errors import AssetForgeError, UsageError
    from assetforge.paths import projects_dir

    known = ("", "auto", "tgp", "sixel", "halfcell", "off")
    try:
        if images not in known:
            raise UsageError(f"Pictures cannot be shown as {images!r}.", hint=f"Use one of {', '.join(known[1:])}.")
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UsageError(
                "The program needs a terminal.", hint="Every command has `--json` for scripts; `assetforge --help`."
            )
        film = _film(name)
    except AssetForgeError as error:
        from assetforge.cli.exit_codes import exit_code_of
        from assetforge.cli.output import report_error

        report_error(error)
        return exit_code_of(error)
    if film is None:
        films = sorted(path.parent for path in projects_dir().glob("*/project.toml"))
        film = films[0] if len(films) == 1 else None
    from assetforge.tui import run

    return run(film, images=images)


def _film(name: str) -> Path | None:
    from assetforge.cli.global_options import current_options
    from assetforge.cli.session import film_folder

    current_options().project = name
    found = film_folder()
    return found.resolve() if found else None
