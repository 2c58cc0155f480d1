"""The report as Markdown for pull requests and chat, and as JSON for scripts."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from assetforge.services.report_verdict import signed

__all__ = ["REPORT_SCHEMA", "render_json", "render_markdown"]

REPORT_SCHEMA = "assetforge/report/1"

_GLYPHS = {"pass": "✓", "regressed": "▲", "inconclusive": "◐", "": "○"}
_WORST = 8
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!@])")


def render_markdown(facts: Mapping[str, Any]) -> str:
    """Verdict, table of metrics, guard rails, worst cells, and how much changed between the datasets.

    Args:
        facts: What :func:`assetforge.services.report_facts.report_facts` gave.
    """
    verdict = facts["verdict"]
    against = facts["baseline"]["address"] if facts["baseline"] else "the bare base"
    lines = [
        f"## {_GLYPHS[verdict['outcome']]} {verdict['word']}: {_text(facts['new']['address'])} against {_text(against)}",
        "",
        f"**{_text(verdict['sentence'])}** {_text(verdict['more'])}",
        *_metrics(verdict),
        *_guards(verdict),
        *_list("Also", [reason["text"] for reason in verdict["reasons"]]),
        *_list("Look at", [flag["message"] for flag in facts["summary"]["flags"]]),
        *_worst(facts),
        *_lineage(facts),
        "",
        f"{_text(facts['suite']['name'])}, {facts['summary']['counts']['cells']} pictures a version on {_text(facts['about']['base'])} · comparison {facts['comparison']} · evidence `{facts['about']['evidence'][:12]}`",
        "",
    ]
    return "\n".join(lines)


def _metrics(verdict: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            _text(one["title"]),
            one["effect_text"],
            one["interval_text"],
            one["margin_text"],
            str(one["prompts"]),
            one["says"],
        ]
        for one in verdict["metrics"]
    ]
    head = ["metric", "change", "interval", "margin", "prompts", "says"]
    lines = ["", *_table(head, rows)] if rows else []
    if verdict["not_measured"]:
        lines += ["", f"Not measured: {', '.join(map(_text, verdict['not_measured']))}."]
    return lines


def _guards(verdict: Mapping[str, Any]) -> list[str]:
    return _list("Guard rails", [f"{one['outcome']}: {one['text']}" for one in verdict["guards"]])


def _worst(facts: Mapping[str, Any]) -> list[str]:
    by_index = {cell["index"]: cell for cell in facts["cells"]}
    sides = ["new", *(["baseline"] if facts["baseline"] else []), "control"]
    names = {"new": facts["new"]["name"], "control": "base"}
    names |= {"baseline": facts["baseline"]["name"]} if facts["baseline"] else {}
    rows = []
    for index in facts["order"][:_WORST]:
        cell = by_index[index]
        values = [cell["similarity"][side] for side in sides]
        change = "nothing to measure" if cell["unmeasured"] else signed(cell["change"])
        rows.append(
            [
                str(index),
                _text(cell["prompt"]),
                cell["block"],
                str(cell["seed"]),
                change,
                *("" if value is None else f"{value:.3f}" for value in values),
            ]
        )
    head = ["cell", "prompt", "block", "seed", "change", *(_text(names[side]) for side in sides)]
    title = "Worst cells" if facts["primary"] else "Cells that changed most"
    return ["", f"**{title}**", "", *_table(head, rows)]


def _lineage(facts: Mapping[str, Any]) -> list[str]:
    changes = facts["lineage"]["changes"]
    if changes is None:
        return []
    parts = [f"{len(changes[name])} {name}" for name in ("added", "removed", "recaptioned") if changes[name]] + changes[
        "others"
    ]
    return ["", f"Between the datasets: {', '.join(parts) if parts else 'nothing changed'}."]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def _list(title: str, items: Sequence[str]) -> list[str]:
    return ["", f"**{title}**", "", *(f"- {_text(item)}" for item in items)] if items else []


def _text(words: str) -> str:
    """What people or plugins wrote, as text and never as markup or line break."""
    return _MARKUP.sub(r"\\\1", " ".join(words.split()))


def render_json(facts: Mapping[str, Any]) -> str:
    """All figures of the report, without pictures; renders and references are named by their hashes.

    Args:
        facts: What :func:`assetforge.services.report_facts.report_facts` gave.
    """
    verdict = facts["verdict"]
    document = {
        "schema": REPORT_SCHEMA,
        **{key: facts[key] for key in ("comparison", "project", "asset", "new", "baseline", "suite", "rounds")},
        "outcome": verdict["outcome"],
        "sentence": facts["summary"]["sentence"],
        "verdict": facts["summary"].get("verdict"),
        "not_measured": verdict["not_measured"],
        "figures": {
            key: facts["summary"][key]
            for key in ("primary", "metrics", "counts", "references", "verdict_inputs", "pixels")
        },
        "flags": facts["summary"]["flags"],
        "worst": facts["order"],
        **{key: facts[key] for key in ("cells", "references", "lineage", "engines", "settings", "about")},
    }
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
