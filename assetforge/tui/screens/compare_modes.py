"""The ways to look at a cell: both, in one place, where they differ, without a LoRA, at every strength, in the system's viewer."""

from typing import TYPE_CHECKING

from assetforge.tui.screens.base import acting
from assetforge.tui.screens.compare_aside import CompareAside
from assetforge.tui.screens.compare_facts import CellFacts
from assetforge.tui.screens.compare_part import ComparePart
from assetforge.tui.screens.compare_stage import PictureStage, Shot, Shown
from assetforge.tui.words import signed

if TYPE_CHECKING:
    from pathlib import Path

    from textual.timer import Timer

    from assetforge.services.projects import Project
    from assetforge.services.reviews import ReviewStatus

__all__ = ["Modes"]

_BLINK_S = 0.5


class Modes(ComparePart):
    """A part of the comparison screen."""

    _blinking: "Timer | None" = None

    @property
    def _cell(self) -> CellFacts | None:
        return self.facts.cells.get(self.current) if self.facts is not None and self.current is not None else None

    # pictures of a cell

    def _sides(self, cell: CellFacts) -> tuple[tuple[str, str], tuple[str, str]]:
        """Key and name of what is at the left and at the right; a blind vote names neither."""
        facts = self.facts
        if facts is None:
            return ("new", ""), ("control", "")
        if self.ballots is not None and cell.index in self.ballots.pairs:
            left = self.ballots.pairs[cell.index].left
            return (left, "left"), ("baseline" if left == "new" else "new", "right")
        old = facts.old.name if facts.old.address else "the bare base"
        return ("new", facts.new.name), (facts.old.key, old)

    def _show_pictures(self, cell: CellFacts) -> None:
        facts, stage = self.facts, self.query_one(PictureStage)
        if facts is None:
            return
        (left, left_name), (right, right_name) = self._sides(cell)
        near = []
        for one in self.neighbours():
            (a, _), (b, _) = self._sides(one)
            near.append((one.pictures[a], one.pictures[b]))
        base = Shot(cell.pictures["control"], "no LoRA") if right != "control" else None
        stage.show(
            Shown(
                Shot(cell.pictures[left], left_name),
                Shot(cell.pictures[right], right_name),
                base,
                tuple(near),
                cell.index,
            )
        )
        if stage.mode == "strengths":
            self._fill_strengths(cell)

    def _change_mode(self) -> None:
        self.lay_out()
        cell = self._cell
        if cell is not None:
            self._show_pictures(cell)

    def leave_mode(self) -> bool:
        """Back to both pictures; whether there was anything to leave."""
        stage = self.query_one(PictureStage)
        self._stop_blinking()
        if stage.mode == "pair" and not stage.extra:
            return False
        if stage.mode == "pair":
            stage.extra = ""
        stage.mode, stage.in_place = "pair", "left"
        self._change_mode()
        return True

    # in one place

    def action_blink(self) -> None:
        """One place; then the other picture in it."""
        stage = self.query_one(PictureStage)
        if self._cell is None:
            return
        if stage.off:
            self.film_app.tell("Pictures are off; e opens both in the system's viewer.")
            return
        if stage.mode == "place":
            stage.swap()
            return
        stage.mode, stage.in_place = "place", "left"
        self._change_mode()

    def action_blinking(self) -> None:
        """By itself, where things may move."""
        stage = self.query_one(PictureStage)
        if self._blinking is not None:
            self._stop_blinking()
            return
        if not self.film_app.preferences.motion:
            self.film_app.tell("Motion is off in your settings (tui.motion); space swaps the pictures one by one.")
            return
        if stage.off or self._cell is None:
            return
        if stage.mode != "place":
            stage.mode, stage.in_place = "place", "left"
            self._change_mode()
        self._blinking = self.set_interval(_BLINK_S, self._blink_once)

    def _blink_once(self) -> None:
        if self.is_current:
            self.query_one(PictureStage).swap()

    def _stop_blinking(self) -> None:
        if self._blinking is not None:
            self._blinking.stop()
            self._blinking = None

    # differences and the bare base

    def action_difference(self) -> None:
        """Where the two differ: beside them, or in the one place."""
        self._third("difference")

    def action_base(self) -> None:
        """Without a LoRA: beside them, or in the one place."""
        facts = self.facts
        if facts is not None and not facts.has_baseline:
            self.film_app.tell("The picture at the right is the bare base.")
            return
        self._third("base")

    def _third(self, what: str) -> None:
        stage = self.query_one(PictureStage)
        if self._cell is None or stage.off:
            return
        self._stop_blinking()
        if stage.mode == "strengths":
            stage.mode = "pair"
        if stage.mode == "place":
            stage.in_place = "left" if stage.in_place == what else what  # type: ignore[assignment]
        elif stage.extra == what:
            stage.extra = ""
        elif stage.fits_three:
            stage.extra = what  # type: ignore[assignment]
        else:
            # Three would be too small here.
            stage.mode, stage.in_place = "place", what  # type: ignore[assignment]
        self._change_mode()

    # strengths

    def strip_of(self, cell: CellFacts) -> list[int]:
        """Cells of the same prompt and seed, from the weakest on; the cell alone when there are no others."""
        facts = self.facts
        return list(facts.strips.get((cell.prompt, cell.seed), (cell.index,))) if facts else [cell.index]

    def shown_in_strip(self, cell: CellFacts) -> int:
        """Which cell of its strip has a cell's strength."""
        facts = self.facts
        return next(
            (one for one in self.strip_of(cell) if facts and facts.cells[one].strength == cell.strength), cell.index
        )

    def action_strengths(self) -> None:
        """Every strength of both versions."""
        stage, cell, facts = self.query_one(PictureStage), self._cell, self.facts
        if cell is None or facts is None or stage.off:
            return
        if stage.mode == "strengths":
            self.leave_mode()
            return
        if len(self.strip_of(cell)) < 2:
            other = next((one for one in facts.worst if len(self.strip_of(facts.cells[one])) > 1), None)
            if other is None:
                self.film_app.tell("Everything was rendered at one strength; a suite with a strength block shows more.")
                return
            self.film_app.tell(
                "This prompt was rendered at one strength; here is the one that changed most of those with several."
            )
            self.look_at(other)
        self._stop_blinking()
        stage.mode = "strengths"
        self._change_mode()

    def _fill_strengths(self, cell: CellFacts) -> None:
        facts = self.facts
        if facts is None:
            return
        strip = [facts.cells[one] for one in self.strip_of(cell)]
        rows = []
        for side, name in (("new", facts.new.name), (facts.old.key, facts.old.name)):
            row = []
            for one in strip:
                here = "▸ " if one.strength == cell.strength else ""
                change = f" {signed(one.change)}" if side == "new" and one.change is not None else ""
                row.append(Shot(one.pictures[side], f"{here}{name} at {one.strength:g}{change}"))
            rows.append(row)
        stage = self.query_one(PictureStage)

        async def fill() -> None:
            if await stage.show_strengths(rows):
                self.lay_out()

        self.run_worker(fill(), group="strengths", exclusive=True, exit_on_error=False)

    def action_weaker(self) -> None:
        """The next weaker strength of the same prompt and seed."""
        self._along(-1)

    def action_stronger(self) -> None:
        """The next higher strength of the same prompt and seed."""
        self._along(1)

    def _along(self, by: int) -> None:
        cell = self._cell
        if cell is None:
            return
        strip = self.strip_of(cell)
        at = strip.index(self.shown_in_strip(cell)) + by
        if 0 <= at < len(strip):
            self.look_at(strip[at])
        elif len(strip) == 1:
            self.film_app.tell("This prompt and seed was rendered at one strength.")

    # the system's viewer

    @acting
    async def action_viewer(self) -> None:
        """Both pictures in one file, left and right as they are here."""
        cell, facts = self._cell, self.facts
        if cell is None or facts is None:
            return
        (left, _), (right, _) = self._sides(cell)
        name = f"comparison-{facts.info.id}-cell-{cell.index:04d}{'-blind' if self.ballots is not None else ''}.png"
        path = await self.session.run(_write_pair, name, (cell.pictures[left], cell.pictures[right]))
        from assetforge.tui.opening import open_file

        self.film_app.tell(await self.session.call(open_file, path))
        self.note_look(cell.index, 0.0)

    def show_votes(self, status: "ReviewStatus") -> None:
        """What all votes say now."""
        if self.facts is not None:
            self.query_one(CompareAside).tell_votes(status.poll, self.facts)


def _write_pair(project: "Project", name: str, pair: tuple[str, str]) -> "Path":
    from assetforge.services.review_pictures import write_pairs

    return write_pairs(project, project.paths.cache / "viewer", {name: pair})[name]
