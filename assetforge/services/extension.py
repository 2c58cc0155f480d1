"""More prompts for an inconclusive verdict: both versions and the bare base are rendered through the suite's reserve, and the verdict is asked for again over all of it.

That there may be a second look is written into the plan before the first one, since each look gets half of the chance of a wrong claim. The second comparison is a
row of its own that extends the first; its figures are those of both together.

A person may ask for one that was not planned. The first look has used up the whole chance of a wrong claim then, and the second adds half of it; the figures say so, and
the film's policy approves nothing by them. There is no third look, and none at a verdict that is clear: who looks until it says something else finds chance.
"""

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session, select

from assetforge.api.job import Cell, Companion, EngineRef
from assetforge.db.models import Asset, BaseModelRecord, Version
from assetforge.db.models_jobs import Comparison, Evaluation
from assetforge.domain.canonical import digest
from assetforge.domain.names import version_address
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.domain.suite import control_cells, plan_digest
from assetforge.errors import TryAgainError, UsageError
from assetforge.extension.registry import get_registry
from assetforge.services import activity
from assetforge.services.assets import get_asset
from assetforge.services.base_models import recorded_base
from assetforge.services.comparison_records import comparison_row
from assetforge.services.project_config import RegressionConfig
from assetforge.services.projects import Project
from assetforge.services.render_plans import PlannedPass
from assetforge.services.rendering import queue_passes
from assetforge.services.score_queue import continue_comparisons
from assetforge.services.suites import SuiteInfo, second_look_fits, stored_suite, suite_cells
from assetforge.services.versions import row_id

__all__ = ["UNPLANNED", "ask_for_more", "can_be_extended", "extend"]

UNPLANNED = "unplanned"
"""In the plan of a second look that somebody asked for after the first one had been given the whole chance of a wrong claim."""

_LOOKS = 2


def can_be_extended(session: Session, evaluation: Evaluation, settings: RegressionConfig) -> bool:
    """Whether the suite of an evaluation has a reserve that the film's budget of renders allows."""
    rendered = stored_suite(session, evaluation.suite_id).definition.without(evaluation.plan.get("left_out", ()))
    return second_look_fits(settings, rendered.cell_count, rendered.reserve_count)


def extend(project: Project, comparison_id: int) -> int | None:
    """Ask for the second look at a comparison whose verdict is open; again when the one before came to nothing.

    Returns:
        The comparison that extends this one; ``None`` when there is none: the verdict is clear, more prompts would not help, or no second look was planned.
    """
    with project.read() as session:
        row = comparison_row(session, comparison_id)
        verdict = row.summary.get("verdict") or {}
        undecided = verdict.get("outcome") == "inconclusive" and verdict.get("more_prompts")
        if row.state != "succeeded" or not undecided or row.extends_id or row.summary["plan"].get("looks", 1) < 2:
            return None
        plan = row.summary["plan"]
    return _look_again(project, comparison_id, plan)


def ask_for_more(project: Project, comparison_id: int) -> int:
    """Ask for the second look by hand, also where none was planned, whatever the film's budget of renders is; again when the one before came to nothing.

    Args:
        project: The film.
        comparison_id: A finished comparison whose verdict is open.

    Returns:
        The comparison that extends it; the one that is there when it is on its way already.

    Raises:
        NotFoundError: There is no such comparison.
        TryAgainError: It is not finished.
        UsageError: The verdict is clear or there is none, more prompts would not help, the suite has none in reserve, or there was a second look already.
    """
    with project.read() as session:
        row = comparison_row(session, comparison_id)
        after = session.exec(select(Comparison).where(Comparison.extends_id == comparison_id)).first()
        _check_open(row, after)
        suite = stored_suite(session, session.get_one(Evaluation, row.evaluation_id).suite_id)
        if not suite.reserve:
            raise UsageError(
                f"The suite {suite.name} has no prompts in reserve.",
                hint="Compare through the whole suite if this is its quick size, or write `reserve` into a block of a suite of the film.",
            )
        plan = dict(row.summary["plan"])
    if plan.get("looks", 1) < _LOOKS:
        plan |= {"looks": _LOOKS, UNPLANNED: True}
    return _look_again(project, comparison_id, plan)


