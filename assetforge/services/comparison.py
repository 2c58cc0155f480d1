"""Comparisons: a version against a baseline and the bare base, cell by cell, scored by the metrics that fit the asset.

Asking for a comparison writes down everything that has to happen. Renders that are missing are queued; when the last of them is registered, the score job is
queued in the same transaction (:mod:`assetforge.services.score_queue`). So whoever asked may go away; the answer will be in the database.
"""

import gzip
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from assetforge.api.events import ComparisonReady
from assetforge.api.job import Cell, EngineRef, JobSpec, Resources, Result, ScoreImage, ScorePayload
from assetforge.db.models import Alias, Asset, BaseModelRecord, Version
from assetforge.db.models_jobs import Comparison, Engine, Evaluation, Job, Suite
from assetforge.domain.bundle import BundlePlan, InputFile
from assetforge.domain.canonical import canonical_json, digest
from assetforge.domain.names import version_address
from assetforge.domain.regression import (
    PAIRS,
    CellScores,
    ceiling,
    cell_scores,
    find_flags,
    image_key,
    pixel_means,
    similarity_figures,
)
from assetforge.domain.regression_text import sentence
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.domain.suite import control_index
from assetforge.errors import JobError, UsageError
from assetforge.services import activity
from assetforge.services.comparison_plan import (
    HeldOut,
    chosen_metrics,
    held_out_references,
    metric_plan,
    metrics_for_base,
    primary_metric,
)
from assetforge.services.comparison_records import (
    ComparisonInfo,
    comparison_info,
    comparison_row,
    get_comparison,
    list_comparisons,
    read_scores,
    render_hashes,
)
from assetforge.services.pictures import framed_png
from assetforge.services.projects import Project
from assetforge.services.releases import APPROVED
from assetforge.services.rendering import RenderRequest, request_renders
from assetforge.services.results import verify_outputs
from assetforge.services.score_queue import continue_comparisons
from assetforge.services.versions import find_version, row_id

__all__ = [
    "ComparisonInfo",
    "close_job",
    "get_comparison",
    "list_comparisons",
    "plan_job",
    "read_scores",
    "register_result",
    "request_comparison",
]

SCORES_SCHEMA = "assetforge/scores/1"
SUMMARY_SCHEMA = "assetforge/comparison-summary/1"


def request_comparison(
    project: Project,
    new: str,
    base: str = "",
    *,
    suite: str = "",
    metrics: Sequence[str] = (),
    base_model: str = "",
    renderer: str = "",
    executor: str = "",
    device: str = "auto",
    priority: int = 0,
    fresh: bool = False,
) -> ComparisonInfo:
    """Have a version compared; what was rendered or scored already is not done again.

    Args:
        project: The film.
        new: The version under test.
        base: The baseline; by default the approved version, else the version before, else none but the bare base.
        suite: Name of the suite; by default the asset's.
        metrics: Only these metrics; by default those in the asset's setting ``metrics``, else all that fit its type.
        base_model: Base model for imported versions.
        renderer: Name of the renderer.
        executor: Where; by default the film's.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        priority: Higher goes first.
        fresh: Render and score everything anew, so that one engine made it all.

    Raises:
        NotFoundError: No such version, suite, metric, renderer or executor.
        UsageError: The two are one version or of different assets, or something does not fit.
    """
    where = executor or project.config.defaults.executor
    with project.read() as session:
        asset, version, baseline = _sides(session, new, base)
        references = held_out_references(session, asset, version, baseline)
    addresses = [version_address(asset.name, one.number) for one in (version, baseline) if one is not None]
    chosen = metric_plan(asset.type, metrics or chosen_metrics(asset))
    renders = request_renders(
        project,
        addresses,
        suite=suite,
        base=base_model,
        renderer=renderer,
        executor=where,
        device=device,
        priority=priority,
        fresh=fresh,
    )
    with project.read() as session:
        evaluation = session.get_one(Evaluation, renders.evaluations[0].id)
        chosen = metrics_for_base(chosen, session.get_one(BaseModelRecord, evaluation.base_model_id).name)
    plan = {"metrics": chosen, "references": _references_json(references), "executor": where, "device": device}
    with project.write() as session:
        row = _comparison_row(session, asset, version, baseline, renders, plan)
        session.flush()
        continue_comparisons(session, [row.evaluation_id])
        session.flush()
        return comparison_info(session, row)


