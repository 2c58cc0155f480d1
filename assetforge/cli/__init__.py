"""The command line. :func:`main` answers ``--help`` and ``--version`` from a table before anything is imported."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave the process with one of :class:`assetforge.cli.exit_codes.ExitCode`."""
    arguments = sys.argv[1:]
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
