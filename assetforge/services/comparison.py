"""Comparisons: a version against a baseline and the bare base, cell by cell, scored by the metrics that fit the asset.

Asking for a comparison writes down everything that has to happen. Renders that are missing are queued; when the last of them is registered, the score job is
queued in the same transaction (:mod:`assetforge.services.score_queue`). So whoever asked may go away; the answer will be in the database.
"""

import gzip
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from assetforge.api.events import ComparisonReady
from assetforge.api.job import WITHIN, Cell, EngineRef, JobSpec, Resources, Result, ScoreImage, ScorePayload
from assetforge.config import load_settings
from assetforge.db.models import Alias, Asset, BaseModelRecord, Version
from assetforge.db.models_jobs import Comparison, Evaluation, Job
from assetforge.domain.bundle import BundlePlan, InputFile
from assetforge.domain.canonical import canonical_json, digest
from assetforge.domain.evidence import seed_pairs
from assetforge.domain.names import version_address
from assetforge.domain.regression import PAIRS, image_key
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.domain.suite import control_index, without_trigger
from assetforge.errors import JobError, UsageError
from assetforge.services import activity
from assetforge.services.comparison_plan import (
    HeldOut,
    asset_metrics,
    diversity_metric,
    held_out_references,
    metrics_for_base,
    other_references,
    ready_metrics,
    training_pictures,
)
from assetforge.services.comparison_records import (
    ComparisonInfo,
    comparison_info,
    comparison_row,
    get_comparison,
    last_round,
    list_comparisons,
    read_scores,
    render_hashes,
)
from assetforge.services.comparison_summary import (
    Gathered,
    gather,
    other_key,
    reference_key,
    score_rows,
    summarise,
    training_key,
)
from assetforge.services.extension import can_be_extended, extend
from assetforge.services.pictures import framed_png
from assetforge.services.projects import Project
from assetforge.services.releases import APPROVED
from assetforge.services.rendering import RenderRequest, request_renders
from assetforge.services.results import verify_outputs
from assetforge.services.score_queue import continue_comparisons
from assetforge.services.versions import find_version, row_id, standing

__all__ = [
    "ComparisonInfo",
    "close_job",
    "compared_sides",
    "get_comparison",
    "list_comparisons",
    "plan_job",
    "read_scores",
    "register_result",
    "request_comparison",
]

SCORES_SCHEMA = "assetforge/scores/1"