def _sides(session: Session, new: str, base: str) -> tuple[Asset, Version, Version | None]:
    asset, version = find_version(session, new)
    if base:
        other_asset, baseline = find_version(session, base)
        if other_asset.id != asset.id:
            raise UsageError(
                f"{new} and {base} are versions of different assets.", hint="Compare versions of one asset."
            )
        if baseline.id == version.id:
            raise UsageError(f"{new} and {base} are the same version.", hint="Name two, or leave the baseline out.")
        return asset, version, baseline
    of_asset = select(Version).where(Version.asset_id == asset.id, Version.id != version.id)
    approved = session.exec(
        of_asset.join(Alias, col(Alias.version_id) == Version.id).where(Alias.name == APPROVED)
    ).first()
    previous = of_asset.where(Version.number < version.number, Version.stage != "rejected").order_by(
        col(Version.number).desc()
    )
    return asset, version, approved or session.exec(previous).first()


def _references_json(references: HeldOut) -> dict[str, Any]:
    return {
        "dataset": references.dataset,
        "items": [list(item) for item in references.items],
        "leaked": references.leaked,
        "certain": references.certain,
    }


def _comparison_row(
    session: Session,
    asset: Asset,
    version: Version,
    baseline: Version | None,
    renders: RenderRequest,
    plan: dict[str, Any],
) -> Comparison:
    """The comparison of these evaluations by this plan: the one that exists, put back into the queue when it came to nothing, or a new one."""
    address = version_address(asset.name, version.number)
    passes = list(renders.evaluations)
    place = next(index for index, one in enumerate(passes) if one.subject == address)
    control = next((one for one in passes[place:] if one.control), None) or next(one for one in passes if one.control)
    before = renders.of(version_address(asset.name, baseline.number)).id if baseline is not None else None
    key = digest(plan)
    same = select(Comparison).where(
        Comparison.version_id == version.id,
        Comparison.evaluation_id == passes[place].id,
        Comparison.baseline_evaluation_id == before,
        Comparison.control_evaluation_id == control.id,
    )
    for row in session.exec(same.order_by(col(Comparison.id).desc())).all():
        if row.summary.get("plan_digest") == key:
            job = session.get(Job, row.job_id) if row.job_id is not None else None
            stuck = row.state == "queued" and job is not None and job.state not in (*OPEN_JOB_STATES, "succeeded")
            if stuck or row.state not in ("queued", "succeeded"):
                row.state, row.job_id, row.summary = "queued", None, {"plan": plan, "plan_digest": key}
                session.add(row)
            return row
    row = Comparison(
        asset_id=row_id(asset.id),
        version_id=row_id(version.id),
        baseline_id=baseline.id if baseline is not None else None,
        evaluation_id=passes[place].id,
        baseline_evaluation_id=before,
        control_evaluation_id=control.id,
        summary={"plan": plan, "plan_digest": key},
    )
    session.add(row)
    return row


def plan_job(project: Project, job_id: int) -> BundlePlan:
    """The bundle of a score job: pictures by hash, held-out references framed like the renders, and which metrics to run.

    Raises:
        JobError: The job or its comparison is gone.
        StorageError: A reference cannot be read.
    """
    with project.read() as session:
        job, row = _job_and_comparison(session, job_id)
        hashes = render_hashes(session, row)
        evaluation = session.get_one(Evaluation, row.evaluation_id)
    settings = evaluation.plan["settings"]
    plan = row.summary["plan"]
    controls = control_index([Cell.model_validate(cell) for cell in evaluation.plan["cells"]])
    images = [ScoreImage(key=key, file=f"inputs/renders/{sha256}.png") for key, sha256 in hashes.items()]
    inputs = {image.file: InputFile(path=image.file, sha256=hashes[image.key]) for image in images}
    for sha256, crop in plan["references"]["items"]:
        file = f"inputs/references/{sha256}.png"
        images.append(ScoreImage(key=_reference_key(sha256), file=file))
        inputs[file] = InputFile(
            path=file, data=framed_png(project.blobs.path(sha256), crop, settings["width"], settings["height"])
        )
    payload = ScorePayload(
        metrics=tuple(EngineRef.model_validate(metric["engine"]) for metric in plan["metrics"]),
        params_list=tuple(metric["params"] for metric in plan["metrics"]),
        images=tuple(images),
        pairs=tuple(dict.fromkeys(_pairs(controls, hashes))),
    )
    spec = JobSpec(
        project=project.id,
        job=job_id,
        kind="score",
        resources=Resources(device=job.device),
        payload=payload.model_dump(mode="json"),
    )
    return BundlePlan(spec=spec, inputs=tuple(inputs.values()))


