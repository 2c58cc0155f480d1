"""Options that every command takes, wherever they stand on the line."""

from collections.abc import Sequence
from dataclasses import dataclass

from assetforge.errors import UsageError

__all__ = ["GlobalOptions", "current_options", "take_global_options"]


@dataclass(slots=True)
class GlobalOptions:
    """What the user asked for on this line.

    Attributes:
        project: Name or folder of the film; empty finds it.
        json: One JSON document on stdout.
        quiet: No progress on stderr.
        answered: The one document of ``--json`` is printed already.
    """

    project: str = ""
    json: bool = False
    quiet: bool = False
    answered: bool = False


_current = GlobalOptions()


def current_options() -> GlobalOptions:
    """The options of the running command line."""
    return _current


def take_global_options(arguments: Sequence[str]) -> list[str]:
    """Remove the global options from ``arguments``, remember them, and return the rest. Nothing after ``--`` is touched.

    Raises:
        UsageError: ``--project`` has no value.
    """
    options, rest = GlobalOptions(), []
    remaining = list(arguments)
    while remaining:
        word = remaining.pop(0)
        if word == "--":
            rest += [word, *remaining]
            break
        if word in ("--project", "-p"):
            if not remaining:
                raise UsageError(f"{word} needs the name or folder of a film.")
            options.project = remaining.pop(0)
        elif word.startswith("--project="):
            options.project = word.removeprefix("--project=")
        elif word == "--json":
            options.json = True
        elif word in ("--quiet", "-q"):
            options.quiet = True
        else:
            rest.append(word)
    _current.project, _current.json, _current.quiet, _current.answered = (
        options.project,
        options.json,
        options.quiet,
        False,
    )
    return rest
