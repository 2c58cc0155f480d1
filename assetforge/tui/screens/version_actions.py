"""What can be done to versions from their list: compare, decide with a reason, name, publish, import, render."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assetforge.db.browse.versions import VersionRow
from assetforge.tui.hints import in_words
from assetforge.tui.screens.base import Pane, acting
from assetforge.tui.screens.dialogs import Choice, ChoiceDialog, ConfirmDialog, Field, FieldsDialog, WhyDialog
from assetforge.tui.screens.version_texts import short
from assetforge.tui.words import count_of, plain

if TYPE_CHECKING:
    from assetforge.services.decision_evidence import Looking
    from assetforge.services.projects import Project
    from assetforge.services.rendering import RenderRequest

__all__ = ["Standing", "VersionActions", "standing_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a decision over a version rests on.

    Attributes:
        comparison: The finished comparison; ``None`` without one.
        outcome: Of its verdict; empty without one.
        sentence: What it says.
        worst: How many cells whoever decides has to look at; ``None`` when the scores cannot be read.
        missing: How many of them the acting person has not opened.
    """

    comparison: int | None = None
    outcome: str = ""
    sentence: str = ""
    worst: int | None = 0
    missing: int = 0


def standing_of(project: "Project", address: str) -> Standing:
    """What a decision over a version rests on now.

    Raises:
        NotFoundError: There is no such version.
    """
    from assetforge.errors import StorageError, TryAgainError
    from assetforge.services.comparison_records import get_comparison
    from assetforge.services.reviews import review_status, reviewed_comparison

    try:
        number = reviewed_comparison(project, address)
    except TryAgainError:
        return Standing()
    try:
        found = review_status(project, number)
    except StorageError:
        info = get_comparison(project, number)
        return Standing(comparison=number, outcome=info.outcome, worst=None, missing=1)
    return Standing(
        comparison=number,
        outcome=found.outcome,
        sentence=found.sentence,
        worst=len(found.worst),
        missing=len(found.missing),
    )


