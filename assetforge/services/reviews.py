"""What people saw of a comparison and what they said of it: opened cells, blind votes, and which worst cells are still to be opened.

Cells are those of all rounds of a comparison: what was opened or voted on before a verdict asked for more prompts counts in the comparison that extends it, since the
pictures are the same. Cells whose pictures are equal byte for byte have nothing to show and are not asked for.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlmodel import Session, col, select

from assetforge.db.columns import utc_now
from assetforge.db.models import Alias, Asset, Version
from assetforge.db.models_jobs import Comparison, Evaluation
from assetforge.db.models_review import CellView, Vote
from assetforge.domain.names import version_address
from assetforge.domain.regression import badness, image_key
from assetforge.domain.states import VoteChoice
from assetforge.domain.suite import QUICK_SUFFIX
from assetforge.domain.votes import Ballot, Poll, VotedSide, count_votes, left_sides
from assetforge.errors import NotFoundError, TryAgainError, UsageError
from assetforge.services import activity
from assetforge.services.comparison_records import comparison_row, read_scores, render_hashes, rounds_of
from assetforge.services.projects import Project
from assetforge.services.versions import find_version, row_id

__all__ = [
    "APPROVED",
    "BlindPair",
    "GivenVote",
    "ReviewStatus",
    "ReviewedCell",
    "WorstCell",
    "blind_pairs",
    "cast_vote",
    "cast_votes",
    "deciding_comparison",
    "import_votes",
    "next_pair",
    "note_view",
    "review_status",
    "reviewed_comparison",
    "worst_cells",
]

APPROVED = "approved"
"""The alias that names the approved version of an asset."""

_OTHER: dict[VotedSide, VotedSide] = {"new": "baseline", "baseline": "new"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCell:
    """A cell in the order in which people should look.

    Attributes:
        rank: Its place, from 1.
        cell: Its index.
        block: Name of the block.
        prompt: The prompt.
        seed: The seed.
        strength: Strength of the LoRA.
        badness: See :func:`assetforge.domain.regression.badness`.
        pictures: Hash of the render of each side.
    """

    rank: int
    cell: int
    block: str
    prompt: str
    seed: int
    strength: float
    badness: float
    pictures: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindPair:
    """Two pictures of a cell for one person, who is not told which version made which.

    Attributes:
        shown: The cell.
        left: Which side is on the left; not for the eyes of who votes.
    """

    shown: WorstCell
    left: VotedSide

    @property
    def pictures(self) -> tuple[str, str]:
        """Hashes of the left and the right one."""
        return self.shown.pictures[self.left], self.shown.pictures[_OTHER[self.left]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedCell:
    """One of the worst cells, and who dealt with it.

    Attributes:
        shown: The cell.
        opened: Seconds that each person had it open.
        votes: What each person preferred.
    """

    shown: WorstCell
    opened: Mapping[str, float]
    votes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewStatus:
    """How far the review of a comparison is.

    Attributes:
        comparison: Its row id.
        version: Address of the version under test.
        baseline: Address of the baseline; empty when there is none.
        outcome: Of the verdict; empty without one.
        sentence: The verdict, or what the figures say without one.
        actor: Who asks.
        worst: The cells that whoever decides has to open, worst first.
        missing: Those of them that the one who asks has not opened.
        opened: How many cells each person opened, of all.
        poll: What the votes say.
    """

    comparison: int
    version: str
    baseline: str
    outcome: str
    sentence: str
    actor: str
    worst: tuple[ReviewedCell, ...]
    missing: tuple[int, ...]
    opened: Mapping[str, int]
    poll: Poll


class GivenVote(BaseModel):
    """A vote as the report writes it: the side on the left, and what was liked better."""

    model_config = ConfigDict(frozen=True)

    cell: int = Field(ge=0)
    left: VotedSide
    choice: VoteChoice
    seconds: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    note: str = ""


class _VotesFile(BaseModel):
    model_config = ConfigDict(frozen=True)

    comparison: int
    votes: tuple[GivenVote, ...]


def deciding_comparison(session: Session, asset: Asset, version: Version) -> Comparison | None:
    """The comparison that a decision over a version rests on; ``None`` without any.

    The newest finished one with the approved version, else the newest finished one; a quick one only where no whole suite was rendered.
    """
    finished = (
        select(Comparison)
        .where(Comparison.version_id == version.id, Comparison.state == "succeeded")
        .order_by(col(Comparison.id).desc())
    )
    approved = select(Alias.version_id).where(Alias.asset_id == asset.id, Alias.name == APPROVED).scalar_subquery()
    for wanted in (finished.where(Comparison.baseline_id == approved), finished):
        rows = session.exec(wanted).all()
        whole = (row for row in rows if not _is_quick(session, row))
        if rows:
            return next(whole, rows[0])
    return None


def _is_quick(session: Session, row: Comparison) -> bool:
    name: str = session.get_one(Evaluation, row.evaluation_id).plan["suite"]["name"]
    return name.endswith(QUICK_SUFFIX)


def reviewed_comparison(project: Project, address: str) -> int:
    """Row id of the comparison that a decision over a version rests on, see :func:`deciding_comparison`.

    Raises:
        NotFoundError: There is no such version.
        TryAgainError: It has no finished comparison.
    """
    with project.read() as session:
        asset, version = find_version(session, address)
        found = deciding_comparison(session, asset, version)
        name = version_address(asset.name, version.number)
    if found is None:
        raise TryAgainError(
            f"No comparison of {name} is finished, so there is nothing to look at.",
            hint=f"`assetforge compare {name} --wait` makes one.",
        )
    return row_id(found.id)


def worst_cells(project: Project, comparison_id: int, count: int | None = None) -> list[WorstCell]:
    """Cells of a finished comparison in the order of its report, worst first, without those in which there is nothing to compare.

    Args:
        project: The film.
        comparison_id: Which comparison.
        count: At most so many; ``None`` is all.

    Raises:
        NotFoundError: There is no such comparison.
        TryAgainError: It is not finished.
        StorageError: The file of scores is damaged.
    """
    scores = read_scores(project, comparison_id)
    with project.read() as session:
        row = comparison_row(session, comparison_id)
        hashes = render_hashes(session, row)
    has_baseline = row.baseline_id is not None
    primary = row.summary.get("primary", "") if row.summary.get("references", {}).get("used") else ""
    pair = f"new|{'baseline' if has_baseline else 'control'}"
    sides = ("new", "baseline", "control") if has_baseline else ("new", "control")
    differing = [
        (badness(cell, primary, has_baseline), cell) for cell in scores["cells"] if not cell["identical"].get(pair)
    ]
    differing.sort(key=lambda one: (one[1]["strength"] == 0, -one[0], one[1]["index"]))
    return [
        WorstCell(
            rank=rank,
            cell=cell["index"],
            **{key: cell[key] for key in ("block", "prompt", "seed", "strength")},
            badness=bad,
            pictures={
                side: hashes[image_key(side, cell["control_index"] if side == "control" else cell["index"])]
                for side in sides
            },
        )
        for rank, (bad, cell) in enumerate(differing[:count], start=1)
    ]


def note_view(project: Project, comparison_id: int, cell: int, seconds: float = 0.0) -> None:
    """Keep that the acting person had a cell open; the seconds of several times add up.

    Raises:
        NotFoundError: There is no such comparison.
        TryAgainError: It is not finished.
        UsageError: It has no such cell, or the seconds are no duration.
    """
    if not 0.0 <= seconds < math.inf:
        raise UsageError(f"{seconds} is no number of seconds.", hint="Give 0 or more.")
    with project.write() as session:
        row = _finished(session, comparison_id)
        _check_cells(session, row, [cell])
        _see(session, row_id(row.id), cell, activity.current_actor(), seconds)


def cast_vote(
    project: Project,
    comparison_id: int,
    cell: int,
    *,
    left: VotedSide,
    choice: VoteChoice,
    seconds: float = 0.0,
    note: str = "",
) -> None:
    """Keep the acting person's blind answer about one cell, which then counts as opened; see :func:`cast_votes`."""
    try:
        vote = GivenVote(cell=cell, left=left, choice=choice, seconds=seconds, note=note)
    except ValidationError as error:
        raise UsageError(f"That is no vote: {_first(error)}.") from error
    cast_votes(project, comparison_id, [vote])


