"""What can be done to jobs from their list: stop, cancel, resume, hurry, start a new run."""

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

from assetforge.db.browse.jobs import QueueRow
from assetforge.tui.screens.base import acting
from assetforge.tui.screens.dialogs import Choice, ChoiceDialog, ConfirmDialog
from assetforge.tui.screens.run_words import is_open, named, subject_of
from assetforge.tui.words import count_of, plain

if TYPE_CHECKING:
    from textual.screen import Screen

    from assetforge.services.projects import Project
    from assetforge.tui.app import FilmApp
    from assetforge.tui.session import FilmSession

    _Base = Screen[None]
else:
    _Base = object

__all__ = ["RunActions", "new_run"]

_RESUMABLE = ("failed", "cancelled", "lost")
_NAMED_MOST = 8
_ONE_AT_A_TIME = Lock()


async def new_run(app: "FilmApp", session: "FilmSession", asset: str = "") -> None:
    """Ask which asset to train, and open the form.

    Args:
        app: The program.
        session: The open film.
        asset: The one that is offered first.
    """
    from assetforge.tui.screens.new_run import NewRunScreen

    assets = await session.run(_assets)
    if not assets:
        app.tell("There is no asset to train yet; f3 shows the film, where n adds one.", severity="warning")
        return
    chosen: object = assets[0].id
    if len(assets) > 1:
        chosen = await app.push_screen_wait(ChoiceDialog("Train which asset?", assets, selected=asset))
    if isinstance(chosen, str):
        await app.push_screen(NewRunScreen(chosen))


class RunActions(_Base):
    """Mixed into the screen that lists jobs; needs its ``chosen`` rows."""

    if TYPE_CHECKING:

        @property
        def film_app(self) -> FilmApp:
            """The program."""
            ...

        @property
        def session(self) -> FilmSession:
            """The open film."""
            ...

    def chosen(self) -> list[QueueRow]:
        """The marked jobs, or the one under the cursor."""
        raise NotImplementedError

    def _open_ones(self, what: str) -> list[QueueRow]:
        """Those of the chosen jobs that have not ended; says so when there is none."""
        rows = self.chosen()
        found = [row for row in rows if is_open(row)]
        if rows and not found:
            ended = f"{named(rows[0]).capitalize()} has ended" if len(rows) == 1 else "All of them have ended"
            self.film_app.tell(f"{ended}; there is nothing to {what}.", severity="warning")
        return found

    @acting
    async def action_stop(self) -> None:
        """Save a checkpoint and stop; it can go on from there."""
        from assetforge.jobs.run_control import stop_run

        for row in self._open_ones("stop"):
            if row.run is None:
                self.film_app.tell(f"{named(row).capitalize()} has nothing to save; K cancels it.", severity="warning")
                continue
            state = await self.session.run(stop_run, row.run)
            if state == "cancelled":
                self.film_app.tell(f"Run {row.run} had not begun; R puts it back.")
            else:
                self.film_app.tell(
                    f"Run {row.run} finishes its step, saves a checkpoint and stops. R goes on from there."
                )

    @acting
    async def action_cancel(self) -> None:
        """Cancel after a yes."""
        rows = self._open_ones("cancel")
        if not rows:
            return
        title = f"Cancel {_names(rows)}?"
        about = "What runs finishes its step and commits a checkpoint first; R can take it up again."
        if not await self.app.push_screen_wait(ConfirmDialog(title, about, yes="Cancel it")):
            return
        from assetforge.jobs.control import cancel_job

        for row in rows:
            state = await self.session.run(cancel_job, row.id)
            done = "is cancelled" if state == "cancelled" else "is being stopped"
            self.film_app.tell(f"{named(row).capitalize()} {done}.")

    @acting
    async def action_resume(self) -> None:
        """Go on from the last checkpoint, or try again; make sure that somebody works."""
        from assetforge.jobs.background import ensure_supervisor
        from assetforge.jobs.control import retry_job

        rows = self.chosen()
        again = [row for row in rows if row.state in _RESUMABLE]
        for row in again:
            await self.session.run(retry_job, row.id)
            self.film_app.tell(f"{named(row).capitalize()} is queued again.")
        if again or any(row.state == "queued" for row in rows):
            await self.session.run(ensure_supervisor)
            self.queue_attended()
        elif rows:
            row = rows[0]
            why = "has succeeded" if row.state == "succeeded" else "is under way"
            self.film_app.tell(f"{named(row).capitalize()} {why}; there is nothing to resume.", severity="warning")

    def queue_attended(self) -> None:
        """Somebody works on the queue now."""

    @acting
    async def action_raise(self) -> None:
        """Before what has the same priority."""
        await self._shift(1)

    @acting
    async def action_lower(self) -> None:
        """After what has the same priority."""
        await self._shift(-1)

    async def _shift(self, by: int) -> None:
        for row in self._open_ones("hurry"):
            await self.session.run(_shift_priority, row.id, by)

    @acting
    async def action_new(self) -> None:
        """The form of a new run."""
        rows = self.chosen()
        await new_run(self.film_app, self.session, rows[0].asset if rows else "")


def _shift_priority(project: "Project", job: int, by: int) -> None:
    """From what it is, not from what was shown: a key that is pressed twice counts twice."""
    from assetforge.jobs.control import get_job, set_priority

    with _ONE_AT_A_TIME:
        set_priority(project, job, get_job(project, job).priority + by)


def _names(rows: Sequence[QueueRow]) -> str:
    if len(rows) == 1:
        return f"{named(rows[0])}, {rows[0].kind} {subject_of(rows[0])}"
    names = ", ".join(named(row) for row in rows[:_NAMED_MOST])
    return f"{count_of(len(rows), 'job')} ({names}{', …' if len(rows) > _NAMED_MOST else ''})"


def _assets(project: "Project") -> list[Choice]:
    from assetforge.services.assets import list_assets

    return [
        Choice(one.name, plain(one.name), plain(f"{one.type}, trigger {one.trigger}"))
        for one in list_assets(project)
        if not one.archived
    ]
