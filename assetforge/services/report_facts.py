"""Everything a report says, as plain values: read once, then written as HTML, Markdown or JSON."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlmodel import Session

from assetforge import __version__
from assetforge.db.models import Asset, BaseModelRecord, Version
from assetforge.db.models_jobs import Comparison, Evaluation, Suite
from assetforge.domain.canonical import digest
from assetforge.domain.suite import BLEED_PREFIX, CORE_PREFIX
from assetforge.services.comparison_records import render_hashes, rounds_of
from assetforge.services.projects import Project
from assetforge.services.report_cells import block_views, cell_views, nearest_references, worst_first
from assetforge.services.report_engines import engine_records
from assetforge.services.report_lineage import lineage_view, version_facts
from assetforge.services.report_plots import likeness_axis, prompt_plot, verdict_plot
from assetforge.services.report_verdict import verdict_view

__all__ = ["block_title", "report_facts"]

_BLOCK_TITLES = {
    "core": ("Core", "Does it look right where training pictures were like this?"),
    "core-out": ("Core, elsewhere", "Does it still look right in new places, light and poses?"),
    "strength": ("Strength", "Where does it take hold, and where does it overcook?"),
    "bleed": ("Without the trigger", "Everything should look like the base here."),
    "pairs": ("Together", "Does it keep to itself beside another asset?"),
    "own": ("The film's own shots", "What will be on screen."),
}


def report_facts(project: Project, session: Session, row: Comparison, scores: Mapping[str, Any]) -> dict[str, Any]:
    """What there is to say about a finished comparison; summaries of older films may lack a verdict and rounds.

    Args:
        project: The film.
        session: Any session.
        row: The comparison, with those it extends.
        scores: Its file of scores.
    """
    summary = row.summary
    asset = session.get_one(Asset, row.asset_id)
    version = session.get_one(Version, row.version_id)
    baseline = session.get(Version, row.baseline_id) if row.baseline_id is not None else None
    evaluation = session.get_one(Evaluation, row.evaluation_id)
    primary = summary["primary"] if summary["references"]["used"] else ""
    verdict = verdict_view(summary)
    nearest = nearest_references(scores, primary)
    cells = cell_views(scores["cells"], primary, render_hashes(session, row), nearest, baseline is not None)
    margin = verdict["metrics"][0]["margin"] if verdict["metrics"] else None
    return {
        "project": project.config.title or project.name,
        "comparison": row.id,
        "asset": {"name": asset.name, "type": asset.type, "trigger": asset.trigger},
        "new": version_facts(asset, version),
        "baseline": version_facts(asset, baseline) if baseline is not None else None,
        "primary": primary,
        "summary": {key: value for key, value in summary.items() if key not in ("plan", "plan_digest")},
        "verdict": verdict,
        "plot": verdict_plot(verdict),
        "prompts": prompt_plot(scores["cells"], primary, margin, baseline is not None),
        "axis": likeness_axis(summary, primary),
        "cells": cells,
        "order": worst_first(cells),
        "blocks": [
            {**view, "title": block_title(view["name"])[0], "about": _about(view["name"], evaluation.plan)}
            for view in block_views(cells)
        ],
        "references": [
            {"sha256": sha256, "crop": crop, "name": f"{asset.name}/ref/{sha256[:6]}"}
            for sha256, crop in summary["plan"]["references"]["items"]
        ],
        "lineage": lineage_view(session, asset, version, baseline),
        "engines": engine_records(session, row),
        "suite": _suite(session, evaluation),
        "rounds": _rounds(session, row),
        "settings": evaluation.plan["settings"],
        "about": {
            "version": __version__,
            "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "compared": row.created_at.strftime("%Y-%m-%d %H:%M UTC"),
            "evidence": digest(summary),
            "base": session.get_one(BaseModelRecord, evaluation.base_model_id).name,
        },
    }


def block_title(block: str) -> tuple[str, str]:
    """What people read instead of a block's name, and the question it answers."""
    if block in _BLOCK_TITLES:
        return _BLOCK_TITLES[block]
    kind = next((prefix for prefix in (BLEED_PREFIX, CORE_PREFIX) if block.startswith(prefix)), "")
    return block.replace("-", " ").capitalize(), _BLOCK_TITLES[kind][1] if kind else ""


def _about(block: str, plan: Mapping[str, Any]) -> str:
    """The question that a block answers, and what is worn beside the versions in it."""
    question = block_title(block)[1]
    beside = [one["name"] for one in plan.get("beside", {}).get(block, ())]
    if not beside:
        return question
    return f"{question} Worn beside it: {', '.join(beside)}. The base wears that alone.".strip()


def _suite(session: Session, evaluation: Evaluation) -> dict[str, Any]:
    stored = session.get_one(Suite, evaluation.suite_id)
    return {
        "name": evaluation.plan["suite"]["name"],
        "title": stored.definition.get("title", ""),
        "digest": stored.digest,
    }


def _rounds(session: Session, row: Comparison) -> list[dict[str, Any]]:
    """One entry a look: how much was rendered for it, and what the verdict said then."""
    found = []
    for one in rounds_of(session, row):
        cells: Sequence[Mapping[str, Any]] = session.get_one(Evaluation, one.evaluation_id).plan["cells"]
        verdict = one.summary.get("verdict") or {}
        found.append(
            {
                "comparison": one.id,
                "cells": len(cells),
                "prompts": len({(cell["block"], cell["prompt"]) for cell in cells}),
                "outcome": verdict.get("outcome", ""),
                "headline": verdict.get("headline", ""),
            }
        )
    return found
