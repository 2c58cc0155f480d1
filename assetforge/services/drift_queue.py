"""Drift checks that wait: when their renders are there they are settled, when these came to nothing they end.

A module of its own so that rendering can continue checks without knowing how they are asked for. It runs after the transaction that registered the pictures, since
it reads pictures, and may read a whole base model, which is nothing to hold the database for; registering a result again settles what was left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlmodel import Session, col, or_, select

from assetforge.db.models import Asset, BaseModelRecord, Version
from assetforge.db.models_jobs import Engine, Evaluation, Job, Render
from assetforge.db.models_review import DriftCheck
from assetforge.domain.drift import (
    DriftEvidence,
    DriftFinding,
    FieldChange,
    FileState,
    PictureDifference,
    engine_changes,
    hardware_of,
    judge_drift,
    tolerance,
)
from assetforge.domain.names import version_address
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.errors import AssetForgeError
from assetforge.services import activity
from assetforge.services.drift_files import base_state, lora_state
from assetforge.services.pictures import open_rgb
from assetforge.services.projects import Project
from assetforge.services.versions import row_id

__all__ = ["continue_drift_checks", "keep_finding"]

_OPEN = ("queued", "failed")
"""Outcomes that new pictures may still change."""


def continue_drift_checks(project: Project, evaluation_ids: Sequence[int]) -> None:
    """Settle the drift checks of these evaluations as far as their pictures are there, or can never be; call it when a change of their state is committed."""
    with project.read() as session:
        waiting = session.exec(
            select(DriftCheck.id)
            .where(
                or_(col(DriftCheck.evaluation_id).in_(evaluation_ids), col(DriftCheck.control_id).in_(evaluation_ids)),
                col(DriftCheck.outcome).in_(_OPEN),
            )
            .order_by(col(DriftCheck.id))
        ).all()
    for check_id in waiting:
        if check_id is not None:
            _settle(project, check_id)


def keep_finding(session: Session, check: DriftCheck, version: str, finding: DriftFinding, **more: Any) -> None:
    """Write down what became of a check, in a write session."""
    check.outcome = finding.outcome
    check.detail = {**check.detail, "finding": finding.as_json(), **more}
    session.add(check)
    activity.record(
        session,
        activity.current_actor(),
        "checked for drift",
        version,
        outcome=finding.outcome,
        statement=finding.statement,
    )


@dataclass(frozen=True, slots=True)
class _Side:
    """Two evaluations of one subject: earlier and now."""

    before: Mapping[int, str]
    after: Mapping[int, str]
    engines: tuple[Mapping[str, Any], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What a check is about."""

    version: str
    weights: str
    base: BaseModelRecord
    executor: str
    files: Mapping[str, Any]
    sides: tuple[_Side, ...]
    error: str


def _settle(project: Project, check_id: int) -> None:
    with project.read() as session:
        given = _read(session, session.get_one(DriftCheck, check_id))
    if given is None:
        return
    try:
        evidence = _evidence(project, given)
        error = ""
    except AssetForgeError as failure:
        # The render job did its part; what cannot be compared is the check's own failure.
        error = str(failure)
    with project.write() as session:
        check = session.get_one(DriftCheck, check_id)
        if check.outcome not in _OPEN or (check.outcome == "failed" and (error or given.error)):
            return
        if error:
            finding = DriftFinding(outcome="failed", statement=f"{given.version} could not be compared: {error}")
            keep_finding(session, check, given.version, finding)
            return
        keep_finding(
            session,
            check,
            given.version,
            judge_drift(evidence),
            files=_files_json(evidence.base_files, evidence.lora),
            engine=[asdict(one) for one in evidence.engine],
            pictures=[asdict(one) for one in evidence.pictures],
            controls=[asdict(one) for one in evidence.controls],
        )


def _read(session: Session, check: DriftCheck) -> _Waiting | None:
    """What a check is about; ``None`` while its renders are under way."""
    pairs = [(check.before_evaluation_id, check.evaluation_id)]
    if check.control_id is not None and check.before_control_id is not None:
        pairs.append((check.before_control_id, check.control_id))
    rows = [(session.get_one(Evaluation, before), session.get_one(Evaluation, after)) for before, after in pairs]
    ended = [after for _, after in rows if after.state not in (*OPEN_JOB_STATES, "succeeded")]
    if not ended and any(after.state != "succeeded" for _, after in rows):
        return None
    version = session.get_one(Version, check.version_id)
    asset = session.get_one(Asset, version.asset_id)
    return _Waiting(
        version=version_address(asset.name, version.number),
        weights=version.weights,
        base=session.get_one(BaseModelRecord, rows[0][0].base_model_id),
        executor=rows[0][1].plan["executor"],
        files=check.detail.get("files", {}),
        sides=() if ended else tuple(_side(session, before, after) for before, after in rows),
        error=_error(session, ended[0]) if ended else "",
    )


def _error(session: Session, evaluation: Evaluation) -> str:
    job = session.get(Job, evaluation.job_id) if evaluation.job_id is not None else None
    was = "were " if evaluation.state in ("cancelled", "lost") else ""
    return f"the renders {was}{evaluation.state}{f' ({job.error})' if job is not None and job.error else ''}"


def _side(session: Session, before: Evaluation, after: Evaluation) -> _Side:
    def hashes(evaluation: Evaluation) -> dict[int, str]:
        rows = session.exec(select(Render).where(Render.evaluation_id == evaluation.id)).all()
        return {render.cell_index: render.sha256 for render in rows}

    def record(evaluation: Evaluation) -> Mapping[str, Any]:
        return session.get_one(Engine, row_id(evaluation.engine_id)).record

    return _Side(hashes(before), hashes(after), (record(before), record(after)))


def _evidence(project: Project, given: _Waiting) -> DriftEvidence:
    """Files were read when the check was asked for, and the job compared the base once more; they are read again only when it failed."""
    if given.error:
        base, lora = base_state(given.base, given.executor), lora_state(project, given.weights)
        return DriftEvidence(version=given.version, base=given.base.name, base_files=base, lora=lora, error=given.error)
    now = given.sides[0].engines[1]
    changes: dict[str, FieldChange] = {}
    for side in given.sides:
        changes |= {one.name: one for one in engine_changes(*side.engines)}
    pictures = [_differences(project, side) for side in given.sides]
    return DriftEvidence(
        version=given.version,
        base=given.base.name,
        base_files=_file(given.files.get("base")),
        lora=_file(given.files.get("lora")) or lora_state(project, given.weights),
        engine=tuple(changes[name] for name in sorted(changes)),
        hardware=hardware_of(now),
        pictures=pictures[0],
        controls=pictures[1] if len(pictures) > 1 else (),
        tolerance=tolerance(now),
    )


def _files_json(base: FileState | None, lora: FileState) -> dict[str, Any]:
    return {"base": asdict(base) if base is not None else None, "lora": asdict(lora)}


def _file(words: Mapping[str, str] | None) -> FileState | None:
    return FileState(**words) if words else None


def _differences(project: Project, side: _Side) -> tuple[PictureDifference, ...]:
    return tuple(_difference(project, index, side.before[index], side.after[index]) for index in sorted(side.after))


def _difference(project: Project, index: int, before: str, after: str) -> PictureDifference:
    if before == after:
        return PictureDifference(index, 0, 0.0, 0.0)
    first, second = (np.asarray(open_rgb(project.blobs.path(sha256)), dtype=np.int16) for sha256 in (before, after))
    levels = np.abs(first - second)
    return PictureDifference(index, int(levels.max()), float(levels.mean()), float(levels.any(axis=2).mean()))
