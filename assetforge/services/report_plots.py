"""Where the marks of a report's plots lie, in percent of their width; the template draws them as inline SVG.

Metrics have margins of very different size, so the plot of the verdict counts in margins: 0 is no change, -1 is the largest loss that is tolerated, and what matters
is on which side of -1 an interval lies.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from assetforge.domain.suite import BLEED_PREFIX, CORE_PREFIX
from assetforge.services.report_verdict import number, signed

__all__ = ["likeness_axis", "prompt_plot", "strength_curves", "verdict_plot"]

_LEAST, _MOST = 1.6, 4.0


def verdict_plot(verdict: Mapping[str, Any]) -> dict[str, Any] | None:
    """One row a metric, then one a guard rail that watches a change; ``None`` when nothing of it was measured."""
    rows = [("metric", one, one["effect"], one["margin"]) for one in verdict["metrics"]]
    rows += [("guard", one, one["value"], one["bound"]) for one in verdict["guards"] if one["change"]]
    scaled = [
        (kind, one, bound, _in_margins(one, value, bound)) for kind, one, value, bound in rows if value is not None
    ]
    if not scaled:
        return None
    reach = max(abs(value) for _kind, _one, _bound, values in scaled for value in values if value is not None)
    reach = min(_MOST, max(_LEAST, reach * 1.12))
    # Every second one where there is no room for all.
    ticks = [tick for tick in range(-3, 4) if abs(tick) < reach and (reach < 2.6 or abs(tick) != 2)]
    return {
        "rows": [
            {"kind": kind, **one, **_marks(values, reach), "bounded": bound > 0} for kind, one, bound, values in scaled
        ],
        "all_bounded": all(bound > 0 for _kind, _one, bound, _values in scaled),
        "bounded": any(bound > 0 for _kind, _one, bound, _values in scaled),
        "zero": 50.0,
        "edge": _place(-1.0, reach),
        "ticks": [{"at": _place(tick, reach), "label": "0" if not tick else signed(tick, 0)} for tick in ticks],
    }


def _in_margins(one: Mapping[str, Any], value: float, bound: float) -> tuple[float, float | None, float | None]:
    """Effect and interval in margins; without a margin in units of the farther end of the interval."""
    ends = [one["low"], one["high"]]
    unit = bound or max([abs(value), *(abs(end) for end in ends if end is not None)]) or 1.0
    low, high = (None if end is None else end / unit for end in ends)
    return value / unit, low, high


def _marks(values: tuple[float, float | None, float | None], reach: float) -> dict[str, Any]:
    effect, low, high = values
    return {
        "at": _place(effect, reach),
        "from": None if low is None else _place(low, reach),
        "to": None if high is None else _place(high, reach),
        # Arrows instead of caps where the plot is too narrow for the interval.
        "beyond_left": low is not None and low < -reach,
        "beyond_right": high is not None and high > reach,
    }


def _place(value: float, reach: float) -> float:
    """0 to 100 for -reach to reach, with a little room at both ends."""
    return round(50.0 + 48.0 * min(1.0, max(-1.0, value / reach)), 2)


def prompt_plot(
    cells: Sequence[Mapping[str, Any]], primary: str, margin: float | None, has_baseline: bool
) -> dict[str, Any] | None:
    """One row a prompt of the cells that decide, worst first: mean change of likeness and each seed; ``None`` when it was not measured."""
    if not primary:
        return None
    key = "delta" if has_baseline else "delta_to_control"
    groups: dict[tuple[str, str, float], list[Mapping[str, Any]]] = {}
    for cell in _deciding(cells):
        if cell["embeddings"][primary][key] is not None:
            groups.setdefault((cell["block"], cell["prompt"], cell["strength"]), []).append(cell)
    rows = [_prompt(members, primary, key) for members in groups.values()]
    if not rows:
        return None
    rows.sort(key=lambda row: (row["mean"], row["index"]))
    reach = max(abs(value) for row in rows for value in row["seeds"])
    reach = max(reach, 1.3 * (margin or 0.0), 1e-6) * 1.08
    step = _step(reach)
    ticks = [step * number for number in range(-math.floor(reach / step), math.floor(reach / step) + 1)]
    digits = max(0, -math.floor(math.log10(step)))
    for row in rows:
        row["at"] = _place(row["mean"], reach)
        row["dots"] = [_place(value, reach) for value in row["seeds"]]
        row["from"], row["to"] = min(row["dots"]), max(row["dots"])
        row["text"] = signed(row["mean"], max(3, digits))
        row["worse"] = bool(margin) and row["mean"] < -(margin or 0.0)
    return {
        "rows": rows,
        "zero": 50.0,
        "edge": _place(-margin, reach) if has_baseline and margin else None,
        "margin": number(margin) if has_baseline and margin else "",
        "ticks": [{"at": _place(tick, reach), "label": signed(tick, digits) if tick else "0"} for tick in ticks],
        "better": sum(row["mean"] > 0 for row in rows),
    }


def _deciding(cells: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The cells that ask whether the asset looks right, as in :mod:`assetforge.domain.evidence`."""
    worn = [cell for cell in cells if cell["strength"] != 0]
    return [cell for cell in worn if cell["block"].startswith(CORE_PREFIX)] or [
        cell for cell in worn if not cell["block"].startswith(BLEED_PREFIX) and cell["strength"] == 1.0
    ]