def cast_votes(project: Project, comparison_id: int, votes: Sequence[GivenVote]) -> int:
    """Keep the acting person's blind answers, all or none; every cell of them counts as opened.

    Args:
        project: The film.
        comparison_id: Which comparison.
        votes: In the order they were given; a person's newer vote on a cell counts.

    Returns:
        How many were new; one that repeats what the person said before in every respect is not.

    Raises:
        NotFoundError: There is no such comparison.
        TryAgainError: It is not finished.
        UsageError: It has no baseline, or no such cell.
    """
    actor = activity.current_actor()
    with project.write() as session:
        row = _finished(session, comparison_id)
        name = _address(session, row)
        if row.baseline_id is None:
            raise UsageError(
                f"Comparison {comparison_id} has only {name}, so there are no two versions to choose from.",
                hint="Look at it with `assetforge review`; votes need a baseline.",
            )
        _check_cells(session, row, [vote.cell for vote in votes])
        known = {(one.cell_index, one.actor): one for one in _votes(session, [comparison_id])}
        fresh = []
        for vote in votes:
            before = known.get((vote.cell, actor))
            kept = Vote(
                comparison_id=comparison_id,
                cell_index=vote.cell,
                left_side=vote.left,
                choice=vote.choice,
                actor=actor,
                seconds=vote.seconds,
                note=vote.note,
            )
            if before is None or _said(before) != _said(kept):
                fresh.append(kept)
                known[vote.cell, actor] = kept
                session.add(kept)
                _see(session, comparison_id, vote.cell, actor, vote.seconds)
        if fresh:
            activity.record(session, actor, "voted", name, comparison=comparison_id, cells=len(fresh))
    return len(fresh)


