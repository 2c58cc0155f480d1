"""The command line. :func:`main` answers ``--help`` and ``--version`` from a table before anything is imported."""

import sys

__all__ = ["main"]

_BARE_OPTIONS = ("--project", "-p", "--images")


def _wants_the_program(arguments: list[str]) -> bool:
    """``assetforge`` alone opens the TUI where there is a terminal for it; a film may be named, and how pictures are shown."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    names, values = arguments[::2], arguments[1::2]
    return len(names) == len(values) and all(name in _BARE_OPTIONS for name in names)


def main() -> None:
    """Run the command line and leave the process with one of :class:`assetforge.cli.exit_codes.ExitCode`."""
    arguments = sys.argv[1:]
    if _wants_the_program(arguments):
        from assetforge.cli.ui import open_program

        sys.exit(open_program(arguments))
    if arguments in ([], ["--help"], ["-h"], ["help"]):
        from assetforge.cli.commands import overview

        sys.stdout.write(overview())
        sys.exit(0)
    if arguments in (["--version"], ["-V"]):
        from assetforge import __version__

        sys.stdout.write(f"assetforge {__version__}\n")
        sys.exit(0)
    from assetforge.cli.app import run

    sys.exit(run(arguments))
