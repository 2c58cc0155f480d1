"""Comparisons as they are kept: finding them, reading their scores, and which pictures they are about."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from assetforge.db.models import Asset, Version
from assetforge.db.models_jobs import Comparison, Evaluation, Job, Render
from assetforge.domain.names import version_address
from assetforge.domain.regression import image_key
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.errors import NotFoundError, StorageError, TryAgainError
from assetforge.services.projects import Project
from assetforge.services.versions import find_version, row_id

__all__ = [
    "ComparisonInfo",
    "comparison_info",
    "comparison_row",
    "get_comparison",
    "list_comparisons",
    "read_scores",
    "render_hashes",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonInfo:
    """A comparison, finished or not.

    Attributes:
        id: Row id.
        asset: Name of the asset.
        version: Address of the version under test.
        baseline: Address of the baseline; empty when there was none.
        suite: Name of the suite.
        state: ``queued`` until the scores are in, then ``succeeded``, or how it failed.
        jobs: Jobs that are still open, renders before scores.
        summary: The figures, once it succeeded; ``error`` in it says why it failed.
        scores: Hash of the file with all scores; empty until it succeeded.
        report: Path of the newest report, relative to the film; empty when none was written.
        created_at: When it was asked for.
    """

    id: int
    asset: str
    version: str
    baseline: str
    suite: str
    state: str
    jobs: tuple[int, ...]
    summary: Mapping[str, Any] = field(default_factory=dict)
    scores: str = ""
    report: str = ""
    created_at: datetime


def get_comparison(project: Project, comparison_id: int) -> ComparisonInfo:
    """A comparison by its row id.

    Raises:
        NotFoundError: There is none.
    """
    with project.read() as session:
        return comparison_info(session, comparison_row(session, comparison_id))


def list_comparisons(project: Project, version: str = "") -> list[ComparisonInfo]:
    """All comparisons of the film or of one version, newest first.

    Raises:
        NotFoundError: There is no such version.
    """
    with project.read() as session:
        query = select(Comparison).order_by(col(Comparison.id).desc())
        if version:
            _asset, row = find_version(session, version)
            query = query.where(Comparison.version_id == row.id)
        return [comparison_info(session, row) for row in session.exec(query).all()]


def read_scores(project: Project, comparison_id: int) -> dict[str, Any]:
    """All scores of a finished comparison: per cell, and as the metrics gave them.

    Raises:
        NotFoundError: There is no such comparison.
        TryAgainError: It is not finished.
        StorageError: The file of scores is damaged.
    """
    with project.read() as session:
        row = comparison_row(session, comparison_id)
    if not row.scores:
        raise TryAgainError(
            f"Comparison {comparison_id} has no scores yet ({row.state}).",
            hint="`assetforge jobs list` shows what it waits for.",
        )
    path = project.blobs.path(row.scores)
    try:
        scores: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError) as error:
        raise StorageError(
            f"The scores of comparison {comparison_id} cannot be read from {path}: {error}.",
            hint="Run `assetforge fsck`.",
        ) from error
    return scores


def comparison_info(session: Session, row: Comparison) -> ComparisonInfo:
    """A comparison as services and interfaces see it."""
    asset = session.get_one(Asset, row.asset_id)
    version = session.get_one(Version, row.version_id)
    baseline = session.get(Version, row.baseline_id) if row.baseline_id is not None else None
    evaluation = session.get_one(Evaluation, row.evaluation_id)
    wanted = [
        one for one in (row.evaluation_id, row.baseline_evaluation_id, row.control_evaluation_id) if one is not None
    ]
    rendering = session.exec(
        select(Evaluation.job_id).where(col(Evaluation.id).in_(wanted), Evaluation.state != "succeeded")
    ).all()
    job_ids = [*rendering, row.job_id]
    open_jobs = session.exec(
        select(Job.id).where(
            col(Job.id).in_([one for one in job_ids if one is not None]), col(Job.state).in_(OPEN_JOB_STATES)
        )
    ).all()
    return ComparisonInfo(
        id=row_id(row.id),
        asset=asset.name,
        version=version_address(asset.name, version.number),
        baseline=version_address(asset.name, baseline.number) if baseline else "",
        suite=evaluation.plan["suite"]["name"],
        state=row.state,
        jobs=tuple(dict.fromkeys(one for one in job_ids if one is not None and one in open_jobs)),
        summary=row.summary,
        scores=row.scores,
        report=row.report,
        created_at=row.created_at,
    )


def comparison_row(session: Session, comparison_id: int) -> Comparison:
    """The row of a comparison.

    Raises:
        NotFoundError: There is none.
    """
    row = session.get(Comparison, comparison_id)
    if row is None:
        raise NotFoundError(f"There is no comparison {comparison_id}.", hint="`assetforge compare NEW` makes one.")
    return row


def render_hashes(session: Session, row: Comparison) -> dict[str, str]:
    """Hash of every render, by the key it has in the score job."""
    sides = {"new": row.evaluation_id, "baseline": row.baseline_evaluation_id, "control": row.control_evaluation_id}
    hashes: dict[str, str] = {}
    for side, evaluation in sides.items():
        if evaluation is not None:
            renders = session.exec(
                select(Render).where(Render.evaluation_id == evaluation).order_by(col(Render.cell_index))
            ).all()
            hashes |= {image_key(side, render.cell_index): render.sha256 for render in renders}
    return hashes
