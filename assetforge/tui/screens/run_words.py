"""Jobs in words: how far they are, why they wait, how they ended."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from assetforge.db.browse.jobs import QueueRow
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.tui.words import ago, count_of, dim, duration, number, plain, size, status

if TYPE_CHECKING:
    from assetforge.jobs.live import LiveUpdate

__all__ = [
    "about",
    "bar",
    "going",
    "is_open",
    "named",
    "place_of",
    "state_of",
    "subject_of",
    "took",
    "why_it_ended",
    "why_it_waits",
]

_UNITS = {"train": "it/s", "render": "pictures/s"}
_FULL, _HALF = "━", "╸"
_STOPPED = "Stopped; "
"""Begins what a run says that was stopped for now; it goes on with the command line's words for how to resume it."""


def is_open(row: QueueRow) -> bool:
    """Whether it has not ended."""
    return row.state in OPEN_JOB_STATES


def named(row: QueueRow) -> str:
    """``run 42``; of what is no run, ``job 43``."""
    return f"run {row.run}" if row.run is not None else f"job {row.id}"


def subject_of(row: QueueRow) -> str:
    """What it is about, on one line."""
    return plain(row.subject) or plain(row.asset)


def state_of(row: QueueRow, update: "LiveUpdate | None") -> Content:
    """State as glyph and word; how far it is while it runs."""
    if row.cancel_requested and is_open(row):
        return status("running", word="stopping") if row.state != "queued" else status("queued", word="stopping")
    if row.state == "running" and update is not None and update.total:
        return status("running", word=f"{update.step / update.total:.0%}".replace("%", " %"))
    if row.state == "queued":
        return status("waiting")
    return status(row.state)


def about(row: QueueRow, update: "LiveUpdate | None", why: str) -> Content:
    """The rest of its line: how far, why it waits, what came of it or why not.

    Args:
        row: The job.
        update: What its events say, where they were read.
        why: Why it waits, see :func:`why_it_waits`.
    """
    if row.state == "queued":
        return Content(plain(why))
    if is_open(row):
        return Content("  ").join(going(row, update))
    if row.state == "succeeded":
        words = [dim(took(row))] if took(row) else []
        if row.versions:
            words.insert(0, Content.assemble(("→ ", "$dim"), ", ".join(plain(one) for one in row.versions)))
        return Content("  ").join(words)
    return Content(why_it_ended(row))


def why_it_ended(row: QueueRow) -> str:
    """What went wrong, or that it can go on."""
    if row.state == "cancelled" and row.error.startswith(_STOPPED):
        return "stopped for now; R goes on from its last checkpoint"
    return plain(row.error)


def going(row: QueueRow, update: "LiveUpdate | None", *, memory: bool = False) -> list[Content]:
    """How far it is, how long still, how fast.

    Args:
        row: The job.
        update: What its events say, where they were read.
        memory: Say how much memory it takes too.
    """
    if update is None or not update.total:
        total = row.total or 0
        return [Content.assemble(f"0/{number(total)}", (" starting", "$dim"))] if total else [dim("starting")]
    words = [Content(f"{number(update.step)}/{number(update.total)}")]
    if row.cancel_requested:
        words.append(dim("saves and stops"))
    elif update.eta_s is not None:
        words.append(Content.assemble(duration(update.eta_s), (" left", "$dim")))
    if update.it_per_s:
        words.append(Content.assemble(_rate(update.it_per_s), (f" {_UNITS.get(row.kind, 'steps/s')}", "$dim")))
    if memory and update.memory_mb:
        words.append(_with_dim_unit(size(round(update.memory_mb * 1_000_000))))
    return words


def bar(share: float, width: int, style: str = "$primary") -> Content:
    """How far, as a line of so many cells."""
    halves = round(min(1.0, max(0.0, share)) * width * 2)
    full, half = divmod(halves, 2)
    return Content.assemble((_FULL * full + _HALF * half, style), (_FULL * (width - full - half), "$scrollbar"))


def took(row: QueueRow) -> str:
    """How long it ran; empty when it never did."""
    if row.started_at is None or row.finished_at is None:
        return ""
    return duration(row.finished_at - row.started_at)


def place_of(row: QueueRow) -> Content:
    """Where it runs; of one that waits, who wanted it; of one that ended, when."""
    if row.state == "queued":
        return dim(plain(row.cause or row.requested_by))
    if is_open(row):
        return Content.assemble((f"{plain(row.executor)} ", "$dim"), plain(row.slot))
    return dim(ago(row.finished_at))


def why_it_waits(row: QueueRow, rows: Sequence[QueueRow], *, attended: bool, now: float | None = None) -> str:
    """Why a job has not begun.

    Args:
        row: The job.
        rows: All open jobs in the order in which they will run.
        attended: Whether somebody works on the queue.
        now: Seconds since 1970.
    """
    if row.cancel_requested:
        return "is being cancelled"
    left = row.not_before - (time.time() if now is None else now)
    if left > 0:
        return f"in {duration(left)} at the earliest" + (f": {row.error}" if row.error else "")
    if row.error:
        return row.error
    if not attended:
        return "nobody works; R starts"
    before = 0
    for one in rows:
        if one.id == row.id:
            break
        before += one.state == "queued" and one.executor == row.executor
    words = "next" if not before else f"after {count_of(before, 'other')}"
    return f"{words}, priority {row.priority:+d}".replace("-", "−") if row.priority else words


def _rate(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _with_dim_unit(text: str) -> Content:
    value, _, unit = text.rpartition(" ")
    return Content.assemble(value, (f" {unit}", "$dim"))
