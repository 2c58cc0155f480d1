"""Pictures of a folder become references: what is asked, how far it is, how it is stopped, and what became of them."""

import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content

from assetforge.errors import NotFoundError
from assetforge.tui.screens.dialogs import ConfirmDialog, Field, FieldsDialog
from assetforge.tui.widgets.path_suggester import PathSuggester
from assetforge.tui.words import count_of, number, plain

if TYPE_CHECKING:
    from assetforge.services.ingest import IngestReport
    from assetforge.tui.app import FilmApp
    from assetforge.tui.session import FilmSession

__all__ = ["Import", "import_pictures"]

_SAY_S = 0.5
"""How often the first line says how far it is."""

_NAMED = 3


class _StoppedError(Exception):
    """Somebody does not want the rest."""


@dataclass(slots=True)
class Import:
    """An import under way.

    Attributes:
        asset: What the pictures are for.
        done: Files that were looked at.
        total: Files in all; 0 before that is known.
        stop: Set to leave out the rest.
    """

    asset: str
    done: int = 0
    total: int = 0
    stop: bool = False

    def far(self) -> str:
        """How far it is."""
        return f"{number(self.done)} of {count_of(self.total, 'file')}" if self.total else "looking for pictures"

    def shown(self) -> Content:
        """For the first line."""
        far = f" {number(self.done)}/{number(self.total)}" if self.total else ""
        return Content.assemble(("⏵ ", "$secondary"), f"importing {plain(self.asset, 24)}{far}")


async def import_pictures(app: "FilmApp", session: "FilmSession", asset: str) -> None:
    """Ask for a folder or file and take its pictures in, with what became of them as a sentence; while that goes on, ask whether to stop it."""
    if app.importing is not None:
        await _ask_to_stop(app, app.importing)
        return
    answer = await app.push_screen_wait(
        FieldsDialog(
            f"Import pictures as references of {asset}",
            [
                Field(
                    name="path",
                    title="folder or file",
                    placeholder="~/stills/mara",
                    required=True,
                    suggester=PathSuggester(),
                ),
                Field(name="origin", title="where from", placeholder="stills of day 3"),
                Field(name="rights", title="rights", placeholder="cleared, actor's release 12"),
            ],
            "Files are only read and copied. Captions come from .txt files beside them. → takes the name that is offered.",
            take=lambda values: session.call(_asked, values),
        )
    )
    if isinstance(answer, tuple):
        await _import(app, session, Import(asset), *answer)


def _asked(values: dict[str, str]) -> tuple[Path, str, str]:
    """Path, origin and rights as they were written.

    Raises:
        NotFoundError: Nothing is there.
    """
    path = Path(values["path"].strip()).expanduser()
    if not os.path.lexists(path):
        raise NotFoundError(f"There is no file or folder {plain(str(path), 200)}.")
    return path, values["origin"].strip(), values["rights"].strip()


async def _import(app: "FilmApp", session: "FilmSession", one: Import, path: Path, origin: str, rights: str) -> None:
    from assetforge.services.ingest import add_references

    said = time.monotonic()

    def progress(done: int, total: int, _name: str) -> None:
        """Called in the thread that takes pictures in."""
        nonlocal said
        if one.stop:
            raise _StoppedError
        one.done, one.total = done, total
        if time.monotonic() - said >= _SAY_S:
            said = time.monotonic()
            app.call_soon(partial(app.show_importing, one))

    app.show_importing(one)
    try:
        report = await session.run(add_references, one.asset, [path], origin=origin, rights=rights, progress=progress)
    except _StoppedError:
        app.tell(f"Stopped after {one.far()}. What was taken in stays; the same import again takes the rest.")
        return
    finally:
        if app.importing is one:
            app.show_importing(None)
    _tell(app, report)


async def _ask_to_stop(app: "FilmApp", one: Import) -> None:
    about = f"So far: {one.far()}. What was taken in stays; the same import again takes the rest."
    if await app.push_screen_wait(ConfirmDialog(f"Stop the import into {one.asset}?", about, yes="Stop")):
        one.stop = True


def _tell(app: "FilmApp", report: "IngestReport") -> None:
    """What became of the files, in a sentence; why some were refused, in another."""
    parts = [f"{count_of(len(report.added), 'picture')} added to {report.asset}"]
    if report.captions:
        parts.append(f"{count_of(report.captions, 'caption')} read")
    if report.duplicates:
        parts.append(f"{number(len(report.duplicates))} were there already")
    if report.near_duplicates:
        parts.append(f"{number(len(report.near_duplicates))} look like others")
    if report.added or not report.refused:
        app.tell(", ".join(parts) + ".")
    if report.refused:
        reasons = [f"{one.message} {one.hint}".strip() for one in report.refused[:_NAMED]]
        more = len(report.refused) - len(reasons)
        rest = f" And {count_of(more, 'more file')} refused." if more > 0 else ""
        # Paths can be long; the number of those that were refused must not be what is cut off.
        room = 380 - len(rest)
        app.tell(plain(" ".join(reasons), room) + rest, severity="warning")
