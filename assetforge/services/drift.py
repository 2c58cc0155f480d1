"""The drift sentinel: a few pictures of a version and the bare base are made again, to see whether they still come out the same, and what changed when not.

A check has a plan of its own: a few cells of the version's newest evaluation, with the renderer as it is installed now, so that a newer plugin shows as one; a plan is
drawn anew each time and stands beside the evaluation, which stays what comparisons use. Files are read before anything is rendered. Where the base model or the
LoRA changed, nothing is: the job would refuse the base, and the answer is known.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from assetforge.api.job import Cell, EngineRef
from assetforge.db.models import Asset, BaseModelRecord, Version
from assetforge.db.models_jobs import Evaluation, Job
from assetforge.db.models_review import DriftCheck
from assetforge.domain.canonical import digest
from assetforge.domain.drift import DriftEvidence, FileState, judge_drift, sentinel_cells
from assetforge.domain.names import version_address
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.domain.suite import control_cells, control_index, plan_digest
from assetforge.errors import AssetForgeError, NotFoundError, UsageError
from assetforge.extension.registry import get_registry
from assetforge.extension.required import check_required
from assetforge.services import activity
from assetforge.services.assets import get_asset
from assetforge.services.base_models import recorded_base
from assetforge.services.drift_files import base_state, lora_state
from assetforge.services.drift_queue import keep_finding
from assetforge.services.projects import Project
from assetforge.services.recipes import validate_params
from assetforge.services.render_plans import PlannedPass
from assetforge.services.rendering import RenderRequest, queue_passes
from assetforge.services.suites import stored_suite
from assetforge.services.versions import find_version, row_id

__all__ = [
    "DRIFTED",
    "DriftInfo",
    "DriftRequest",
    "drift_checks",
    "engine_noise",
    "list_drift_checks",
    "request_drift_checks",
]

DRIFTED = ("engine", "base", "lora", "unexplained")
"""Outcomes that say: what comes out now is not what came out then."""

_MARK = "drift"
_APPROVED, _OUT = "approved", ("rejected", "retired")


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftInfo:
    """A drift check, settled or not.

    Attributes:
        id: Row id.
        version: Address of the version.
        outcome: ``queued`` until it is settled; ``same``, or what changed; ``failed`` when there is no answer.
        statement: The answer for people; empty while it is queued.
        pictures: Pictures that are made again.
        jobs: Jobs that are still open.
        detail: Everything that was found: files, engine fields, pictures.
        actor: Who asked.
        at: When, in UTC.
    """

    id: int
    version: str
    outcome: str
    statement: str
    pictures: int
    jobs: tuple[int, ...]
    detail: dict[str, Any] = field(default_factory=dict)
    actor: str
    at: datetime

    @property
    def drifted(self) -> bool:
        """Something changed."""
        return self.outcome in DRIFTED


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRequest:
    """What became of a wish to check.

    Attributes:
        checks: One for each version, in order.
        skipped: Versions that cannot be checked, each with the reason.
    """

    checks: tuple[DriftInfo, ...]
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sentinel:
    """What is to be made again of a version."""

    version: Version
    address: str
    asset: str
    before: Evaluation
    before_control: Evaluation | None
    cells: tuple[Cell, ...]
    control_cells: tuple[Cell, ...]
    base: BaseModelRecord

    @property
    def executor(self) -> str:
        return str(self.before.plan["executor"])


def request_drift_checks(
    project: Project,
    versions: Sequence[str] = (),
    *,
    everything: bool = False,
    pictures: int = 8,
    priority: int = 0,
) -> DriftRequest:
    """Have versions checked for drift; a check that is under way is joined, and changed files are told at once.

    Args:
        project: The film.
        versions: Which; by default every approved version that was ever rendered.
        everything: Every version that was ever rendered, unless it is rejected or retired.
        pictures: At most so many for each version, those of the bare base included; at least 2.
        priority: Higher goes first.

    Raises:
        NotFoundError: There is no such version, or a named one was never rendered.
        UsageError: Fewer than 2 pictures were asked for, or versions were named and ``everything`` too.
        PluginError: A plugin that the film requires does not work here.
        StorageError: A file is there and cannot be read.
    """
    if pictures < 2:
        raise UsageError("A drift check needs at least 2 pictures: one of the version, one of the bare base.")
    if versions and everything:
        raise UsageError("Versions were named, and all of them were asked for.", hint="Leave out one of the two.")
    check_required(get_registry(), project.config.plugins.required)
    with project.read() as session:
        addresses = [_address(session, one) for one in versions] or _standing(session, everything=everything)
    bases: dict[tuple[int, str], FileState | None] = {}
    asked: list[int] = []
    skipped: list[tuple[str, str]] = []
    for address in dict.fromkeys(addresses):
        try:
            sentinel = _sentinel(project, address, pictures)
            key = (row_id(sentinel.base.id), sentinel.executor)
            if key not in bases:
                bases[key] = base_state(sentinel.base, sentinel.executor)
            asked.append(_ask(project, sentinel, bases[key], priority))
        except AssetForgeError as error:
            if versions:
                raise
            skipped.append((address, str(error)))
    return DriftRequest(checks=tuple(drift_checks(project, asked)), skipped=tuple(skipped))


def drift_checks(project: Project, ids: Sequence[int]) -> list[DriftInfo]:
    """Checks by their row ids, in that order."""
    with project.read() as session:
        return [_info(session, session.get_one(DriftCheck, one)) for one in ids]


def list_drift_checks(project: Project, version: str = "") -> list[DriftInfo]:
    """All checks of the film or of one version, newest first.

    Raises:
        NotFoundError: There is no such version.
    """
    with project.read() as session:
        query = select(DriftCheck).order_by(col(DriftCheck.id).desc())
        if version:
            query = query.where(DriftCheck.version_id == find_version(session, version)[1].id)
        return [_info(session, row) for row in session.exec(query).all()]


def engine_noise(session: Session, *, base_model_id: int | None = None, renderer: str = "") -> list[float]:
    """What one engine differs from itself: mean absolute differences, in levels of 0 to 255, of checks in which neither engine record nor files had changed.

    Args:
        session: Any session.
        base_model_id: Only pictures of this base model.
        renderer: Only those of this renderer.
    """
    query = (
        select(DriftCheck)
        .join(Evaluation, col(Evaluation.id) == DriftCheck.evaluation_id)
        .where(col(DriftCheck.outcome).in_(("same", "unexplained")))
        .order_by(col(DriftCheck.id))
    )
    if base_model_id is not None:
        query = query.where(Evaluation.base_model_id == base_model_id)
    if renderer:
        query = query.where(Evaluation.renderer == renderer)
    findings = [row.detail.get("finding", {}) for row in session.exec(query).all()]
    return [float(one["mean"]) for one in findings if one.get("same_engine") and one.get("mean") is not None]


def _address(session: Session, wanted: str) -> str:
    asset, version = find_version(session, wanted)
    return version_address(asset.name, version.number)


def _standing(session: Session, *, everything: bool) -> list[str]:
    """Versions that were rendered once and still stand."""
    rendered = select(Evaluation.version_id).where(Evaluation.state == "succeeded")
    rows = (
        select(Asset, Version)
        .join(Version, col(Version.asset_id) == Asset.id)
        .where(col(Version.id).in_(rendered), col(Asset.archived_at).is_(None))
        .order_by(col(Asset.name), col(Version.number))
    )
    rows = rows.where(col(Version.stage).not_in(_OUT)) if everything else rows.where(Version.stage == _APPROVED)
    return [version_address(asset.name, version.number) for asset, version in session.exec(rows).all()]


def _sentinel(project: Project, address: str, pictures: int) -> _Sentinel:
    with project.read() as session:
        asset, version = find_version(session, address)
        finished = select(Evaluation).where(Evaluation.state == "succeeded").order_by(col(Evaluation.id).desc())
        before = _newest(session.exec(finished.where(Evaluation.version_id == version.id)).all())
        if before is None:
            raise NotFoundError(
                f"{address} was never rendered, so there is nothing to compare with.",
                hint=f"`assetforge render {address} --wait` renders it.",
            )
        same = finished.where(
            col(Evaluation.version_id).is_(None),
            Evaluation.asset_id == asset.id,
            Evaluation.suite_id == before.suite_id,
            Evaluation.base_model_id == before.base_model_id,
            Evaluation.renderer == before.renderer,
        )
        cells = [Cell.model_validate(cell) for cell in before.plan["cells"]]
        control = _control(session.exec(same).all(), before, cells)
        base = session.get_one(BaseModelRecord, before.base_model_id)
    chosen = sentinel_cells(cells, pictures, with_control=control is not None)
    if not chosen:
        raise NotFoundError(
            f"No picture of {address} was made with its LoRA.", hint=f"`assetforge render {address}` makes some."
        )
    controls = control_index(cells)
    wanted = {controls[cell.index] for cell in chosen}
    return _Sentinel(
        version=version,
        address=address,
        asset=asset.name,
        before=before,
        before_control=control,
        cells=chosen,
        # Under the index that they had then, which need not be that of a chosen cell.
        control_cells=tuple(cell for cell in control_cells(cells) if cell.index in wanted) if control else (),
        base=base,
    )


def _newest(rows: Sequence[Evaluation]) -> Evaluation | None:
    return next((row for row in rows if not row.plan.get(_MARK)), None)


def _control(rows: Sequence[Evaluation], before: Evaluation, cells: Sequence[Cell]) -> Evaluation | None:
    """The bare base's evaluation beside that of a version: of the same engine when there is one, else the newest."""
    wanted = [cell.model_dump(mode="json") for cell in control_cells(cells)]
    about = ("params", "settings", "executor", "device")
    fitting = [
        row
        for row in rows
        if not row.plan.get(_MARK)
        and row.plan["cells"] == wanted
        and all(row.plan[name] == before.plan[name] for name in about)
    ]
    return next((row for row in fitting if row.engine_id == before.engine_id), fitting[0] if fitting else None)


