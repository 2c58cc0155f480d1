"""What is shown beside a picture: everything about one reference, and an asset at a glance."""

import statistics
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, func, or_, select

from assetforge.db.models import (
    Activity,
    Alias,
    Asset,
    BaseModelRecord,
    DatasetItemRow,
    DatasetVersion,
    Image,
    Reference,
    Run,
    Version,
)
from assetforge.domain.names import dataset_address, reference_address, version_address
from assetforge.domain.reference_findings import BASE_RESOLUTION, FindingContext, reference_findings
from assetforge.services.assets import find_asset
from assetforge.services.caption_words import token_counter
from assetforge.services.projects import Project
from assetforge.services.references import ReferenceInfo, find_reference, reference_info
from assetforge.services.releases import APPROVED
from assetforge.services.versions import standing

__all__ = ["AssetSummary", "ReferenceSummary", "summarise_asset", "summarise_reference"]

_MOST_ALIKE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSummary:
    """A reference with what is known around it.

    Attributes:
        reference: The reference.
        findings: What is worth a look, the gravest first; see :mod:`assetforge.domain.reference_findings`.
        alike: Addresses of near-duplicates, at most 20.
        datasets: Dataset versions that have it, newest first.
        trained: The caption as training reads it.
        tokens: How many tokens that is.
        tokens_exact: Counted with the tokenizer of the base; else estimated.
        token_limit: Tokens that are read; ``None`` where nothing is cut off.
    """

    reference: ReferenceInfo
    findings: tuple[str, ...]
    alike: tuple[str, ...]
    datasets: tuple[str, ...]
    trained: str
    tokens: int
    tokens_exact: bool
    token_limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetSummary:
    """An asset in figures.

    Attributes:
        active: References in use.
        excluded: References that were put aside.
        held_out: Of those in use, kept for scoring.
        without_caption: Of those in use.
        without_rights: Of those in use.
        dataset: The newest dataset version; empty when there is none.
        versions: How many versions there are.
        latest: The newest version that stands; empty when there is none.
        approved: The approved version; empty when none is.
        changed_at: When something was last done to it; ``None`` when nothing was.
    """

    active: int
    excluded: int
    held_out: int
    without_caption: int
    without_rights: int
    dataset: str
    versions: int
    latest: str
    approved: str
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class _LookedAt:
    caption: str
    rights: str
    width: int
    height: int
    sharpness: float
    brightness: float
    near_group: int | None
    transparent: bool


def summarise_reference(project: Project, address: str) -> ReferenceSummary:
    """Everything that is shown beside the picture of a reference.

    Raises:
        UsageError: The address is malformed, or fits several references.
        NotFoundError: It fits none.
    """
    with project.read() as session:
        asset, row = find_reference(session, address)
        image = session.get_one(Image, row.sha256)
        context = FindingContext(_median_sharpness(session, asset), _resolution(session, asset))
        found = reference_findings(_looked_at(row, image), context)
        alike = _alike(session, asset, row)
        numbers = session.exec(
            select(DatasetVersion.number)
            .join(DatasetItemRow, col(DatasetItemRow.dataset_id) == DatasetVersion.id)
            .where(DatasetVersion.asset_id == asset.id, DatasetItemRow.sha256 == row.sha256)
            .order_by(col(DatasetVersion.number).desc())
        ).all()
    counter = token_counter(project, asset.name)
    return ReferenceSummary(
        reference=reference_info(asset.name, row, image),
        findings=found,
        alike=alike,
        datasets=tuple(dataset_address(asset.name, number) for number in numbers),
        trained=counter.trained(row.caption),
        tokens=counter.count(row.caption),
        tokens_exact=counter.exact,
        token_limit=counter.limit,
    )


def summarise_asset(project: Project, name: str) -> AssetSummary:
    """An asset at a glance.

    Raises:
        NotFoundError: There is no such asset.
    """
    with project.read() as session:
        asset = find_asset(session, name)
        active, excluded, held, bare, unclear = _counts(session, asset)
        dataset = session.exec(select(func.max(DatasetVersion.number)).where(DatasetVersion.asset_id == asset.id)).one()
        versions = session.exec(select(func.count()).select_from(Version).where(Version.asset_id == asset.id)).one()
        latest = session.exec(select(func.max(Version.number)).where(Version.asset_id == asset.id, standing())).one()
        approved = session.exec(
            select(Version.number)
            .join(Alias, col(Alias.version_id) == Version.id)
            .where(Alias.asset_id == asset.id, Alias.name == APPROVED)
        ).first()
        changed = session.exec(
            select(Activity.at)
            .where(or_(Activity.subject == name, col(Activity.subject).startswith(f"{name}/", autoescape=True)))
            .order_by(col(Activity.id).desc())
            .limit(1)
        ).first()
    return AssetSummary(
        active=active,
        excluded=excluded,
        held_out=held,
        without_caption=bare,
        without_rights=unclear,
        dataset=dataset_address(name, dataset) if dataset else "",
        versions=versions,
        latest=version_address(name, latest) if latest else "",
        approved=version_address(name, approved) if approved else "",
        changed_at=changed,
    )


def _looked_at(row: Reference, image: Image) -> _LookedAt:
    return _LookedAt(
        caption=row.caption,
        rights=row.rights,
        width=image.width,
        height=image.height,
        sharpness=image.sharpness,
        brightness=image.brightness,
        near_group=row.near_group,
        transparent=image.has_alpha,
    )


def _median_sharpness(session: Session, asset: Asset) -> float:
    values = session.exec(
        select(Image.sharpness)
        .join(Reference, col(Reference.sha256) == Image.sha256)
        .where(Reference.asset_id == asset.id, Reference.state == "active")
    ).all()
    return statistics.median_high(values) if values else 0.0


def _resolution(session: Session, asset: Asset) -> int:
    """Native resolution of the base model that the asset was trained on last, else the film."""
    found = session.exec(
        select(BaseModelRecord.resolution)
        .join(Run, col(Run.base_model_id) == BaseModelRecord.id)
        .where(BaseModelRecord.resolution > 0)
        .order_by((col(Run.asset_id) == asset.id).desc(), col(Run.id).desc())
    ).first()
    return found or BASE_RESOLUTION


def _alike(session: Session, asset: Asset, row: Reference) -> tuple[str, ...]:
    if row.near_group is None:
        return ()
    others = session.exec(
        select(Reference.sha256)
        .where(Reference.asset_id == asset.id, Reference.near_group == row.near_group, Reference.id != row.id)
        .order_by(col(Reference.sha256))
        .limit(_MOST_ALIKE)
    ).all()
    return tuple(reference_address(asset.name, sha256) for sha256 in others)


def _counts(session: Session, asset: Asset) -> tuple[int, int, int, int, int]:
    """References in use, put aside; and of those in use held out, without caption, without rights."""
    query = """
        SELECT coalesce(sum(state = 'active'), 0), coalesce(sum(state = 'excluded'), 0),
            coalesce(sum(state = 'active' AND split = 'held_out'), 0), coalesce(sum(state = 'active' AND caption = ''), 0),
            coalesce(sum(state = 'active' AND rights = ''), 0)
        FROM reference WHERE asset_id = ?
    """
    active, excluded, held, bare, unclear = session.connection().exec_driver_sql(query, (asset.id,)).one()
    return active, excluded, held, bare, unclear
