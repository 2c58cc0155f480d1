"""What training again changes: comparisons of versions that were made by one recipe on one dataset and differ in their seed only.

No measurement of its own is kept: every such comparison is one. They set the margins, so that a version is not called worse for what chance does anyway.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from assetforge.db.models import Asset, Run, Version
from assetforge.db.models_jobs import Comparison, Evaluation, Job
from assetforge.domain.evidence import LIMITED

__all__ = ["Noise", "is_retrain_pair", "known_noise", "retrain_noise"]

_SAME = ("asset_id", "dataset_id", "base_model_id", "trainer", "trainer_version", "params")


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Mean differences of pairs of versions that differ in their seed only, per metric and guard rail, positive for better.

    Attributes:
        own: Of the asset itself.
        kin: Of other assets of its type.
    """

    own: Mapping[str, Sequence[float]]
    kin: Mapping[str, Sequence[float]]


def is_retrain_pair(session: Session, first: Run | None, second: Run | None) -> bool:
    """Whether two runs differ in their seed only, also in what they began from."""
    if first is None or second is None or first.seed == second.seed:
        return False
    return all(getattr(first, name) == getattr(second, name) for name in _SAME) and _start(session, first) == _start(
        session, second
    )


def _start(session: Session, run: Run) -> str:
    """Hash of the weights that a run went on from; empty for most."""
    payload = session.exec(select(Job.payload).where(Job.run_id == run.id).order_by(col(Job.id))).first()
    return str((payload or {}).get("start", ""))


def retrain_noise(session: Session, asset: Asset, base_model_id: int, *, leave_out: int = 0) -> dict[str, list[float]]:
    """Mean differences of such pairs per metric and guard rail, positive for better: the asset's own, else those of assets of its type.

    Args:
        session: Any session.
        asset: The asset.
        base_model_id: Only pictures of this base model.
        leave_out: Row id of the comparison to be judged; no comparison of its two versions counts, since nothing can be its own measure.
    """
    known = known_noise(session, asset, base_model_id, leave_out=leave_out)
    return {name: list(values) for name, values in {**known.kin, **known.own}.items()}


def known_noise(session: Session, asset: Asset, base_model_id: int, *, leave_out: int = 0) -> Noise:
    """The same, told apart by whose it is; see :func:`retrain_noise`."""
    own: dict[str, list[float]] = {}
    kin: dict[str, list[float]] = {}
    judged = session.get(Comparison, leave_out) if leave_out else None
    for row in _pairs(session, asset.type, base_model_id):
        if judged is None or _versions(row) != _versions(judged):
            _add(own if row.asset_id == asset.id else kin, row)
    return Noise(own=own, kin=kin)


def _pairs(session: Session, asset_type: str, base_model_id: int) -> Collection[Comparison]:
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
    return {
        _versions(row): row
        for row, first, second in rows
        if is_retrain_pair(session, session.get(Run, first.run_id), session.get(Run, second.run_id))
    }.values()


def _versions(row: Comparison) -> frozenset[int | None]:
    return frozenset((row.version_id, row.baseline_id))


def _add(known: dict[str, list[float]], row: Comparison) -> None:
    verdict = row.summary.get("verdict") or {}
    # What is held against a limit is a state of one version and no difference between two.
    limited = {
        metric["engine"]["name"]
        for metric in row.summary.get("plan", {}).get("metrics", ())
        if metric.get("copy_limit")
    }
    found = [(one["name"], one["effect"]) for one in verdict.get("metrics", ())]
    found += [
        (one["name"], one["value"]) for one in verdict.get("guards", ()) if one["name"] not in {*LIMITED, *limited}
    ]
    for name, value in found:
        if value is not None:
            known.setdefault(name, []).append(float(value))