def _ask(project: Project, sentinel: _Sentinel, base: FileState | None, priority: int) -> int:
    """The row id of a check: settled when a file changed, else queued with its renders."""
    lora = lora_state(project, sentinel.version.weights)
    changed = not lora.intact or (base is not None and not base.intact)
    detail: dict[str, Any] = {
        "cells": [cell.index for cell in sentinel.cells],
        "files": {"base": asdict(base) if base is not None else None, "lora": asdict(lora)},
    }
    asset = get_asset(project, sentinel.asset)
    with project.write() as session:
        if changed:
            check = _row(session, sentinel, sentinel.before.id, None)
            check.detail = detail
            evidence = DriftEvidence(version=sentinel.address, base=sentinel.base.name, base_files=base, lora=lora)
            keep_finding(session, check, sentinel.address, judge_drift(evidence))
            session.flush()
            return row_id(check.id)
        suite = stored_suite(session, sentinel.before.suite_id)
        passes = _passes(sentinel, suite.digest)
        where = {"executor": sentinel.executor, "device": str(sentinel.before.plan["device"])}
        renders = queue_passes(session, asset, suite, passes, **where, priority=priority, fresh=True)
        check = _joined(session, sentinel, renders)
        check.outcome, check.detail = "queued", detail
        session.add(check)
        session.flush()
        return row_id(check.id)


