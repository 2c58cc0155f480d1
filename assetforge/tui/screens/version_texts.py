"""A version in words: a line of the list, and what stands below the list about the one under the cursor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.content import Content

from assetforge.db.browse.lineage import DecidingFigure, VersionSource
from assetforge.db.browse.versions import VersionRow
from assetforge.tui.widgets.lineage import Stem
from assetforge.tui.widgets.virtual_table import Column
from assetforge.tui.words import STATUS, StatusWord, ago, count_of, dim, duration, number, plain, signed, size, status

if TYPE_CHECKING:
    from assetforge.services.runs import RunInfo

__all__ = [
    "VersionLine",
    "columns_for",
    "differing",
    "exponent",
    "is_quiet",
    "short",
    "state_of",
    "version_cells",
    "version_facts",
]

_APPROVED = "approved"
_BY_HAND = "by hand"
_WAS_APPROVED = StatusWord("●", "was approved", "$dim")
_LONGEST_REASON = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionLine:
    """A version as the list shows it.

    Attributes:
        row: What is known of it.
        stem: Its place in the lineage.
        origin: Number of the version that it goes on from; ``None`` without one.
        figure: The metric that its verdict rests on; ``None`` without one.
        differs: What is different in its training from the version it goes on from, as pairs of name and value.
        overtaken: A newer version is the approved one, so that nobody waits for a decision over it.
    """

    row: VersionRow
    stem: Stem
    origin: int | None = None
    figure: DecidingFigure | None = None
    differs: tuple[tuple[str, str], ...] = ()
    overtaken: bool = False


def short(address: str) -> str:
    """``v7`` of ``mara/v7``."""
    return address.rpartition("/")[2]


def exponent(value: float) -> str:
    """A small number as people write learning rates: ``1e-4``, ``1.5e-3``."""
    mantissa, _, power = f"{value:.3e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}" if value else "0"


def differing(new: VersionSource, old: VersionSource | None) -> tuple[tuple[str, str], ...]:
    """What is different in the training of two versions, as pairs of name and new value; nothing when one was not trained here."""
    if old is None or new.dataset is None or old.dataset is None:
        return ()
    found = [("recipe", new.recipe, old.recipe), ("base", new.base, old.base)]
    found += [("rank", _plain_number(new.rank), _plain_number(old.rank))]
    found += [("alpha", _plain_number(new.alpha), _plain_number(old.alpha))]
    found += [("steps", number(new.steps or 0), number(old.steps or 0))]
    found += [("lr", exponent(new.learning_rate or 0), exponent(old.learning_rate or 0))]
    return tuple((name, value) for name, value, before in found if value != before and value not in ("", "0"))


def state_of(line: VersionLine) -> StatusWord:
    """What a version is for a person now: the approved one, due for a review, plainly worse ..."""
    row = line.row
    if _APPROVED in row.aliases:
        return STATUS[_APPROVED]
    if row.stage == _APPROVED:
        return _WAS_APPROVED
    if row.stage != "candidate":
        return STATUS.get(row.stage, StatusWord("·", plain(row.stage), "$dim"))
    if row.outcome == "regressed":
        return STATUS["regressed"]
    return STATUS["review" if row.comparison is not None and not line.overtaken else "candidate"]


def is_quiet(line: VersionLine) -> bool:
    """It is there for completeness only."""
    return line.row.stage in ("rejected", "retired")


def columns_for(width: int, last_run: int = 0, *, intervals: bool = False) -> tuple[Column, ...]:
    """The columns of the list.

    Args:
        width: Cells of the lineage's lines.
        last_run: The largest number of a run in it.
        intervals: There is room for the interval of the deciding metric.
    """
    return (
        Column("data", "learned from", 16, sortable=False, minimum=12, priority=4),
        Column("run", "run", len(f"─ {last_run} ─"), "right", sortable=False, priority=5),
        Column("version", "version", max(7, width + 5), sortable=False),
        Column("verdict", "verdict", 14, sortable=False),
        Column("figure", "deciding metric", 34 if intervals else 16, sortable=False, priority=1),
        Column("decision", "decision", 0, sortable=False, minimum=12, priority=3),
        Column("when", "made", 12, "right", sortable=False, priority=6),
    )


def version_cells(line: VersionLine, *, intervals: bool = False) -> Sequence[Content | str]:
    """One line of the list, for the columns of :func:`columns_for`."""
    row = line.row
    return (
        _data(line),
        Content.assemble(("─ ", "$dim"), str(row.run), (" ─", "$dim")) if row.run is not None else "",
        _name(line),
        _verdict(row),
        _figure(line, intervals=intervals),
        _decision(line),
        dim(ago(row.created_at)),
    )


def _data(line: VersionLine) -> Content:
    """``d9  +6 refs`` or ``d9  +6 −1``."""
    row = line.row
    if not row.dataset:
        return Content.styled("imported" if row.origin else "no dataset", "$secondary")
    return Content.assemble(f"{short(row.dataset):<3} ", (_changed(line), "$dim"))


def _changed(line: VersionLine) -> str:
    row = line.row
    if not row.parent:
        return f"{number(row.dataset_size)} refs"
    if line.origin is not None and f"v{line.origin}" != short(row.parent):
        return f"from v{line.origin}"
    counts = [f"+{row.added}"] if row.added else []
    counts += [f"−{row.removed}"] if row.removed else []
    if len(counts) > 1:
        return " ".join(counts)
    if counts:
        return f"{counts[0]} refs"
    return "captions" if row.recaptioned else ""


def _name(line: VersionLine) -> Content:
    state = state_of(line)
    weight = "bold" if _APPROVED in line.row.aliases else ""
    return Content.assemble(
        (line.stem.before, "$dim"),
        (state.glyph, state.style),
        (f"{line.stem.after} ", "$dim"),
        (f"v{line.row.number}", weight),
    )


def _verdict(row: VersionRow) -> Content:
    if row.outcome:
        return status(row.outcome)
    if row.comparison is None:
        return dim("not compared")
    return Content.styled("○ no verdict" if row.parent else "○ the first", "$secondary")


def _figure(line: VersionLine, *, intervals: bool) -> Content:
    figure = line.figure
    if figure is None:
        return dim(plain(line.row.headline.removeprefix(line.row.address), 200))
    between = ""
    if intervals and figure.low is not None and figure.high is not None:
        between = f"  [{signed(figure.low, 3)}, {signed(figure.high, 3)}]"
    return Content.assemble(signed(figure.effect, 3), (f"  {plain(figure.title, 20)}{between}", "$dim"))


def _decision(line: VersionLine) -> Content:
    """Names, who decided what and why; else what is known of how it came about."""
    row = line.row
    parts = [Content.styled(f"@{plain(name, 24)}", "$accent") for name in row.aliases if name != _APPROVED]
    if row.decision:
        parts.append(_decided(line))
    elif row.origin:
        parts.append(dim(f"from {plain(row.origin, 60)}"))
    if not row.decision and line.differs:
        parts.append(dim("  ".join(f"{name} {plain(value, 30)}" for name, value in line.differs)))
    if not row.decision and row.cause and row.cause != _BY_HAND:
        parts.append(dim(plain(row.cause, 60)))
    if row.note:
        parts.append(dim(plain(row.note, 80)))
    return Content("  ").join(parts)


def _decided(line: VersionLine, limit: int = 160) -> Content:
    row, state = line.row, state_of(line)
    word = state.word if row.decision == row.stage else row.decision
    return Content.assemble(
        (word, state.style),
        (f" by {plain(row.actor, 24)}", "$dim"),
        f": {plain(row.reason, limit)}" if row.reason else "",
    )


def version_facts(line: VersionLine, run: "RunInfo | None") -> Content:
    """Everything about a version that fits below the list.

    Args:
        line: The version.
        run: What made it, once it was read.
    """
    row, state = line.row, state_of(line)
    head = [Content.styled(short(row.address), "bold"), Content.styled(f"{state.glyph} {state.word}", state.style)]
    head += [Content.styled(f"@{plain(name)}", "$accent") for name in row.aliases if name != _APPROVED]
    head += [one for one in (_found(line),) if one.plain]
    head.append(dim(ago(row.created_at)))
    lines = [Content("  ").join(head)]
    if row.decision:
        lines.append(Content.assemble(_decided(line, _LONGEST_REASON), (f"  {ago(row.decided_at)}", "$dim")))
    lines.append(_recipe_line(row))
    if run is not None:
        lines.append(_run_line(row, run))
    if row.published:
        more = (
            f"  and {count_of(len(row.published) - 1, 'other copy', 'other copies')}" if len(row.published) > 1 else ""
        )
        lines.append(Content.assemble(("published  ", "$dim"), plain(row.published[0]), (more, "$dim")))
    if row.note:
        lines.append(Content.assemble(("note  ", "$dim"), plain(row.note, _LONGEST_REASON)))
    return Content("\n").join(one for one in lines if one.plain)


def _found(line: VersionLine) -> Content:
    """``pass: Identity +0.04 [+0.01, +0.07], 24 prompts``, or the sentence where there is no verdict."""
    figure = line.figure
    if figure is None:
        return dim(plain(line.row.headline, 240))
    between = ""
    if figure.low is not None and figure.high is not None:
        between = f" [{signed(figure.low, 3)}, {signed(figure.high, 3)}]"
    said = (
        f"{plain(line.row.outcome)}: {plain(figure.title, 30)} " if line.row.outcome else f"{plain(figure.title, 30)} "
    )
    return Content.assemble(
        said, signed(figure.effect, 3), (f"{between}, {count_of(figure.prompts, 'prompt')}", "$dim")
    )


def _recipe_line(row: VersionRow) -> Content:
    """``recipe character-sdxl   rank 32 alpha 16   1,900 steps   lr 1e-4   base sdxl-1.0``."""
    if row.origin:
        steps = f"   {count_of(row.steps, 'step')}" if row.steps else ""
        return Content.assemble(("imported from  ", "$dim"), plain(row.origin, 120), f"   for {plain(row.base)}{steps}")
    parts = [Content.assemble(("recipe ", "$dim"), plain(row.recipe, 40))] if row.recipe else []
    if row.rank is not None:
        alpha = Content.assemble((" alpha ", "$dim"), _plain_number(row.alpha)) if row.alpha is not None else ""
        parts.append(Content.assemble(("rank ", "$dim"), _plain_number(row.rank), alpha))
    if row.steps:
        parts.append(Content.assemble(number(row.steps), (" steps", "$dim")))
    if row.learning_rate is not None:
        parts.append(Content.assemble(("lr ", "$dim"), exponent(row.learning_rate)))
    if row.base:
        parts.append(Content.assemble(("base ", "$dim"), plain(row.base, 40)))
    return Content("   ").join(parts)


def _run_line(row: VersionRow, run: "RunInfo") -> Content:
    """``run 41   loss 0.081   6 min   610 MB   on x86_64   by hand   d9 with 38 references``."""
    figures = {name: value for name, value in run.metrics.items() if isinstance(value, int | float)}
    parts = [Content.assemble(("run ", "$dim"), str(run.id))]
    if "loss" in figures:
        parts.append(Content.assemble(("loss ", "$dim"), f"{figures['loss']:.3g}"))
    if figures.get("steps") and figures.get("seconds_per_step"):
        parts.append(Content(duration(figures["steps"] * figures["seconds_per_step"])))
    if figures.get("memory_mb"):
        parts.append(Content(size(int(figures["memory_mb"] * 1e6))))
    device = run.engine.get("device_name") or run.engine.get("device")
    if device:
        parts.append(Content.assemble(("on ", "$dim"), plain(str(device), 40)))
    parts.append(dim(plain(run.cause, 60)))
    parts.append(Content.assemble(short(row.dataset), (f", {count_of(row.dataset_size, 'ref')}", "$dim")))
    return Content("   ").join(parts)


def _plain_number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