def _prompt(members: Sequence[Mapping[str, Any]], primary: str, key: str) -> dict[str, Any]:
    changes = [float(cell["embeddings"][primary][key]) for cell in members]
    worst = members[int(np.argmin(changes))]
    return {
        "prompt": worst["prompt"],
        "block": worst["block"],
        "index": worst["index"],
        "mean": float(np.mean(changes)),
        "seeds": changes,
    }


def _step(reach: float) -> float:
    """1, 2 or 5 times a power of ten, so that two or three ticks lie on each side."""
    rough = reach / 2.5
    power = 10.0 ** math.floor(math.log10(rough))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.8))


def likeness_axis(summary: Mapping[str, Any], primary: str) -> list[dict[str, Any]]:
    """Marks on the line from the bare base to the references themselves."""
    if not primary:
        return []
    values = summary["verdict_inputs"][primary]
    core = values["core"] if values["core"]["cells"] else values["overall"]
    marks = [(side, core["similarity"].get(side)) for side in ("control", "baseline", "new")]
    marks.append(("ceiling", values["ceiling"]["similarity"]))
    known = [(name, value) for name, value in marks if value is not None]
    if len(known) < 2:
        return []
    low, high = min(value for _, value in known), max(value for _, value in known)
    span = (high - low) or 1.0
    return [{"name": name, "value": value, "at": round(3 + 94 * (value - low) / span, 2)} for name, value in known]


def strength_curves(strip: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Likeness of each side over the strengths of one prompt, as points in a field of 100 x 40; the first column is the bare base.

    Args:
        strip: Cell views of one prompt and seed, by strength.
    """
    sides = [side for side in ("baseline", "new") if side in strip[0]["similarity"]]
    base = strip[0]["similarity"].get("control")
    known = {side: [base, *(cell["similarity"].get(side) for cell in strip)] for side in sides}
    flat = [value for values in known.values() for value in values if value is not None]
    if len(flat) < 3:
        return []
    low, span = min(flat), (max(flat) - min(flat)) or 1.0
    columns = len(strip) + 1
    curves = []
    for side, values in known.items():
        points = [
            (round(100 * (place + 0.5) / columns, 2), round(36 - 32 * (value - low) / span, 2))
            for place, value in enumerate(values)
            if value is not None
        ]
        curves.append({"side": side, "points": points, "line": " ".join(f"{x},{y}" for x, y in points)})
    return curves
