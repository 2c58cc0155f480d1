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
    "last_round",
    "list_comparisons",
    "read_scores",
    "render_hashes",
    "rounds_of",
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
        extends: The inconclusive comparison that this one adds prompts to; ``None`` for one that stands by itself.
        extended_by: The comparison that adds prompts to this one; ``None`` when this is the last word.
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
    extends: int | None = None
    extended_by: int | None = None
    created_at: datetime

    @property
    def outcome(self) -> str:
        """``pass``, ``regressed`` or ``inconclusive``; empty without a verdict."""
        return str((self.summary.get("verdict") or {}).get("outcome", ""))


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
        extends=row.extends_id,
        extended_by=session.exec(select(Comparison.id).where(Comparison.extends_id == row.id)).first(),
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


def rounds_of(session: Session, row: Comparison) -> list[Comparison]:
    """The comparison that a chain of extensions began with, and each that extends the one before, up to the given one."""
    rounds = [row]
    while (before := rounds[0].extends_id) is not None:
        rounds.insert(0, session.get_one(Comparison, before))
    return rounds


def last_round(session: Session, row: Comparison) -> Comparison:
    """The comparison that has the last word: the given one, or what extends it."""
    while (after := session.exec(select(Comparison).where(Comparison.extends_id == row.id)).first()) is not None:
        row = after
    return row


def render_hashes(session: Session, row: Comparison, *, own: bool = False) -> dict[str, str]:
    """Hash of every render of a comparison and of those it extends, by the key it has in the score job.

    Args:
        session: Any session.
        row: The comparison.
        own: Only the renders that it added itself.
    """
    hashes: dict[str, str] = {}
    for one in [row] if own else rounds_of(session, row):
        sides = {"new": one.evaluation_id, "baseline": one.baseline_evaluation_id, "control": one.control_evaluation_id}
        for side, evaluation in sides.items():
            if evaluation is not None:
                renders = session.exec(
                    select(Render).where(Render.evaluation_id == evaluation).order_by(col(Render.cell_index))
                ).all()
                hashes |= {image_key(side, render.cell_index): render.sha256 for render in renders}
    return hashes
