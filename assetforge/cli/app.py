"""Dispatch: find the command, import its module alone, turn errors into one clear sentence and an exit code."""

import difflib
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cyclopts import App, CycloptsError

from assetforge import __version__
from assetforge.cli.commands import COMMANDS, GLOBAL_OPTIONS, overview
from assetforge.cli.exit_codes import ExitCode, exit_code_of
from assetforge.cli.global_options import take_global_options
from assetforge.cli.output import report_error
from assetforge.errors import AssetForgeError, UsageError

__all__ = ["build_app", "run"]

_BUILTIN = {entry.name for entry in COMMANDS}


def build_app(*, plugins: bool = False, words: Sequence[str] | None = None) -> App:
    """The command tree; modules of commands are imported when they are called.

    Args:
        plugins: Add the commands of plugins, which loads the plugins.
        words: The command line; of the plugins' commands only the one it calls is imported. ``None`` imports all of them.
    """
    app = App(
        name="assetforge",
        help="Continuous integration for a film's LoRAs.",
        version=__version__,
        help_format="plaintext",
        help_epilogue=GLOBAL_OPTIONS,
    )
    for entry in COMMANDS:
        app.command(entry.load, name=entry.name, help=entry.help)
    if plugins:
        from assetforge.cli.plugin_commands import add_plugin_commands

        add_plugin_commands(app, words)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: Words after the program's name.

    Returns:
        The exit code.
    """
    try:
        words = take_global_options(arguments)
        if not words or words[0] in ("--help", "-h"):
            sys.stdout.write(overview())
            return ExitCode.OK
        app = build_app(plugins=words[0] not in _BUILTIN, words=words)
        _check_known(app, words[0])
        outcome = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else ExitCode.OK
    except CycloptsError as error:
        report_error(
            UsageError(_first_sentence(error), hint=f"See `assetforge {' '.join(_command_words(arguments))} --help`.")
        )
        return ExitCode.USAGE
    except AssetForgeError as error:
        report_error(error)
        return exit_code_of(error)
    except OSError as error:
        return _cannot_write(error)
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Jobs that were started go on; `assetforge jobs list` shows them.\n")
        return ExitCode.INTERRUPTED


def _cannot_write(error: OSError) -> int:
    from assetforge.durable import says_full_disk, storage_error

    if isinstance(error, BrokenPipeError):
        # The reader of our output went away (`| head`); nobody is left to tell.
        sys.stderr.close()
        return ExitCode.OK
    if not says_full_disk(error):
        raise error
    report_error(storage_error(error, Path(error.filename or "the output"), "written"))
    if error.filename is None:
        # What is left in the buffer cannot be written either; Python would complain about that at its end.
        with suppress(OSError):
            sys.stdout.close()
    return ExitCode.NO


def _check_known(app: App, word: str) -> None:
    """An unknown command is answered here: the parser would import every command to compose its own message."""
    names = [name for name in app if not name.startswith("-")]
    if word not in names and not word.startswith("-"):
        near = difflib.get_close_matches(word, names, n=1)
        meant = f"Did you mean `assetforge {near[0]}`?" if near else "`assetforge --help` lists the commands."
        raise UsageError(f"There is no command {word!r}.", hint=meant)


def _first_sentence(error: CycloptsError) -> str:
    return " ".join(str(error).split())


def _command_words(arguments: Sequence[str]) -> list[str]:
    words: list[str] = []
    for word in arguments[:2]:
        if word.startswith("-"):
            break
        words.append(word)
    return words if words and words[0] in _BUILTIN else []
