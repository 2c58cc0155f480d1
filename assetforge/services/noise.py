"""What training again changes: comparisons of versions that were made by one recipe on one dataset and differ in their seed only.

No measurement of its own is kept: every such comparison is one. They set the margins, so that a version is not called worse for what chance does anyway.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from assetforge.db.models import Asset, Run, Version
from assetforge.db.models_jobs import Comparison, Evaluation

__all__ = ["is_retrain_pair", "retrain_noise"]

_SAME = ("dataset_id", "base_model_id", "trainer", "trainer_version", "params")


def is_retrain_pair(first: Run | None, second: Run | None) -> bool:
    """Whether two runs differ in their seed only."""
    if first is None or second is None or first.seed == second.seed:
        return False
    return all(getattr(first, name) == getattr(second, name) for name in _SAME)


def retrain_noise(session: Session, asset: Asset, base_model_id: int, *, leave_out: int = 0) -> dict[str, list[float]]:
    """Mean differences of such pairs per metric and guard rail, positive for better: the asset's own, else those of assets of its type.

    Args:
        session: Any session.
        asset: The asset.
        base_model_id: Only pictures of this base model.
        leave_out: Row id of a comparison that does not count, since it is the one to be judged; what extends it does not either.
    """
    own: dict[str, list[float]] = {}
    kin: dict[str, list[float]] = {}
    for row in _pairs(session, asset.type, base_model_id):
        if leave_out not in (row.id, *row.summary.get("rounds", ())):
            _add(own if row.asset_id == asset.id else kin, row.summary.get("verdict") or {})
    return {**kin, **own}


def _pairs(session: Session, asset_type: str, base_model_id: int) -> list[Comparison]:
    """Finished comparisons of such pairs, each as its last round tells it."""
    new, before = aliased(Version), aliased(Version)
    later = aliased(Comparison)
    rows = session.exec(
        select(Comparison, new, before)
        .join(Asset, col(Asset.id) == Comparison.asset_id)
        .join(Evaluation, col(Evaluation.id) == Comparison.evaluation_id)
        .join(new, col(new.id) == Comparison.version_id)
        .join(before, col(before.id) == Comparison.baseline_id)
        .outerjoin(later, (col(later.extends_id) == Comparison.id) & (later.state == "succeeded"))
        .where(
            Comparison.state == "succeeded",
            Asset.type == asset_type,
            Evaluation.base_model_id == base_model_id,
            col(later.id).is_(None),
            col(new.run_id).is_not(None),
            col(before.run_id).is_not(None),
            new.step == before.step,
        )
        .order_by(col(Comparison.id))
    ).all()
    # Of several comparisons of one pair the newest counts.
    newest = {
        frozenset((row.version_id, row.baseline_id)): row
        for row, first, second in rows
        if is_retrain_pair(session.get(Run, first.run_id), session.get(Run, second.run_id))
    }
    return list(newest.values())


def _add(known: dict[str, list[float]], verdict: Mapping[str, Any]) -> None:
    found = [(one["name"], one["effect"]) for one in verdict.get("metrics", ())]
    found += [(one["name"], one["value"]) for one in verdict.get("guards", ())]
    for name, value in found:
        if value is not None:
            known.setdefault(name, []).append(float(value))
