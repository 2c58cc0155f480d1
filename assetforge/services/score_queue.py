"""Comparisons that wait: when their renders are there they get a score job, when their renders came to nothing they end.

A module of its own so that rendering can continue comparisons without knowing how they score.
"""

from collections.abc import Sequence

from sqlmodel import Session, col, or_, select

from assetforge.db.models import Asset, Version
from assetforge.db.models_jobs import Comparison, Evaluation
from assetforge.db.queue_rows import enqueue
from assetforge.domain.names import version_address
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.services.versions import row_id

__all__ = ["continue_comparisons"]


def continue_comparisons(session: Session, evaluation_ids: Sequence[int]) -> None:
    """Take every waiting comparison of these evaluations one step further; call it in the write session that changed their state."""
    named = [
        col(column).in_(evaluation_ids)
        for column in (Comparison.evaluation_id, Comparison.baseline_evaluation_id, Comparison.control_evaluation_id)
    ]
    waiting = (
        select(Comparison)
        .where(Comparison.state == "queued", col(Comparison.job_id).is_(None), or_(*named))
        .order_by(col(Comparison.id))
    )
    for comparison in session.exec(waiting).all():
        _continue(session, comparison)


def _continue(session: Session, comparison: Comparison) -> None:
    wanted = [comparison.evaluation_id, comparison.baseline_evaluation_id, comparison.control_evaluation_id]
    rows = session.exec(
        select(Evaluation).where(col(Evaluation.id).in_([one for one in wanted if one is not None]))
    ).all()
    ended = next((row.state for row in rows if row.state not in OPEN_JOB_STATES and row.state != "succeeded"), "")
    if ended:
        comparison.state = ended
        comparison.summary = {
            **comparison.summary,
            "error": f"Its renders {'were ' if ended in ('cancelled', 'lost') else ''}{ended}.",
        }
    elif all(row.state == "succeeded" for row in rows):
        version = session.get_one(Version, comparison.version_id)
        asset = session.get_one(Asset, version.asset_id)
        plan = comparison.summary.get("plan", {})
        comparison.job_id = enqueue(
            session,
            kind="score",
            subject=version_address(asset.name, version.number),
            payload={"comparison": row_id(comparison.id)},
            executor=plan.get("executor", "local"),
            device=plan.get("device", "auto"),
            dedupe_key=f"score:{comparison.id}",
        )
    session.add(comparison)