def request_comparison(
    project: Project,
    new: str,
    base: str = "",
    *,
    suite: str = "",
    metrics: Sequence[str] = (),
    quick: bool = False,
    base_model: str = "",
    renderer: str = "",
    executor: str = "",
    device: str = "auto",
    priority: int = 0,
    fresh: bool = False,
    second_look: bool = True,
) -> ComparisonInfo:
    """Have a version compared; what was rendered or scored already is not done again.

    A verdict that comes out inconclusive has the suite's reserve of prompts rendered by itself, see :mod:`assetforge.services.extension`.

    Args:
        project: The film.
        new: The version under test.
        base: The baseline; by default the approved version, else the version before that is neither rejected nor retired, else none but the bare base.
        suite: Name of the suite; by default the asset's.
        metrics: Only these metrics; by default those in the asset's setting ``metrics``, else all that fit its type.
        quick: Only the quick size of the suite.
        base_model: Base model for imported versions.
        renderer: Name of the renderer.
        executor: Where; by default the film's.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        priority: Higher goes first.
        fresh: Render and score everything anew, so that one engine made it all.
        second_look: Whether an inconclusive verdict may be asked for again over more prompts.

    Raises:
        NotFoundError: No such version, suite, metric, renderer or executor.
        UsageError: The two are one version or of different assets, or something does not fit.
    """
    where = executor or project.config.defaults.executor
    with project.read() as session:
        asset, version, baseline = compared_sides(session, new, base)
        references = held_out_references(session, asset, version, baseline)
    addresses = [version_address(asset.name, one.number) for one in (version, baseline) if one is not None]
    settings = load_settings(project.config).regression
    chosen = asset_metrics(asset, settings, metrics)
    renders = request_renders(
        project,
        addresses,
        suite=suite,
        quick=quick,
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
        ready, unready = ready_metrics(chosen)
        plan = {
            "metrics": ready,
            "unready": unready,
            "references": _references_json(references),
            "training": [list(item) for item in training_pictures(session, version)],
            "others": [list(item) for item in other_references(session, asset, ready)],
            "diversity": diversity_metric(ready),
            "looks": 2
            if second_look and baseline is not None and can_be_extended(session, evaluation, settings)
            else 1,
            "executor": where,
            "device": device,
        }
    with project.write() as session:
        row = _comparison_row(session, asset, version, baseline, renders, plan)
        session.flush()
        continue_comparisons(session, [row.evaluation_id])
        session.flush()
        asked = row_id(row.id)
    # What was compared before may wait for a second look that came to nothing.
    extend(project, asked)
    with project.read() as session:
        return comparison_info(session, last_round(session, comparison_row(session, asked)))


def compared_sides(session: Session, new: str, base: str = "") -> tuple[Asset, Version, Version | None]:
    """The asset, the version under test and its baseline, as :func:`request_comparison` chooses it when none is named.

    Raises:
        NotFoundError: There is no such version.
        UsageError: The two are one version or of different assets.
    """
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
    earlier = of_asset.where(Version.number < version.number, Version.stage != "rejected", standing())
    previous = earlier.order_by(col(Version.number).desc())
    return asset, version, approved or session.exec(previous).first()


def _references_json(references: HeldOut) -> dict[str, Any]:
    return {
        "dataset": references.dataset,
        "items": [list(item) for item in references.items],
        "leaked": references.leaked,
        "certain": references.certain,
        "captions": dict(references.captions),
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
    for row in session.exec(same.where(col(Comparison.extends_id).is_(None)).order_by(col(Comparison.id).desc())).all():
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
    """The bundle of a score job: pictures by hash, references framed like the renders, and which metrics to run.

    Raises:
        JobError: The job or its comparison is gone.
        StorageError: A reference cannot be read.
    """
    with project.read() as session:
        job, row = _job_and_comparison(session, job_id)
        hashes = render_hashes(session, row, own=True)
        evaluation = session.get_one(Evaluation, row.evaluation_id)
        asset = session.get_one(Asset, row.asset_id)
    plan = row.summary["plan"]
    cells = [Cell.model_validate(cell) for cell in evaluation.plan["cells"]]
    prompts = {cell.index: _words(cell, asset.trigger) for cell in cells}
    renders = [
        _Input(key, f"inputs/renders/{sha256}.png", sha256, prompt=prompts.get(int(key.rpartition("/")[2]), ""))
        for key, sha256 in hashes.items()
    ]
    inputs = {one.file: InputFile(path=one.file, sha256=one.sha256) for one in renders}
    framed = _framed(project, plan, evaluation.plan["settings"], asset.trigger)
    inputs |= {one.file: InputFile(path=one.file, data=one.data) for one in framed}
    payload = ScorePayload(
        metrics=tuple(EngineRef.model_validate(metric["engine"]) for metric in plan["metrics"]),
        params_list=tuple(metric["params"] for metric in plan["metrics"]),
        images=tuple(
            ScoreImage(key=one.key, file=one.file, sha256=one.sha256, prompt=one.prompt) for one in (*renders, *framed)
        ),
        pairs=tuple(dict.fromkeys(_pairs(cells, hashes))),
        sides=tuple(_looks_at(metric, plan.get("diversity", "")) for metric in plan["metrics"]),
    )
    spec = JobSpec(
        project=project.id,
        job=job_id,
        kind="score",
        resources=Resources(device=job.device),
        payload=payload.model_dump(mode="json"),
    )
    return BundlePlan(spec=spec, inputs=tuple(inputs.values()))


@dataclass(frozen=True, slots=True)
class _Input:
    """A picture of a score job."""

    key: str
    file: str
    sha256: str
    data: bytes = b""
    prompt: str = ""


def _framed(project: Project, plan: Mapping[str, Any], settings: Mapping[str, Any], trigger: str) -> list[_Input]:
    """References at the size of the renders, each under the key of what it is there for."""
    wanted = {
        key(sha256): (sha256, crop)
        for key, items in (
            (reference_key, plan["references"]["items"]),
            (training_key, plan.get("training", ())),
            (other_key, plan.get("others", ())),
        )
        for sha256, crop in items
    }
    captions = plan["references"].get("captions", {})
    found = []
    for key, (sha256, crop) in wanted.items():
        data = framed_png(project.blobs.path(sha256), crop, settings["width"], settings["height"])
        file = f"inputs/references/{key.replace('/', '-')}.png"
        # Held-out references say how well a prompt can be followed with this asset in the picture.
        prompt = without_trigger(captions.get(sha256, ""), trigger) if key == reference_key(sha256) else ""
        found.append(_Input(key, file, hashlib.sha256(data).hexdigest(), data, prompt))
    return found


def _words(cell: Cell, trigger: str) -> str:
    """What a prompt says to a metric, which knows none of the film's trigger words."""
    prompt = without_trigger(cell.prompt, trigger)
    return without_trigger(prompt, cell.beside.trigger) if cell.beside is not None else prompt


def _looks_at(metric: Mapping[str, Any], diversity: str) -> tuple[str, ...]:
    """Which pictures a metric has something to say about."""
    versions = ("new", "baseline", "control")
    if metric["kind"] == "prompt":
        return (*versions, "ref")
    if metric["engine"]["name"] == diversity:
        return (*versions, WITHIN)
    if metric["kind"] != "embedding":
        return versions
    if metric.get("copy_limit") is not None:
        return ("new", "baseline", "train")
    return (*versions, "ref", "other")


def _pairs(cells: Sequence[Cell], hashes: Mapping[str, str]) -> list[tuple[str, str]]:
    """The sides of each cell, and the seeds of each prompt."""
    pairs = []
    for index, control in control_index(cells).items():
        keys = {
            side: image_key(side, control if side == "control" else index) for side in ("new", "baseline", "control")
        }
        pairs += [(keys[a], keys[b]) for a, b in PAIRS if keys[a] in hashes and keys[b] in hashes]
    seeds = [
        (image_key(side, first), image_key(side, second))
        for side in ("new", "baseline")
        for first, second in seed_pairs(cells)
    ]
    return pairs + [(first, second) for first, second in seeds if first in hashes and second in hashes]


def register_result(project: Project, job_id: int, result: Result, workdir: Path) -> None:
    """Turn scores into figures and a verdict. May be called again for the same result; the second time changes nothing.

    Raises:
        JobError: A metric's scores are missing, or an output is not what the result says.
    """
    verify_outputs(result, workdir)
    with project.read() as session:
        _job, row = _job_and_comparison(session, job_id)
        given = gather(session, row)
    summary = None if given.info.state == "succeeded" else _keep_figures(project, row, given, result)
    # Also when it was registered before: whoever did may have been killed in between.
    extended = extend(project, given.info.id)
    if summary is not None and not extended:
        activity.publish(project, _event(project, given.info, summary))


def _keep_figures(project: Project, row: Comparison, given: Gathered, result: Result) -> dict[str, Any]:
    plan = given.plan
    missing = [metric["engine"]["name"] for metric in plan["metrics"] if metric["engine"]["name"] not in result.scores]
    if missing:
        raise JobError(
            f"Job {result.job} says it is done and has no scores of {', '.join(missing)}.",
            hint="The metric is at fault; see `assetforge jobs logs`.",
        )
    before = read_scores(project, row.extends_id)["raw"] if row.extends_id is not None else {}
    raw = {name: {**before.get(name, {}), **_finite(values)} for name, values in result.scores.items()}
    rows = score_rows(given, raw)
    summary = summarise(given, rows, raw)
    document = {
        "schema": SCORES_SCHEMA,
        "metrics": plan["metrics"],
        "references": plan["references"],
        "cells": [cell.as_json() for cell in rows],
        "raw": raw,
    }
    scores = project.blobs.put_bytes(gzip.compress(canonical_json(document), mtime=0))
    info = given.info
    with project.write() as session:
        row = comparison_row(session, info.id)
        row.state, row.scores = "succeeded", scores
        row.summary = {**summary, "plan": plan, "plan_digest": digest(plan)}
        session.add(row)
        activity.record(
            session, "supervisor", "compared", info.version, baseline=info.baseline, sentence=summary["sentence"]
        )
    return summary


def _finite(values: Mapping[str, float | list[float]]) -> dict[str, Any]:
    """JSON has no word for a value that is not a number; such a score is written as missing."""

    def clean(value: float | list[float]) -> Any:
        if isinstance(value, list):
            return value if all(map(math.isfinite, value)) else None
        return value if math.isfinite(value) else None

    return {key: clean(value) for key, value in values.items()}


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
        verdict=(summary["verdict"] or {}).get("outcome", ""),
        headline=(summary["verdict"] or {}).get("headline", ""),
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
