"""``assetforge review``, ``assetforge approve`` and ``assetforge reject``: look, vote blind, decide."""

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from assetforge.cli.global_options import current_options
from assetforge.cli.output import emit, plain, say, table
from assetforge.cli.session import opened_project
from assetforge.domain.states import VoteChoice
from assetforge.domain.votes import VotedSide
from assetforge.errors import UsageError
from assetforge.services.projects import Project
from assetforge.services.releases import Review
from assetforge.services.releases import approve as approve_version
from assetforge.services.releases import reject as reject_version
from assetforge.services.review_pictures import write_pairs
from assetforge.services.reviews import (
    BlindPair,
    GivenVote,
    ReviewStatus,
    WorstCell,
    blind_pairs,
    cast_vote,
    cast_votes,
    import_votes,
    note_view,
    review_status,
    reviewed_comparison,
)
from assetforge.services.versions import resolve_version

__all__ = ["app", "approve", "reject"]

app = App(name="review", help="Look at the worst pictures of a comparison, and vote blind.", help_format="plaintext")

_Why = Annotated[str, Parameter(name=["--why", "-m"])]
_Flag = Annotated[bool, Parameter(negative=())]
_TIE = "tie"


@app.default
def review(
    version: str,
    *,
    out: Path | None = None,
    count: int = 0,
    blind: _Flag = False,
    vote: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    comparison: int = 0,
) -> None:
    """Write the worst pictures of a version beside the baseline's as PNG files; in a terminal, go through them one by one.

    What was gone through in a terminal or voted on counts as opened, which approving and rejecting ask for.

    Args:
        version: Address, such as mara/v7 or mara@latest.
        out: Folder for the files; by default a new temporary one.
        count: How many; by default what the film's approval.worst_cells says.
        blind: Do not say which picture is of which version, and ask which is better: a, b, t for no difference, n for the next without an answer.
        vote: The answer about a cell as --blind showed it, for scripts, such as --vote 7=a; a, b or tie. May be repeated.
        comparison: A comparison by its number; by default the newest finished one with the approved version, else the newest finished one.
    """
    if count < 0:
        raise UsageError(f"{count} pictures cannot be shown.", hint="Ask for 1 or more.")
    with opened_project() as project:
        number = comparison or reviewed_comparison(project, version)
        status = review_status(project, number, count or None)
        if comparison and status.version != resolve_version(project, version).address:
            raise UsageError(
                f"Comparison {number} is of {status.version}, not of {version}.", hint="Leave --comparison out."
            )
        if vote:
            cast_votes(project, number, _given(vote, blind_pairs(project, number)))
        elif blind:
            _blind(project, status, out)
            return
        files = {} if vote else _open(project, status, out)
        status = review_status(project, number, count or None)
    emit("review", _document(status, files), lambda: _print(status, files))


def _given(words: Sequence[str], pairs: Sequence[BlindPair]) -> list[GivenVote]:
    """Answers of the command line, as votes."""
    sides = {pair.shown.cell: pair.left for pair in pairs}
    votes = []
    for word in words:
        cell, separator, letter = word.partition("=")
        if not (separator and cell.isdecimal() and letter.lower() in ("a", "b", "t", _TIE)):
            raise UsageError(
                f"{word!r} is no vote.", hint="Write it as CELL=a, CELL=b or CELL=tie, such as --vote 7=a."
            )
        if int(cell) not in sides:
            raise UsageError(
                f"Cell {cell} shows no two different pictures.", hint="`assetforge review` lists the cells."
            )
        left = sides[int(cell)]
        votes.append(GivenVote(cell=int(cell), left=left, choice=_choice(letter.lower(), left)))
    return votes


def _choice(letter: str, left: VotedSide) -> VoteChoice:
    if letter not in ("a", "b"):
        return "tie"
    return left if letter == "a" else ("baseline" if left == "new" else "new")


def _open(project: Project, status: ReviewStatus, out: Path | None) -> dict[int, Path]:
    """Write the pictures, new on the left; go through them where somebody is there to look."""
    other = "baseline" if status.baseline else "control"
    cells = [one.shown for one in status.worst]
    files = _write(project, status, out, {one.cell: (one.pictures["new"], one.pictures[other]) for one in cells})
    if cells:
        say(f"Left: {status.version}. Right: {status.baseline or 'the bare base'}.")
    for cell, _answer, seconds in _ask(cells, files, "enter for the next, q to stop: ", ("",)):
        note_view(project, status.comparison, cell.cell, seconds)
    if cells and not _somebody_is_there():
        say("Nobody can be asked here, so nothing counts as opened: run this in a terminal, or vote.")
    return files