def _pairs(controls: Mapping[int, int], hashes: Mapping[str, str]) -> list[tuple[str, str]]:
    pairs = []
    for index, control in controls.items():
        keys = {
            side: image_key(side, control if side == "control" else index) for side in ("new", "baseline", "control")
        }
        pairs += [(keys[a], keys[b]) for a, b in PAIRS if keys[a] in hashes and keys[b] in hashes]
    return pairs


def _reference_key(sha256: str) -> str:
    return f"ref/{sha256}"


def register_result(project: Project, job_id: int, result: Result, workdir: Path) -> None:
    """Turn scores into the figures of a comparison. May be called again for the same result; the second time changes nothing.

    Raises:
        JobError: A metric's scores are missing, or an output is not what the result says.
    """
    verify_outputs(result, workdir)
    with project.read() as session:
        _job, row = _job_and_comparison(session, job_id)
        if row.state == "succeeded":
            return
        info = comparison_info(session, row)
        evaluation = session.get_one(Evaluation, row.evaluation_id)
        hashes = render_hashes(session, row)
        engines = _engines(session, row)
        same_base = _same_base(session, row)
        suite = session.get_one(Suite, evaluation.suite_id)
    plan = row.summary["plan"]
    kinds = {metric["engine"]["name"]: metric["kind"] for metric in plan["metrics"]}
    missing = [name for name in kinds if name not in result.scores]
    if missing:
        raise JobError(
            f"Job {job_id} says it is done and has no scores of {', '.join(missing)}.",
            hint="The metric is at fault; see `assetforge jobs logs`.",
        )
    cells = [Cell.model_validate(cell) for cell in evaluation.plan["cells"]]
    sides = ["new", *(["baseline"] if row.baseline_evaluation_id is not None else []), "control"]
    references = [_reference_key(sha256) for sha256, _crop in plan["references"]["items"]]
    rows = cell_scores(
        cells, control_index(cells), sides, result.scores, kinds=kinds, references=references, hashes=hashes
    )
    summary = _summary(info, suite, rows, result, plan, engines, same_base, references)
    document = {
        "schema": SCORES_SCHEMA,
        "metrics": plan["metrics"],
        "references": plan["references"],
        "cells": [cell.as_json() for cell in rows],
        "raw": {name: _finite(values) for name, values in result.scores.items()},
    }
    scores = project.blobs.put_bytes(gzip.compress(canonical_json(document), mtime=0))
    with project.write() as session:
        row = comparison_row(session, info.id)
        row.state, row.scores = "succeeded", scores
        row.summary = {**summary, "plan": plan, "plan_digest": digest(plan)}
        session.add(row)
        activity.record(
            session, "supervisor", "compared", info.version, baseline=info.baseline, sentence=summary["sentence"]
        )
    activity.publish(project, _event(project, info, summary))


def _finite(values: Mapping[str, float | list[float]]) -> dict[str, Any]:
    """JSON has no word for a value that is not a number; such a score is written as missing."""

    def clean(value: float | list[float]) -> Any:
        if isinstance(value, list):
            return value if all(map(math.isfinite, value)) else None
        return value if math.isfinite(value) else None

    return {key: clean(value) for key, value in values.items()}


def _same_base(session: Session, row: Comparison) -> bool:
    """Whether both versions were rendered on one base model."""
    if row.baseline_evaluation_id is None:
        return True
    new, baseline = (session.get_one(Evaluation, one) for one in (row.evaluation_id, row.baseline_evaluation_id))
    return new.base_model_id == baseline.base_model_id


def _engines(session: Session, row: Comparison) -> dict[str, str]:
    """Digest of the engine per side."""
    sides = {"new": row.evaluation_id, "baseline": row.baseline_evaluation_id, "control": row.control_evaluation_id}
    found: dict[str, str] = {}
    for side, evaluation_id in sides.items():
        evaluation = session.get(Evaluation, evaluation_id) if evaluation_id is not None else None
        if evaluation is not None and evaluation.engine_id is not None:
            found[side] = session.get_one(Engine, evaluation.engine_id).digest
    return found


