"""The past of an asset's versions: what each came from, what verdicts said of it, who decided what and when; and what a name meant at a moment."""

from dataclasses import dataclass
from datetime import date, datetime, time

from sqlalchemy.orm import aliased
from sqlmodel import col, select

from assetforge.db.models import Version
from assetforge.db.models_jobs import Comparison, Evaluation
from assetforge.domain.names import version_address
from assetforge.errors import UsageError
from assetforge.services.assets import find_asset
from assetforge.services.projects import Project
from assetforge.services.releases import REJECTED, AliasEntry, alias_log
from assetforge.services.versions import VersionInfo, list_versions, row_id

__all__ = ["Judgement", "VersionPast", "aliases_at", "read_moment", "version_history"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A comparison of a version, in a line.

    Attributes:
        comparison: Its row id.
        baseline: Address of the baseline; empty for the bare base.
        suite: Name of the suite.
        state: How far it is.
        outcome: Of the verdict; empty without one.
        sentence: The verdict, or what the figures say without one; empty until it is finished.
        at: When it was asked for, in UTC.
    """

    comparison: int
    baseline: str
    suite: str
    state: str
    outcome: str
    sentence: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPast:
    """One version with everything that was found and decided about it.

    Attributes:
        version: The version, with its run, dataset and stage.
        judgements: Its comparisons, oldest first.
        decisions: Moves of aliases to it, and reviews of it, oldest first.
    """

    version: VersionInfo
    judgements: tuple[Judgement, ...]
    decisions: tuple[AliasEntry, ...]


def version_history(project: Project, asset: str) -> list[VersionPast]:
    """Every version of an asset with its past, newest first.

    Raises:
        NotFoundError: There is no such asset.
    """
    versions = list_versions(project, asset)
    judgements = _judgements(project, asset)
    log = alias_log(project, asset)[::-1]
    return [
        VersionPast(
            version=version,
            judgements=tuple(judgements.get(version.id, ())),
            decisions=tuple(entry for entry in log if entry.version == version.address),
        )
        for version in versions
    ]


def _judgements(project: Project, asset: str) -> dict[int, list[Judgement]]:
    """Comparisons by the row id of the version under test."""
    found: dict[int, list[Judgement]] = {}
    baseline = aliased(Version)
    with project.read() as session:
        rows = session.execute(
            select(Comparison, Evaluation, baseline.number)
            .join(Evaluation, col(Evaluation.id) == Comparison.evaluation_id)
            .outerjoin(baseline, col(baseline.id) == Comparison.baseline_id)
            .where(Comparison.asset_id == find_asset(session, asset).id)
            .order_by(col(Comparison.id))
        ).all()
    for row, evaluation, number in rows:
        verdict = row.summary.get("verdict") or {}
        headline = verdict.get("headline")
        found.setdefault(row.version_id, []).append(
            Judgement(
                comparison=row_id(row.id),
                baseline=version_address(asset, number) if number is not None else "",
                suite=evaluation.plan["suite"]["name"],
                state=row.state,
                outcome=verdict.get("outcome", ""),
                sentence=f"{headline}." if headline else row.summary.get("sentence", ""),
                at=row.created_at,
            )
        )
    return found


def aliases_at(project: Project, asset: str, moment: datetime) -> dict[str, AliasEntry]:
    """What every alias of an asset named at a moment, by its name: the last move of each until then.

    Args:
        project: The film.
        asset: Name of the asset.
        moment: With its time zone.

    Raises:
        NotFoundError: There is no such asset.
    """
    found: dict[str, AliasEntry] = {}
    for entry in reversed(alias_log(project, asset)):
        if entry.at <= moment and entry.name != REJECTED:
            found[entry.name] = entry
    return dict(sorted(found.items()))


def read_moment(text: str) -> datetime:
    """The moment that people mean: a date is the end of that day, a time without a zone is local.

    Args:
        text: Such as ``2026-03-14`` or ``2026-03-14T12:00+01:00``.

    Raises:
        UsageError: It is neither.
    """
    try:
        return datetime.combine(date.fromisoformat(text), time.max).astimezone()
    except (ValueError, OverflowError, OSError):
        pass
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is not None else moment.astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"{text!r} is neither a date nor a time.", hint="Write it such as 2026-03-14, or 2026-03-14T12:00."
        ) from error
