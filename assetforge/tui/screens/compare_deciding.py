"""What is decided in front of the pictures: yes, no, more prompts; with the reason, and never without saying what was not looked at."""

from typing import TYPE_CHECKING

from assetforge.tui.screens.base import acting
from assetforge.tui.screens.compare_facts import Compared
from assetforge.tui.screens.compare_opening import ask_for_more, open_report
from assetforge.tui.screens.compare_part import ComparePart
from assetforge.tui.screens.dialogs import Choice, ChoiceDialog, ConfirmDialog, WhyDialog
from assetforge.tui.words import plain

if TYPE_CHECKING:
    from assetforge.services.decision_evidence import Looking

__all__ = ["Deciding"]


class Deciding(ComparePart):
    """A part of the comparison screen."""

    @acting
    async def action_approve(self) -> None:
        """Make it the approved version."""
        facts = await self._ready_to_decide("approve")
        if facts is None:
            return
        if facts.new.state == "approved":
            self.film_app.tell(f"{facts.new.address} is the approved version already.")
            return
        review = await self._looking(facts)
        if review is None:
            return
        anyway = False
        if facts.outcome == "regressed":
            title = f"The verdict speaks against {facts.new.address}. Approve it anyway?"
            about = f"{plain(facts.sentence)} That it was approved against the verdict is kept with the approval."
            anyway = bool(await self.app.push_screen_wait(ConfirmDialog(title, about, yes="Approve anyway")))
            if not anyway:
                return
        why = await self._why(f"Approve {facts.new.address}?", facts, review)
        if why is None:
            return
        from assetforge.services.releases import approve

        done = await self.session.run(approve, facts.new.address, why=why, review=review, anyway=anyway)
        before = f", after {done.previous}" if done.previous and done.previous != done.version else ""
        self.film_app.tell(f"● {done.version} is approved{before}.")

    @acting
    async def action_reject(self) -> None:
        """Say no to it."""
        facts = await self._ready_to_decide("reject")
        if facts is None:
            return
        if facts.new.state == "approved":
            self.film_app.tell(
                f"{facts.new.address} is the approved version. Approve the one that takes its place first.",
                severity="warning",
            )
            return
        review = await self._looking(facts)
        if review is None:
            return
        why = await self._why(f"Reject {facts.new.address}?", facts, review)
        if why is None:
            return
        from assetforge.services.releases import reject

        done = await self.session.run(reject, facts.new.address, why=why, review=review)
        self.film_app.tell(f"✕ {done.version} is rejected.")

    async def _ready_to_decide(self, verb: str) -> Compared | None:
        """The facts, when a decision can rest on this comparison; else it is said or offered what it can rest on."""
        facts = self.facts
        if facts is None:
            self.film_app.tell("There is nothing to decide on yet.", severity="warning")
            return None
        if facts.deciding == facts.info.id:
            return facts
        title = f"To {verb} {facts.new.address} means to look at comparison {facts.deciding}"
        about = "It is the newest with the approved version, or the newest at all; what was looked at here does not count there."
        choices = [Choice("open", f"show comparison {facts.deciding}"), Choice("stay", "stay here")]
        if await self.app.push_screen_wait(ChoiceDialog(title, choices, about)) == "open":
            await self.show_comparison(facts.deciding)
        return None

    async def _looking(self, facts: Compared) -> "Looking | None":
        """``required`` when all was looked at, ``skipped`` when the person says so, ``None`` to look first or to leave."""
        unseen = facts.unseen(self.opened)
        if not unseen:
            return "required"
        whole = len(facts.required)
        chosen = await self.app.push_screen_wait(
            ChoiceDialog(
                f"{whole - len(unseen)} of the {whole} worst cells are looked at",
                [
                    Choice("look", "look at the others now", f"{len(unseen)}, with n from one to the next"),
                    Choice("skip", "decide without looking", "that is kept with the decision"),
                    Choice("leave", "decide later"),
                ],
                "A decision rests on pictures that somebody has seen.",
            )
        )
        if chosen == "look":
            self.look_at(unseen[0])
        return "skipped" if chosen == "skip" else None

    async def _why(self, title: str, facts: Compared, review: "Looking") -> str | None:
        about = plain(facts.sentence)
        if review == "skipped":
            about += " Decided without looking at all of the worst cells."
        why = await self.app.push_screen_wait(WhyDialog(title, about))
        return why.strip() if isinstance(why, str) else None

    @acting
    async def action_more(self) -> None:
        """More prompts for the verdict, or once more what failed."""
        known = self.facts or self.unfinished
        if known is None:
            return
        found = await ask_for_more(self.film_app, self.session, known.info.id)
        if found is not None:
            await self.show_comparison(found)

    @acting
    async def action_report(self) -> None:
        """The report for everybody else."""
        if self.facts is None:
            self.film_app.tell("There is no report before it is finished.", severity="warning")
            return
        await open_report(self.film_app, self.session, self.facts.info.id)