def _blind(project: Project, status: ReviewStatus, out: Path | None) -> None:
    """Write the pictures as A | B, and ask where somebody is there to answer; names of versions are not said."""
    wanted = {one.shown.cell for one in status.worst if status.actor not in one.votes}
    pairs = [pair for pair in blind_pairs(project, status.comparison) if pair.shown.cell in wanted]
    files = _write(project, status, out, {pair.shown.cell: pair.pictures for pair in pairs}, mark="-blind")
    left = {pair.shown.cell: pair.left for pair in pairs}
    answered = 0
    cells = [pair.shown for pair in pairs]
    for cell, letter, seconds in _ask(
        cells, files, "better: a, b, t no difference, n next, q stop: ", ("a", "b", "t", "n")
    ):
        if letter == "n":
            note_view(project, status.comparison, cell.cell, seconds)
            continue
        choice = _choice(letter, left[cell.cell])
        cast_vote(project, status.comparison, cell.cell, left=left[cell.cell], choice=choice, seconds=seconds)
        answered += 1
    shown = [{**_cell(cell), "file": files[cell.cell]} for cell in cells]
    data = {"comparison": status.comparison, "cells": shown, "answered": answered}
    emit("review-blind", data, lambda: _print_blind(status, cells, files, answered))


def _write(
    project: Project,
    status: ReviewStatus,
    out: Path | None,
    pictures: Mapping[int, tuple[str, str]],
    mark: str = "",
) -> dict[int, Path]:
    """The files by cell, named by the place of the cell among the worst."""
    if not pictures:
        return {}
    name = status.version.replace("/", "-")
    folder = out or Path(tempfile.mkdtemp(prefix=f"assetforge-review-{name}-"))
    ranks = {one.shown.cell: one.shown.rank for one in status.worst}
    names = {cell: f"{ranks[cell]:02d}-cell-{cell:04d}{mark}.png" for cell in pictures}
    files = write_pairs(project, folder.absolute(), {names[cell]: pair for cell, pair in pictures.items()})
    return {cell: files[name] for cell, name in names.items()}


def _ask(
    cells: Sequence[WorstCell], files: Mapping[int, Path], question: str, answers: Sequence[str]
) -> Iterator[tuple[WorstCell, str, float]]:
    """Each cell with the answer and the seconds it took, until there is no more or ``q``; nothing where nobody can be asked."""
    if not _somebody_is_there():
        return
    for place, cell in enumerate(cells, start=1):
        sys.stderr.write(f"\n{place} of {len(cells)}  {_says(cell)}\n  {files[cell.cell]}\n")
        begun = time.monotonic()
        while True:
            sys.stderr.write(f"  {question}")
            sys.stderr.flush()
            line = sys.stdin.readline()
            answer = line.strip().lower()
            if not line or answer == "q":
                return
            if answer in answers:
                yield cell, answer, round(time.monotonic() - begun, 1)
                break


def _somebody_is_there() -> bool:
    return sys.stdin.isatty() and not current_options().json


def _says(cell: WorstCell) -> str:
    prompt = cell.prompt.replace("\n", "⏎").replace("\x1b", "␛")
    return f"cell {cell.cell}  {cell.block}  seed {cell.seed}  strength {cell.strength:g}  {prompt}"


@app.command
def status(version: str, *, comparison: int = 0) -> None:
    """Show which of the worst pictures were opened by whom, and what the votes say.

    Args:
        version: Address, such as mara/v7.
        comparison: A comparison by its number; by default the one that a decision rests on.
    """
    with opened_project() as project:
        found = review_status(project, comparison or reviewed_comparison(project, version))
    emit("review-status", _document(found, {}), lambda: _print(found, {}))


@app.command(name="import")
def import_(file: Annotated[Path, Parameter(allow_leading_hyphen=True)]) -> None:
    """Take in the votes that the HTML report copies out, as yours; every cell of them counts as opened.

    Args:
        file: The file; - reads them from stdin.
    """
    with opened_project() as project:
        piped = str(file) == "-"
        number, given, new = import_votes(
            project, Path("stdin") if piped else file, sys.stdin.read() if piped else None
        )
        found = review_status(project, number)
    data = {"comparison": number, "given": given, "new": new, "votes": found.poll.as_json(), "missing": found.missing}
    emit(
        "review-import",
        data,
        lambda: plain(
            f"{new} of {given} votes on {found.version} are new. All together: {found.poll.phrase}."
            + (f" Still to be opened by {found.actor}: {_cells(found.missing)}." if found.missing else "")
        ),
    )