class VersionActions(Pane):
    """The half of the pane of versions that acts; the other half knows which is under the cursor and which are marked.

    Attributes:
        asset: Name of the asset.
    """

    asset: str

    def current_version(self) -> VersionRow | None:
        """The one under the cursor."""
        raise NotImplementedError

    def marked_versions(self) -> list[VersionRow]:
        """The marked ones, newest first; empty when none is marked."""
        raise NotImplementedError

    def _one(self) -> VersionRow | None:
        """The version to act on; says so when there is none, or more than one is meant."""
        marked = self.marked_versions()
        if len(marked) > 1:
            self.film_app.tell("That is done for one version at a time; esc takes the marks away.", severity="warning")
            return None
        row = marked[0] if marked else self.current_version()
        if row is None:
            self.film_app.tell("There is no version yet; t trains the first one.")
        return row

    # looking

    @acting
    async def action_compare(self) -> None:
        """With the approved version, or two marked ones with each other."""
        marked = self.marked_versions()
        if len(marked) > 2:
            self.film_app.tell("Two versions can be compared; mark exactly two, or none.", severity="warning")
        elif len(marked) == 2:
            newer, older = sorted(marked, key=lambda row: row.number, reverse=True)
            await self._compare_two(newer.address, older.address)
        elif (row := self._one()) is not None:
            await self._open_comparison(row.address)

    async def _open_comparison(self, address: str) -> None:
        from assetforge.tui.screens.compare import open_comparison

        await open_comparison(self.film_app, self.session, address)

    async def _compare_two(self, newer: str, older: str) -> None:
        from assetforge.tui.screens.compare import CompareScreen
        from assetforge.tui.screens.compare_opening import ask_for_comparison

        found = await self.session.run(_comparison_of, newer, older)
        if found is None:
            found = await ask_for_comparison(self.film_app, self.session, newer, older)
        if found is not None:
            await self.app.push_screen(CompareScreen(found))

    # deciding

    @acting
    async def action_approve(self) -> None:
        """Make it the approved version."""
        row = self._one()
        if row is None:
            return
        if "approved" in row.aliases:
            self.film_app.tell(f"{row.address} is the approved version already.")
            return
        standing = await self.session.run(standing_of, row.address)
        review = await self._looking(row, standing)
        if review is None:
            return
        anyway = False
        if standing.outcome == "regressed":
            title = f"The verdict speaks against {row.address}. Approve it anyway?"
            about = f"{plain(standing.sentence)} That it was approved against the verdict is kept with the approval."
            anyway = bool(await self.app.push_screen_wait(ConfirmDialog(title, about, yes="Approve anyway")))
            if not anyway:
                return
        why = await self._why(f"Approve {row.address}?", standing, review)
        if why is None:
            return
        from assetforge.services.releases import approve

        done = await self.session.run(approve, row.address, why=why, review=review, anyway=anyway)
        before = f", after {done.previous}" if done.previous and done.previous != done.version else ""
        self.film_app.tell(f"● {done.version} is approved{before}.")

    @acting
    async def action_reject(self) -> None:
        """Say no to it."""
        row = self._one()
        if row is None:
            return
        if "approved" in row.aliases:
            self.film_app.tell(
                f"{row.address} is the approved version. Approve the one that takes its place first.",
                severity="warning",
            )
            return
        standing = await self.session.run(standing_of, row.address)
        # What cannot be rendered or is plainly wrong needs no comparison to be turned down.
        review = await self._looking(row, standing) if standing.comparison is not None else "skipped"
        if review is None:
            return
        why = await self._why(f"Reject {row.address}?", standing, review)
        if why is None:
            return
        from assetforge.services.releases import reject

        done = await self.session.run(reject, row.address, why=why, review=review)
        self.film_app.tell(f"✕ {done.version} is rejected.")

    async def _looking(self, row: VersionRow, standing: Standing) -> "Looking | None":
        """``required`` when all was looked at, ``skipped`` when the person says so, ``None`` to look first or to leave."""
        if standing.comparison is not None and not standing.missing:
            return "required"
        if standing.comparison is None:
            title, about = f"{row.address} was not compared yet", "Nobody has seen what it can do."
            look = Choice("look", "compare it now", "with the approved version, a first one with the bare base")
            skip = Choice("skip", "decide without a comparison", "that is kept with the decision")
        else:
            worst = standing.worst
            about = plain(standing.sentence) or "A decision rests on pictures that somebody has seen."
            title = (
                f"{worst - standing.missing} of the {worst} worst cells of {row.address} are looked at"
                if worst is not None
                else f"The scores of {row.address} cannot be read"
            )
            look = Choice("look", "look now", "opens the comparison; a and x decide there too")
            skip = Choice("skip", "decide without looking", "that is kept with the decision")
        chosen = await self.app.push_screen_wait(
            ChoiceDialog(title, [look, skip, Choice("leave", "decide later")], about)
        )
        if chosen == "look":
            await self._open_comparison(row.address)
        return "skipped" if chosen == "skip" else None

    async def _why(self, title: str, standing: Standing, review: "Looking") -> str | None:
        about = plain(standing.sentence)
        if review == "skipped" and standing.comparison is not None:
            about += " Decided without looking at all of the worst cells."
        elif standing.comparison is None:
            about = "It was never compared."
        why = await self.app.push_screen_wait(WhyDialog(title, about.strip()))
        return why.strip() if isinstance(why, str) else None

    # names and files

    @acting
    async def action_publish(self) -> None:
        """Where other tools find it."""
        row = self._one()
        if row is None:
            return
        from assetforge.services.releases import publish

        done = await self.session.run(publish, row.address)
        path = done.path.relative_to(self.session.root)
        self.film_app.tell(
            f"{done.version} is {path} in the film's folder" + ("." if done.written else "; it was there already."),
            title="published",
        )

    @acting
    async def action_alias(self) -> None:
        """A name of one's own."""
        row = self._one()
        if row is None:
            return
        from assetforge.services.releases import set_alias

        async def name(answer: dict[str, str]) -> str:
            alias = f"{row.asset}@{answer['name'].strip().removeprefix('@')}"
            done = await self.session.run(set_alias, alias, row.address, why=answer["why"])
            before = f", before that {done.previous}" if done.previous and done.previous != done.version else ""
            return f"{alias} is {done.version}{before}."

        said = await self.app.push_screen_wait(
            FieldsDialog(
                f"A name for {row.address}",
                [
                    Field(name="name", title="name", placeholder="hero", required=True),
                    Field(name="why", title="why", placeholder="for those who ask later"),
                ],
                f"Shots and looks can say {row.asset}@hero; it can be moved to another version later.",
                check=_alias_problem,
                take=name,
            )
        )
        if isinstance(said, str):
            self.film_app.tell(said)

    @acting
    async def action_import(self) -> None:
        """A LoRA that was trained elsewhere."""
        from assetforge.errors import UsageError
        from assetforge.services.versions import import_version

        async def take(answer: dict[str, str]) -> str:
            file, family = Path(answer["file"].strip()).expanduser(), answer["family"].strip()
            try:
                found, new = await self.session.run(
                    import_version, self.asset, file, family=family, note=answer["note"].strip()
                )
            except UsageError as error:
                hint = "Name it in the second field, such as sd15." if "--family" in error.hint else error.hint
                raise UsageError(error.message, hint=hint) from error
            if new:
                return f"{found.address} is taken in, for {found.family}."
            return f"{found.address} has the same tensors already; nothing was taken in."

        said = await self.app.push_screen_wait(_import_dialog(self.asset, take))
        if isinstance(said, str):
            self.film_app.tell(said)

    # rendering

    @acting
    async def action_render(self) -> None:
        """Through the asset's suite."""
        marked = self.marked_versions()
        rows = marked or [row for row in (self.current_version(),) if row is not None]
        if not rows:
            self.film_app.tell("There is no version yet; t trains the first one.")
            return
        choices = await self.session.run(_suite_sizes, self.asset, [row.address for row in rows])
        names = ", ".join(short(row.address) for row in rows[:8])
        size = await self.app.push_screen_wait(
            ChoiceDialog(f"Render {names} of {self.asset}", choices, "What was rendered once is not rendered again.")
        )
        if not isinstance(size, str):
            return
        done = await self._request_renders(rows, quick=size == "quick")
        if done is not None:
            pictures = sum(one.cells for one in done.evaluations if one.job is not None)
            self.film_app.tell(
                f"{count_of(pictures, 'picture')} of {plain(done.suite)} to render; r shows how far it is."
                if done.jobs
                else f"All pictures of {plain(done.suite)} are there already."
            )

    async def _request_renders(self, rows: list[VersionRow], *, quick: bool) -> "RenderRequest | None":
        """Queue it; for imported versions it may have to be asked on which model."""
        from assetforge.errors import UsageError

        addresses = [row.address for row in rows]
        try:
            return await self.session.run(_render, addresses, quick, "")
        except UsageError as error:
            imported = [row for row in rows if row.run is None]
            # Of an imported version the family is all that is known.
            bases = await self.session.run(_bases, imported[0].base) if imported else []
            if not bases:
                raise
            base = await self.app.push_screen_wait(
                ChoiceDialog("On which base model?", [Choice(name, name) for name in bases], plain(error.message))
            )
        return await self.session.run(_render, addresses, quick, base) if isinstance(base, str) else None