def _summary(
    info: ComparisonInfo,
    suite: Suite,
    rows: Sequence[CellScores],
    result: Result,
    plan: Mapping[str, Any],
    engines: Mapping[str, str],
    same_base: bool,
    references: Sequence[str],
) -> dict[str, Any]:
    primary = primary_metric(plan["metrics"])
    embeddings = [metric["engine"]["name"] for metric in plan["metrics"] if metric["kind"] == "embedding"]
    figures = {
        name: {**similarity_figures(rows, name), "ceiling": ceiling(result.scores, name, references)}
        for name in embeddings
    }
    summary: dict[str, Any] = {
        "schema": SUMMARY_SCHEMA,
        "new": info.version,
        "baseline": info.baseline,
        "suite": {"name": suite.name, "digest": suite.digest},
        "primary": primary,
        "metrics": [
            {"name": metric["engine"]["name"], **{key: metric[key] for key in ("title", "kind", "direction", "gates")}}
            for metric in plan["metrics"]
        ],
        "engines": {"equal": len(set(engines.values())) <= 1, **engines},
        "same_base": same_base,
        "references": {
            "dataset": plan["references"]["dataset"],
            "used": len(references),
            "leaked": plan["references"]["leaked"],
        },
        "counts": {
            "cells": len(rows),
            "prompts": len({(row.cell.block, row.cell.prompt) for row in rows}),
            "strength_zero": sum(row.cell.strength == 0 for row in rows),
            "strength_zero_identical": sum(row.cell.strength == 0 and row.identical["new|control"] for row in rows),
            "identical_to_baseline": sum(row.identical.get("new|baseline", False) for row in rows),
        },
        "verdict_inputs": figures,
        "pixels": pixel_means(rows),
    }
    summary["flags"] = [*_conditions(summary, plan), *find_flags(rows)]
    summary["sentence"] = sentence(summary)
    return summary


def _conditions(summary: Mapping[str, Any], plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What limits the figures as a whole."""
    found = []
    if not summary["engines"]["equal"]:
        found.append(
            (
                "engines",
                "The pictures were rendered by different engines; differences may come from there. Compare again with --fresh to render all of them in one place.",
            )
        )
    if not summary["same_base"]:
        found.append(
            (
                "bases",
                "The two versions belong on different base models; the change between them is not the LoRA's alone.",
            )
        )
    if not summary["primary"]:
        found.append(
            (
                "identity-not-measured",
                "No installed metric can tell whether the asset looks like itself; pixel metrics only show that something changed.",
            )
        )
    elif not summary["references"]["used"]:
        found.append(
            (
                "no-held-out",
                "No reference is held out of training, so similarity has nothing to be measured against. Freeze a dataset with a held-out split.",
            )
        )
    if summary["references"]["leaked"]:
        found.append(
            (
                "leaked",
                f"{summary['references']['leaked']} held-out references were left out: the baseline was trained on them.",
            )
        )
    if summary["references"]["used"] and not plan["references"]["certain"]:
        found.append(
            (
                "training-unknown",
                "The version was imported: nobody knows whether its training saw the references it is judged by.",
            )
        )
    if summary["baseline"] and summary["counts"]["identical_to_baseline"] == summary["counts"]["cells"]:
        found.append(("identical", "Every picture equals the baseline's, byte for byte."))
    return [{"code": code, "cells": [], "message": message} for code, message in found]


def _event(project: Project, info: ComparisonInfo, summary: Mapping[str, Any]) -> ComparisonReady:
    figures = summary["verdict_inputs"].get(summary["primary"], {}).get("overall", {})
    values = {
        "delta": figures.get("delta"),
        "delta_to_control": figures.get("delta_to_control"),
        "similarity": figures.get("similarity", {}).get("new"),
    }
    return ComparisonReady(
        project=project.root,
        at=datetime.now(UTC),
        actor="supervisor",
        version=info.version,
        baseline=info.baseline,
        summary={key: value for key, value in values.items() if value is not None},
    )


def close_job(project: Project, job_id: int, state: str, error: str) -> None:
    """Write down that scoring failed, was cancelled or was lost; asking for the comparison again queues it anew."""
    with project.write() as session:
        _job, row = _job_and_comparison(session, job_id)
        if row.state == "succeeded":
            return
        row.state = state
        row.summary = {**row.summary, "error": error}
        session.add(row)
        activity.record(session, "supervisor", state, f"comparison {row.id}", error=error)


def _job_and_comparison(session: Session, job_id: int) -> tuple[Job, Comparison]:
    job = session.get(Job, job_id)
    row = session.get(Comparison, job.payload.get("comparison")) if job else None
    if job is None or row is None:
        raise JobError(
            f"Job {job_id} names no comparison any more.", hint="`assetforge jobs list` shows what there is."
        )
    return job, row