def _row(session: Session, sentinel: _Sentinel, evaluation: int | None, control: int | None) -> DriftCheck:
    check = DriftCheck(
        version_id=row_id(sentinel.version.id),
        before_evaluation_id=row_id(sentinel.before.id),
        evaluation_id=row_id(evaluation),
        before_control_id=sentinel.before_control.id if control is not None and sentinel.before_control else None,
        control_id=control,
        actor=activity.current_actor(),
    )
    session.add(check)
    return check


def _joined(session: Session, sentinel: _Sentinel, renders: RenderRequest) -> DriftCheck:
    """The check that waits for these renders or failed with them, or a new one."""
    ids = [one.id for one in renders.evaluations]
    evaluation, control = ids[0], ids[1] if len(ids) > 1 else None
    open_check = select(DriftCheck).where(
        DriftCheck.version_id == sentinel.version.id,
        DriftCheck.before_evaluation_id == sentinel.before.id,
        DriftCheck.evaluation_id == evaluation,
        DriftCheck.control_id == control,
        col(DriftCheck.outcome).in_(("queued", "failed")),
    )
    return session.exec(open_check).first() or _row(session, sentinel, evaluation, control)


def _passes(sentinel: _Sentinel, suite: str) -> list[PlannedPass]:
    """The chosen cells of the version, and of the bare base where it was rendered."""
    before = sentinel.before
    entry = get_registry().renderer(before.renderer)
    spec = entry.spec
    engine = EngineRef(
        kind="renderer",
        name=spec.name,
        version=spec.version,
        plugin=entry.plugin,
        plugin_version=entry.plugin_version,
        load=spec.load,
    )
    # A parameter that a newer renderer has no more cannot be set; one that is new takes its default.
    kept = {name: value for name, value in before.plan["params"].items() if name in spec.params.model_fields}
    params = validate_params(spec.params, kept, what=f"renderer {spec.name}").model_dump(mode="json")
    base = recorded_base(sentinel.base)

    def planned(cells: Sequence[Cell], subject: str, version_id: int | None, weights: str) -> PlannedPass:
        plan = {
            **before.plan,
            "engine": engine.model_dump(mode="json"),
            "params": params,
            "lora": {"name": subject, "sha256": weights} if weights else None,
            "cells": [cell.model_dump(mode="json") for cell in cells],
            _MARK: True,
        }
        key = plan_digest(
            weights=weights,
            suite_digest=suite,
            cells=cells,
            base_digest=base.digest,
            engine=engine.model_dump(mode="json", exclude={"load"}),
            params=params,
            executor=plan["executor"],
            device=plan["device"],
        )
        # Never the identity of an evaluation that comparisons use, also where the suite is as small as a check.
        key = digest({"schema": "assetforge/drift-plan/1", "plan": key})
        return PlannedPass(digest=key, plan=plan, subject=subject, version_id=version_id, base=base, renderer=entry)

    passes = [planned(sentinel.cells, sentinel.address, sentinel.version.id, sentinel.version.weights)]
    if sentinel.control_cells:
        passes.append(planned(sentinel.control_cells, f"base {base.name}", None, ""))
    return passes


def _info(session: Session, row: DriftCheck) -> DriftInfo:
    version = session.get_one(Version, row.version_id)
    asset = session.get_one(Asset, version.asset_id)
    ids = {row.evaluation_id, row.control_id} - {None, row.before_evaluation_id, row.before_control_id}
    rows = session.exec(select(Evaluation).where(col(Evaluation.id).in_(ids))).all()
    jobs = session.exec(
        select(Job.id).where(
            col(Job.id).in_([one.job_id for one in rows if one.job_id is not None and one.state != "succeeded"]),
            col(Job.state).in_(OPEN_JOB_STATES),
        )
    ).all()
    return DriftInfo(
        id=row_id(row.id),
        version=version_address(asset.name, version.number),
        outcome=row.outcome,
        statement=row.detail.get("finding", {}).get("statement", ""),
        pictures=sum(len(one.plan["cells"]) for one in rows),
        jobs=tuple(one for one in jobs if one is not None),
        detail=row.detail,
        actor=row.actor,
        at=row.at,
    )