def _document(status: ReviewStatus, files: Mapping[int, Path]) -> dict[str, Any]:
    return {
        "comparison": status.comparison,
        "version": status.version,
        "baseline": status.baseline,
        "verdict": status.outcome,
        "sentence": status.sentence,
        "actor": status.actor,
        "worst": [
            {**_cell(one.shown), "file": files.get(one.shown.cell), "opened": one.opened, "votes": one.votes}
            for one in status.worst
        ],
        "missing": status.missing,
        "opened": status.opened,
        "votes": status.poll.as_json(),
    }


def _cell(cell: WorstCell) -> dict[str, Any]:
    return {name: getattr(cell, name) for name in ("rank", "cell", "block", "prompt", "seed", "strength")}


def _print(status: ReviewStatus, files: Mapping[int, Path]) -> None:
    against = status.baseline or "the bare base"
    plain(f"{status.version} against {against}, comparison {status.comparison}: {status.outcome or 'no verdict'}")
    plain(status.sentence)
    plain("")
    rows = [
        (
            one.shown.rank,
            str(one.shown.cell),
            one.shown.block,
            one.shown.prompt,
            ", ".join(f"{person} {seconds:.0f} s" for person, seconds in sorted(one.opened.items())),
            ", ".join(f"{person} {choice}" for person, choice in sorted(one.votes.items())),
            files.get(one.shown.cell),
        )
        for one in status.worst
    ]
    columns = ("rank", "cell", "block", "prompt", "opened by", "votes", *(["file"] if files else []))
    table(columns, [row[: len(columns)] for row in rows], empty="No picture differs, so there is nothing to look at.")
    plain("")
    plain(f"votes  {status.poll.phrase}")
    if status.missing:
        plain(f"still to be opened by {status.actor}: {_cells(status.missing)}")


def _print_blind(status: ReviewStatus, cells: Sequence[WorstCell], files: Mapping[int, Path], answered: int) -> None:
    if not cells:
        plain(
            f"{status.actor} voted on all of them: `assetforge review status {status.version}` shows what the votes say."
        )
    elif answered:
        plain(f"{answered} votes of {status.actor} are kept.")
    else:
        rows = [(cell.rank, str(cell.cell), cell.block, cell.prompt, files[cell.cell]) for cell in cells]
        table(("rank", "cell", "block", "prompt", "file"), rows)
        plain(
            f"A is left, B is right. `assetforge review {status.version} --comparison {status.comparison} --vote CELL=a` votes."
        )


def _cells(cells: Sequence[int]) -> str:
    return f"{'cell' if len(cells) == 1 else 'cells'} {', '.join(map(str, cells))}"


def approve(version: str, *, why: _Why, unseen: _Flag = False, anyway: _Flag = False) -> None:
    """Make a version the approved one of its asset, after opening the worst pictures; the reason, the verdict and the votes are kept with it.

    Args:
        version: Address, such as mara/v2 or mara@latest.
        why: The reason.
        unseen: Decide without looking, or without any comparison; that is kept as well.
        anyway: Approve against a verdict of regressed; that is kept as well.
    """
    with opened_project() as project:
        decided = approve_version(project, version, why=why, review="skipped" if unseen else "required", anyway=anyway)
    if not decided.evidence.get("comparison"):
        say(f"{decided.version} was never compared; `assetforge compare {decided.version}` would have shown it.")
    before = f", after {decided.previous}" if decided.previous and decided.previous != decided.version else ""
    _tell("approve", decided, f"● {decided.version} is approved{before}.")


def reject(version: str, *, why: _Why, unseen: _Flag = False) -> None:
    """Say no to a version, after opening the worst pictures when it was compared; it stays, and cannot be published.

    Args:
        version: Address, such as mara/v2.
        why: The reason.
        unseen: Decide without looking; that is kept as well.
    """
    with opened_project() as project:
        decided = reject_version(project, version, why=why, review="skipped" if unseen else "required")
    _tell("reject", decided, f"✕ {decided.version} is rejected.")


def _tell(verb: str, decided: Review, sentence: str) -> None:
    emit(
        verb,
        {
            "version": decided.version,
            "stage": decided.stage,
            "previous": decided.previous,
            "why": decided.why,
            "actor": decided.actor,
            "evidence": decided.evidence,
        },
        lambda: plain(sentence),
    )