def _comparison_of(project: "Project", newer: str, older: str) -> int | None:
    """The newest comparison of two versions that is finished or under way."""
    from assetforge.services.comparison_records import list_comparisons

    found = [one for one in list_comparisons(project, newer) if one.baseline == older]
    return next((one.id for one in found if one.state == "succeeded" or (one.state == "queued" and one.jobs)), None)


def _alias_problem(values: dict[str, str]) -> str:
    from assetforge.domain.names import LATEST, check_name
    from assetforge.errors import AssetForgeError

    name = values["name"].strip().removeprefix("@")
    if name == LATEST:
        return "latest always is the newest version that is not retired."
    if name in ("approved", "rejected"):
        return f"{name} is what a review decides: a approves, x rejects."
    try:
        check_name(name, what="alias")
    except AssetForgeError as error:
        return in_words(error)
    return ""


def _import_dialog(asset: str, take: Callable[[dict[str, str]], Coroutine[Any, Any, str]]) -> FieldsDialog:
    return FieldsDialog(
        f"Import a LoRA as the next version of {asset}",
        [
            Field(name="file", title="file", placeholder="~/loras/mara.safetensors", required=True),
            Field(name="family", title="model family", placeholder="as the file says, else sd15, sdxl ..."),
            Field(name="note", title="note", placeholder="where it came from"),
        ],
        "The file is copied byte for byte; only safetensors are taken in.",
        take=take,
    )


def _suite_sizes(project: "Project", asset: str, addresses: list[str]) -> list[Choice]:
    from assetforge.services.assets import get_asset
    from assetforge.services.suites import choose_suite
    from assetforge.services.versions import resolve_version

    version = resolve_version(project, addresses[0])
    suite = choose_suite(project, get_asset(project, asset), version.family, base=version.base)
    each = " for each" if len(addresses) > 1 else ""
    found = [Choice("whole", f"suite {plain(suite.name, 40)}", f"{count_of(suite.cells, 'picture')}{each}")]
    if suite.quick:
        found.append(Choice("quick", "its quick size", f"{count_of(suite.quick, 'picture')}{each}"))
    return found


def _render(project: "Project", addresses: list[str], quick: bool, base: str) -> "RenderRequest":
    from assetforge.jobs.background import ensure_supervisor
    from assetforge.services.rendering import request_renders

    done = request_renders(project, addresses, quick=quick, base=base)
    if done.jobs:
        ensure_supervisor(project)
    return done


def _bases(_project: "Project", family: str) -> list[str]:
    from assetforge.services.base_registration import known_bases

    return [one.name for one in known_bases(family) if not one.problem]
