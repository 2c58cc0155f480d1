"""The verdict of a comparison as a report says it: one word, one sentence, then what stands behind it.

Comparisons without a baseline have no verdict, and those of older films may have none either; both are said in words instead of being left blank.
"""

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["NOTHING", "number", "signed", "verdict_view"]

NOTHING = 0.0005
"""Differences below this are not shown as differences."""

_WORDS = {"pass": "Pass", "regressed": "Regressed", "inconclusive": "Inconclusive"}


def verdict_view(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Outcome, word, sentence, the rest of the sentence, metrics, guards, reasons that are not a guard's own words, and what was not measured."""
    verdict = summary.get("verdict") or {}
    outcome = verdict.get("outcome", "")
    word = _WORDS.get(outcome) or ("Not judged" if summary["baseline"] else "First version")
    headline = verdict.get("headline", "")
    return {
        "outcome": outcome,
        "word": word,
        "sentence": f"{headline}." if headline else _plain_sentence(summary),
        "more": _more(summary, headline),
        "metrics": [_metric(one) for one in verdict.get("metrics", ())],
        "guards": [_guard(one) for one in verdict.get("guards", ())],
        "reasons": [one for one in verdict.get("reasons", ()) if not one["code"].startswith("guard-")],
        "not_measured": list(verdict.get("not_measured", ())) or _unmeasured(summary),
        "unready": list(summary.get("unready", ())),
        "more_prompts": verdict.get("more_prompts"),
    }


def _plain_sentence(summary: Mapping[str, Any]) -> str:
    if summary["baseline"]:
        return f"Nothing decided yet between {summary['new']} and {summary['baseline']}: this comparison was made before there were verdicts."
    return f"{summary['new']} has no earlier version to be worse than (rejected ones do not count), so there is no verdict; it is shown beside the bare base."


def _more(summary: Mapping[str, Any], headline: str) -> str:
    return str(summary["sentence"]).removeprefix(f"{headline}. ") if headline else str(summary["sentence"])


def _unmeasured(summary: Mapping[str, Any]) -> list[str]:
    """Without a verdict nobody listed what was not measured; likeness is what matters."""
    if summary.get("verdict") is None and not (summary["primary"] and summary["references"]["used"]):
        return ["likeness"]
    return []


def _metric(one: Mapping[str, Any]) -> dict[str, Any]:
    """A metric with its figures as text; the primary one comes first in the verdict."""
    digits = _digits(one["margin"])
    interval = one["interval"]
    fidelity = one.get("fidelity")
    return {
        **{
            key: one[key] for key in ("name", "title", "outcome", "informative", "prompts", "cells", "margin", "effect")
        },
        "low": interval["low"] if interval else None,
        "high": interval["high"] if interval else None,
        "says": one["outcome"] if one["effect"] is not None else "not measured",
        "effect_text": signed(one["effect"], digits),
        "interval_text": _between(interval, digits),
        "margin_text": number(one["margin"], digits),
        "fidelity_text": f"{fidelity['value']:.0%} of the way from the bare base to the references" if fidelity else "",
        "auc_text": f"tells it from others in {one['auc']['value']:.0%}" if one.get("auc") else "",
    }


def _guard(one: Mapping[str, Any]) -> dict[str, Any]:
    """A guard rail; one with an interval watches a change, the others a value against a limit."""
    digits = _digits(one["bound"])
    interval = one["interval"]
    change = interval is not None
    return {
        **{key: one[key] for key in ("name", "title", "outcome", "text", "value", "bound")},
        "low": interval["low"] if interval else None,
        "high": interval["high"] if interval else None,
        "change": change,
        "value_text": (signed if change else number)(one["value"], digits),
        "interval_text": _between(interval, digits),
    }


def _between(interval: Mapping[str, float] | None, digits: int) -> str:
    return f"[{signed(interval['low'], digits)}, {signed(interval['high'], digits)}]" if interval else ""


def _digits(margin: float) -> int:
    """Decimals that show a tenth of the margin."""
    return 3 if margin <= 0.0 else min(8, max(0, 1 - math.floor(math.log10(margin))))


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign and a real minus; what rounds to nothing is written as such."""
    if value is None:
        return ""
    text = f"{value:+.{digits}f}".replace("-", "−")
    return "±0" if not text.strip("+−0.") else text


def number(value: float | None, digits: int = 3) -> str:
    """A value with a real minus."""
    return "" if value is None else f"{value:.{digits}f}".replace("-", "−")
