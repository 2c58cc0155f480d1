"""What ``assetforge compare`` prints for people: the outcome first, then what stands behind it, a screenful at most."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assetforge.cli.output import console, plain, table
from assetforge.domain.evidence import LIMITED
from assetforge.services.comparison import ComparisonInfo
from assetforge.services.report_verdict import verdict_view

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["print_comparison", "print_outcome"]

_NOTES, _NAMES = 3, 2
"""So many notes, and names of what was not measured, fit beside the figures; the report has all."""

_GOOD, _OPEN, _BAD, _DIM = "green", "yellow", "red", "dim"
_LOOKS = {
    "pass": ("●", _GOOD),
    "clear": ("●", _GOOD),
    "regressed": ("▲", _BAD),
    "veto": ("▲", _BAD),
    "inconclusive": ("◐", _OPEN),
    "suspect": ("◐", _OPEN),
    "open": ("◐", _OPEN),
}
"""Symbol and colour of what a verdict, a metric or a guard rail says."""


def print_comparison(info: ComparisonInfo, written: Path | None) -> None:
    """Print a finished comparison.

    Args:
        info: The comparison.
        written: Its report.
    """
    summary, view = info.summary, verdict_view(info.summary)
    _outcome(view, summary, f"{info.suite}{', second look' if info.extends is not None else ''}")
    plain("")
    if view["metrics"]:
        _figures(view, _limited(summary))
    else:
        _line((view["more"], _DIM))
        _blocks(summary)
    # What limits a metric that does not decide is for readers of the report.
    aside = {one["name"] for one in view["metrics"][1:]}
    notes = [("▲", flag["message"]) for flag in summary["flags"]]
    notes += [("·", one["text"]) for one in view["reasons"] if one["about"] not in aside]
    unsaid = len(summary["flags"]) + len(view["reasons"]) - len(notes[:_NOTES])
    more = [("·", f"{unsaid} more notes in the report")] if unsaid else []
    _notes([*notes[:_NOTES], *more, *_unmeasured(view["not_measured"])])
    plain(f"report  {written}")
    plain(f"look    assetforge review {info.version}")


def print_outcome(summary: Mapping[str, Any], *, note: str = "") -> None:
    """Print the outcome of a finished comparison, and its sentences.

    Args:
        summary: Of the comparison.
        note: Said beside the outcome.
    """
    view = verdict_view(summary)
    _outcome(view, summary, note)
    if view["more"] != view["sentence"]:
        _line((view["more"], _DIM))


def _outcome(view: Mapping[str, Any], summary: Mapping[str, Any], note: str) -> None:
    symbol, style = _LOOKS.get(view["outcome"], ("○", _DIM))
    against = summary["baseline"] or "the bare base"
    _line(
        (f"{symbol} {view['word'].upper()}", f"bold {style}"),
        (f"  {summary['new']} against {against}", "bold"),
        (f"  {note}", _DIM),
    )
    _line((view["sentence"], ""))


def _limited(summary: Mapping[str, Any]) -> set[str]:
    """Names of the guard rails that are held against a limit and no change."""
    planned = summary.get("plan", {}).get("metrics", ())
    return {*LIMITED, *(one["engine"]["name"] for one in planned if one.get("copy_limit") is not None)}


def _figures(view: Mapping[str, Any], limited: set[str]) -> None:
    """Metrics and guard rails that were measured, numbers under numbers."""
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style=_DIM, padding=(0, 2, 0, 0))
    grid.add_column("")
    for heading in ("change", "interval", "tolerated"):
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.add_column("says", no_wrap=True)
    flagging = {one["about"] for one in view["reasons"] if one["code"] == "cannot-pass"}
    for one in (*view["metrics"], *view["guards"]):
        says = one.get("says", one["outcome"])
        if says == "not measured":
            continue
        if not one.get("informative", True) or one["name"] in flagging:
            says = "only shows" if one["name"] in flagging else "decides nothing"
        symbol, style = _LOOKS.get(says, ("○", _DIM))
        cells = (one["title"], *_numbers(one, one["name"] in limited))
        grid.add_row(*map(_text, cells), _text(f"{symbol} {says}", style))
    console().print(grid)


def _numbers(one: Mapping[str, Any], limited: bool) -> tuple[str, str, str]:
    """Change, interval and what is tolerated; for a limit the value itself and no interval."""
    if limited:
        return f"{abs(one['value']):.3g}", "", f"≤ {one['bound']:.3g}"
    margin = one.get("margin", one.get("bound", 0.0))
    return one.get("effect_text", one.get("value_text", "")), one["interval_text"], f"≥ −{margin:.3g}"


def _blocks(summary: Mapping[str, Any]) -> None:
    """How near each block is to the references, where there is no verdict."""
    figures = summary["verdict_inputs"].get(summary["primary"]) if summary["primary"] else None
    if figures:
        rows = [_row(name, values) for name, values in figures["blocks"].items()]
        table(("block", "pictures", "new", "baseline", "base", "change", "nearer than base"), rows)


def _row(name: str, values: Mapping[str, Any]) -> tuple[Any, ...]:
    nearer = values["nearer_than_control"].get("new", {"yes": 0, "of": 0})
    sides = values["similarity"]
    return (
        name,
        values["cells"],
        sides.get("new"),
        sides.get("baseline"),
        sides.get("control"),
        values["delta"],
        f"{nearer['yes']} of {nearer['of']}",
    )


def _unmeasured(names: Sequence[str]) -> list[tuple[str, str]]:
    more = len(names) - _NAMES
    said = ", ".join(names) if more <= 1 else f"{', '.join(names[:_NAMES])} and {more} more"
    return [("○", f"not measured: {said}")] if names else []


def _notes(notes: Sequence[tuple[str, str]]) -> None:
    """Symbols and sentences, wrapped beside the symbols."""
    from rich.table import Table

    plain("")
    grid = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1, 0, 0))
    grid.add_column("", width=1)
    grid.add_column("")
    for symbol, text in notes:
        warns = symbol == "▲"
        grid.add_row(_text(symbol, _OPEN if warns else _DIM), _text(text, "" if warns else _DIM))
    console().print(grid)


def _line(*parts: tuple[str, str]) -> None:
    line = _text("")
    for text, style in parts:
        line += _text(text, style)
    console().print(line)


def _text(text: str, style: str = "") -> "Text":
    """Words as they are: no markup, and nothing that a terminal would take for a command."""
    from rich.text import Text

    return Text(text.replace("\x1b", "␛"), style)