def _check_open(row: Comparison, after: Comparison | None) -> None:
    verdict = row.summary.get("verdict") or {}
    outcome = verdict.get("outcome", "")
    decide = "Look at the pictures with `assetforge review`, and decide."
    if row.state != "succeeded":
        raise TryAgainError(
            f"Comparison {row.id} is not finished ({row.state}).",
            hint="`assetforge jobs list` shows what it waits for.",
        )
    if not outcome:
        raise UsageError(f"Comparison {row.id} has no verdict: there was no version to compare with.", hint=decide)
    if outcome != "inconclusive":
        raise UsageError(
            f"The verdict of comparison {row.id} is {outcome}; whoever looks again at what is decided finds chance.",
            hint="Compare through another suite to ask something else, or decide.",
        )
    if row.extends_id is not None or (after is not None and after.state == "succeeded"):
        raise UsageError(
            "The verdict stayed open over all prompts together, and there is no third look: a person has to decide.",
            hint=decide,
        )
    if not verdict.get("more_prompts"):
        raise UsageError(f"More prompts would not decide it: {verdict.get('headline', '')}.", hint=decide)


def _look_again(project: Project, comparison_id: int, plan: Mapping[str, Any]) -> int:
    """Queue the second look, or give the one that is there."""
    with project.read() as session:
        row = comparison_row(session, comparison_id)
        verdict = row.summary.get("verdict") or {}
        asset = session.get_one(Asset, row.asset_id).name
        evaluation = session.get_one(Evaluation, row.evaluation_id)
        suite = stored_suite(session, evaluation.suite_id)
    info = get_asset(project, asset)
    # Worn beside it is what was worn in the first round, whatever is approved by now.
    beside = {
        block: [Companion.model_validate(one) for one in worn]
        for block, worn in evaluation.plan.get("beside", {}).items()
    }
    cells = suite_cells(suite.definition, info, beside=beside, extension=True)
    with project.write() as session:
        found = session.exec(select(Comparison).where(Comparison.extends_id == comparison_id)).first()
        if found is not None and found.state in (*OPEN_JOB_STATES, "succeeded"):
            return row_id(found.id)
        row = comparison_row(session, comparison_id)
        passes = [_pass(session, evaluation, suite, cells) for evaluation in _evaluations(session, row)]
        renders = queue_passes(session, info, suite, passes, executor=plan["executor"], device=plan["device"])
        # In the order of the passes, which is that of the rows that were there before.
        ids = [one.id for one in renders.evaluations]
        extension = found or Comparison(
            asset_id=row.asset_id,
            version_id=row.version_id,
            baseline_id=row.baseline_id,
            evaluation_id=ids[0],
            baseline_evaluation_id=ids[1] if row.baseline_evaluation_id is not None else None,
            control_evaluation_id=ids[-1],
            extends_id=comparison_id,
        )
        extension.state, extension.job_id = "queued", None
        extension.summary = {"plan": dict(plan), "plan_digest": digest(dict(plan))}
        session.add(extension)
        session.flush()
        continue_comparisons(session, [ids[0]])
        activity.record(
            session,
            activity.current_actor(),
            "extended",
            f"comparison {comparison_id}",
            asset=asset,
            prompts=len({cell.prompt for cell in cells}),
            why=verdict.get("headline", ""),
            **({UNPLANNED: True} if plan.get(UNPLANNED) else {}),
        )
        return row_id(extension.id)


def _evaluations(session: Session, row: Comparison) -> list[Evaluation]:
    """New, baseline, control, as far as they exist."""
    ids = (row.evaluation_id, row.baseline_evaluation_id, row.control_evaluation_id)
    return [session.get_one(Evaluation, one) for one in ids if one is not None]


def _pass(session: Session, evaluation: Evaluation, suite: SuiteInfo, cells: tuple[Cell, ...]) -> PlannedPass:
    """What an evaluation did, for the cells of the reserve."""
    plan = evaluation.plan
    base = recorded_base(session.get_one(BaseModelRecord, evaluation.base_model_id))
    version = session.get(Version, evaluation.version_id) if evaluation.version_id is not None else None
    wanted = cells if version is not None else control_cells(cells)
    key = plan_digest(
        weights=version.weights if version is not None else "",
        suite_digest=suite.digest,
        cells=wanted,
        base_digest=base.digest,
        engine=EngineRef.model_validate(plan["engine"]).model_dump(mode="json", exclude={"load"}),
        params=plan["params"],
        executor=plan["executor"],
        device=plan["device"],
    )
    return PlannedPass(
        digest=key,
        plan={**plan, "cells": [cell.model_dump(mode="json") for cell in wanted]},
        subject=_subject(session, version) if version is not None else f"base {base.name}",
        version_id=evaluation.version_id,
        base=base,
        renderer=get_registry().renderer(evaluation.renderer),
    )


def _subject(session: Session, version: Version) -> str:
    return version_address(session.get_one(Asset, version.asset_id).name, version.number)