def import_votes(project: Project, file: Path, text: str | None = None) -> tuple[int, int, int]:
    """Take in the votes that the HTML report copies out, as the acting person's.

    Args:
        project: The film.
        file: The file, or what to call ``text``.
        text: What it holds, when it was read already.

    Returns:
        Row id of the comparison, how many votes there were, and how many of them were new.

    Raises:
        NotFoundError: There is no such file or comparison.
        UsageError: It holds no votes, or votes that do not fit the comparison; nothing was taken in.
    """
    try:
        found = _VotesFile.model_validate_json(file.read_bytes() if text is None else text)
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {file}.") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", hint="Check its permissions.") from error
    except ValidationError as error:
        raise UsageError(
            f"{file} holds no votes: {_first(error)}.", hint="Copy them out of the report's blind votes, whole."
        ) from error
    return found.comparison, len(found.votes), cast_votes(project, found.comparison, found.votes)


def blind_pairs(project: Project, comparison_id: int) -> list[BlindPair]:
    """Every cell of a comparison as the acting person votes on it, worst first; the sides are drawn by :func:`assetforge.domain.votes.left_sides`.

    Raises:
        NotFoundError: There is no such comparison.
        TryAgainError: It is not finished.
        UsageError: It has no baseline.
    """
    cells = worst_cells(project, comparison_id)
    with project.read() as session:
        row = comparison_row(session, comparison_id)
        if row.baseline_id is None:
            raise UsageError(
                f"Comparison {comparison_id} has only {_address(session, row)}, so there are no two versions to choose from.",
                hint="Look at it with `assetforge review`; votes need a baseline.",
            )
    sides = left_sides(f"{project.id} {comparison_id}", [one.cell for one in cells], activity.current_actor())
    return [BlindPair(shown=one, left=sides[one.cell]) for one in cells]


def next_pair(project: Project, comparison_id: int) -> BlindPair | None:
    """The worst cell that the acting person has not voted on; ``None`` when there is none left. Raises what :func:`blind_pairs` does."""
    actor = activity.current_actor()
    with project.read() as session:
        row = comparison_row(session, comparison_id)
        voted = {one.cell_index for one in _votes(session, _round_ids(session, row)) if one.actor == actor}
    return next((one for one in blind_pairs(project, comparison_id) if one.shown.cell not in voted), None)


