"""How commands speak: data on stdout, everything else on stderr; ``--json`` prints one document with a ``schema`` field."""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from assetforge.cli.global_options import current_options
from assetforge.errors import AssetForgeError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["confirm", "console", "emit", "facts", "plain", "progress", "report_error", "say", "table"]

_LINE_EVERY_S = 5.0


class Update(Protocol):
    """Says how far something is."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """``total`` is 0 while it is unknown."""


def emit(name: str, data: Mapping[str, Any], text: Callable[[], None]) -> None:
    """Print the result of a command.

    Args:
        name: Noun and verb, such as ``project-list``; the schema becomes ``assetforge/project-list/1``.
        data: The document for ``--json``; dataclasses, paths and times are converted.
        text: Prints the same for people, with :func:`table`, :func:`facts` or :func:`plain`.
    """
    if current_options().json:
        current_options().answered = True
        document = {"schema": f"assetforge/{name}/1", **data}
        sys.stdout.write(
            json.dumps(document, default=_jsonable, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None)
            + "\n"
        )
    else:
        text()


def plain(text: str) -> None:
    """Print a line for people on stdout; nothing in it is interpreted."""
    sys.stdout.write(text + "\n")


def say(text: str) -> None:
    """Tell people something on stderr, unless ``--quiet``."""
    if not current_options().quiet:
        sys.stderr.write(text + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "Nothing yet.") -> None:
    """Print rows under their columns on stdout; numbers align right; cells are never interpreted as markup.

    Args:
        columns: Headings.
        rows: One sequence per row; ``None`` prints as nothing.
        empty: What to say when there is no row.
    """
    from rich.table import Table
    from rich.text import Text

    listed = [list(row) for row in rows]
    if not listed:
        say(empty)
        return
    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for index, heading in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) or row[index] is None for row in listed)
        grid.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        grid.add_row(*(Text(_cell(value)) for value in row))
    console().print(grid)


def facts(pairs: Mapping[str, Any]) -> None:
    """Print names and values, one a line, on stdout; empty values are left out."""
    width = max((len(name) for name in pairs), default=0)
    for name, value in pairs.items():
        if value not in (None, ""):
            plain(f"{name:<{width}}  {_cell(value)}")


@contextmanager
def progress(label: str) -> Iterator[Update]:
    """Show progress on stderr: a bar on a terminal, else a line every few seconds; nothing with ``--quiet``.

    Yields:
        A function ``update(done, total, note)``.
    """
    if current_options().quiet:
        yield _silence
    elif sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        yield from _bar(label)
    else:
        yield _line_printer(label)


def _silence(done: int, total: int, note: str = "") -> None:
    """Progress for nobody."""


def _bar(label: str) -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(label, total=None, note="")

        def update(done: int, total: int, note: str = "") -> None:
            shown.update(task, completed=done, total=total or None, note=note)

        yield update


def _line_printer(label: str) -> Update:
    last = time.monotonic()

    def update(done: int, total: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _LINE_EVERY_S:
            last = now
            sys.stderr.write(f"{label}: {done}/{total} {note}".rstrip() + "\n")

    return update


def confirm(question: str, *, yes: bool) -> None:
    """Ask before a destructive act.

    Args:
        question: What would happen.
        yes: The user said ``--yes``.

    Raises:
        UsageError: Nobody can be asked, or the answer was no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"{question} Nobody can be asked here.", hint="Repeat with --yes, or look first with --dry-run."
        )
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("Nothing was changed.")


def report_error(error: AssetForgeError) -> None:
    """Say what went wrong: on stderr for people, and with ``--json`` as the document on stdout unless the command has printed its own."""
    if current_options().json and not current_options().answered:
        sys.stdout.write(
            json.dumps(
                {
                    "schema": "assetforge/error/1",
                    "error": type(error).__name__,
                    "message": error.message,
                    "hint": error.hint,
                }
            )
            + "\n"
        )
    sys.stderr.write(f"assetforge: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"  {error.hint}\n")


def console() -> "Console":
    """Where tables and coloured lines for people go: stdout."""
    from rich.console import Console

    # Piped output is for programs: never wrapped, never coloured.
    return Console(
        soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 10_000, highlight=False, markup=False
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M")
    return str(value).replace("\n", "⏎").replace("\x1b", "␛")


def _jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON form")