def review_status(project: Project, comparison_id: int, count: int | None = None) -> ReviewStatus:
    """How far the review of a finished comparison is.

    Args:
        project: The film.
        comparison_id: Which comparison.
        count: How many of the worst cells; by default as many as the film's ``approval.worst_cells`` asks for.

    Raises:
        NotFoundError: There is no such comparison.
        TryAgainError: It is not finished.
        StorageError: The file of scores is damaged.
    """
    worst = worst_cells(project, comparison_id, project.config.approval.worst_cells if count is None else count)
    actor = activity.current_actor()
    with project.read() as session:
        row = comparison_row(session, comparison_id)
        name, rounds = _address(session, row), _round_ids(session, row)
        baseline = _address(session, row, baseline=True)
        prompts = {index: str(cell["prompt"]) for index, cell in _plan_cells(session, row).items()}
        votes = {(one.cell_index, one.actor): one.choice for one in _votes(session, rounds)}
        opened: dict[int, dict[str, float]] = {}
        for view in session.exec(select(CellView).where(col(CellView.comparison_id).in_(rounds))).all():
            times = opened.setdefault(view.cell_index, {})
            times[view.actor] = times.get(view.actor, 0.0) + view.seconds
    verdict: Mapping[str, Any] = row.summary.get("verdict") or {}
    people = [person for times in opened.values() for person in times]
    return ReviewStatus(
        comparison=comparison_id,
        version=name,
        baseline=baseline,
        outcome=str(verdict.get("outcome", "")),
        sentence=f"{verdict['headline']}." if verdict.get("headline") else str(row.summary.get("sentence", "")),
        actor=actor,
        worst=tuple(
            ReviewedCell(
                shown=one,
                opened=opened.get(one.cell, {}),
                votes={person: choice for (cell, person), choice in votes.items() if cell == one.cell},
            )
            for one in worst
        ),
        missing=tuple(one.cell for one in worst if actor not in opened.get(one.cell, {})),
        opened={person: people.count(person) for person in sorted(set(people))},
        poll=count_votes(
            Ballot(person=person, cell=cell, prompt=prompts[cell], choice=cast("VoteChoice", choice))
            for (cell, person), choice in votes.items()
        ),
    )


def _finished(session: Session, comparison_id: int) -> Comparison:
    row = comparison_row(session, comparison_id)
    if row.state != "succeeded":
        raise TryAgainError(
            f"Comparison {comparison_id} is {row.state}, so there is nothing to look at yet.",
            hint="`assetforge compare --wait` finishes it.",
        )
    return row


def _address(session: Session, row: Comparison, *, baseline: bool = False) -> str:
    """Address of the version under test or of the baseline; empty when there is none."""
    wanted = row.baseline_id if baseline else row.version_id
    version = session.get(Version, wanted) if wanted is not None else None
    return version_address(session.get_one(Asset, row.asset_id).name, version.number) if version else ""


def _round_ids(session: Session, row: Comparison) -> list[int]:
    return [row_id(one.id) for one in rounds_of(session, row)]


def _plan_cells(session: Session, row: Comparison) -> dict[int, Mapping[str, Any]]:
    """The cells of all rounds by their index."""
    plans = [session.get_one(Evaluation, one.evaluation_id).plan for one in rounds_of(session, row)]
    return {cell["index"]: cell for plan in plans for cell in plan["cells"]}


def _check_cells(session: Session, row: Comparison, cells: Sequence[int]) -> None:
    known = _plan_cells(session, row)
    unknown = next((cell for cell in cells if cell not in known), None)
    if unknown is not None:
        raise UsageError(
            f"Comparison {row.id} has no cell {unknown}; its cells are {min(known)} to {max(known)}.",
            hint=f"`assetforge review status {_address(session, row)}` lists the worst ones.",
        )


def _votes(session: Session, comparisons: Sequence[int]) -> Sequence[Vote]:
    """In the order they were cast, so that later ones replace earlier ones."""
    return session.exec(select(Vote).where(col(Vote.comparison_id).in_(comparisons)).order_by(col(Vote.id))).all()


def _see(session: Session, comparison_id: int, cell: int, actor: str, seconds: float) -> None:
    session.flush()
    view = session.exec(
        select(CellView).where(
            CellView.comparison_id == comparison_id, CellView.cell_index == cell, CellView.actor == actor
        )
    ).first()
    view = view or CellView(comparison_id=comparison_id, cell_index=cell, actor=actor)
    view.seconds += seconds
    view.at = utc_now()
    session.add(view)


def _said(vote: Vote) -> tuple[Any, ...]:
    return vote.left_side, vote.choice, vote.seconds, vote.note


def _first(error: ValidationError) -> str:
    """The first problem, with the place it is at."""
    problem = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else str(problem["msg"])
