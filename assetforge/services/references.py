"""References of an asset: page through them, look at one, put one aside and take it back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlmodel import Session, col, func, select

from assetforge.db.columns import utc_now
from assetforge.db.models import Asset, Image, Reference
from assetforge.domain.names import parse_reference, reference_address
from assetforge.errors import NotFoundError, UsageError
from assetforge.services.activity import current_actor, record
from assetforge.services.assets import find_asset
from assetforge.services.projects import Project

__all__ = [
    "ReferenceInfo",
    "ReferencePage",
    "exclude_reference",
    "find_reference",
    "get_reference",
    "list_references",
    "reference_info",
    "restore_reference",
]

_SHOWN_CANDIDATES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceInfo:
    """A reference as services and interfaces see it.

    Attributes:
        id: Row id.
        address: Such as ``mara/ref/3f9a1c``.
        asset: Name of the asset.
        sha256: Hash of its bytes.
        state: ``active`` or ``excluded``.
        excluded_reason: Why it was put aside.
        file_name: What the file was called when it came.
        origin: Where it came from.
        rights: What is allowed with it.
        caption: Caption, without the trigger.
        caption_source: ``hand``, ``sidecar``, or the name of a captioner.
        crop: ``left,top,right,bottom`` in pixels of the upright picture, or empty.
        mask: Hash of its mask, or empty.
        repeats: How often it is shown per epoch.
        split: ``train``, ``held_out``, or empty while it is for the next freeze to decide.
        near_group: Number of its group of near-duplicates, if it has any.
        format: True file format.
        mode: Colour mode as stored.
        width: Pixels, upright.
        height: Pixels, upright.
        size: Bytes.
        sharpness: See :class:`~assetforge.store.imaging.Inspected`.
        brightness: Mean luma, 0 to 1.
        added_at: When it came, in UTC.
    """

    id: int
    address: str
    asset: str
    sha256: str
    state: str
    excluded_reason: str
    file_name: str
    origin: str
    rights: str
    caption: str
    caption_source: str
    crop: str
    mask: str
    repeats: int
    split: str
    near_group: int | None
    format: str
    mode: str
    width: int
    height: int
    size: int
    sharpness: float
    brightness: float
    added_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencePage:
    """Some references, by hash.

    Attributes:
        items: The references.
        total: How many there are on all pages.
        next: What to ask with as ``after`` for the next page; empty on the last.
    """

    items: tuple[ReferenceInfo, ...]
    total: int
    next: str


def list_references(
    project: Project,
    asset: str,
    *,
    state: Literal["active", "excluded", ""] = "active",
    after: str = "",
    limit: int = 100,
) -> ReferencePage:
    """A page of an asset's references, ordered by hash.

    Args:
        project: The film.
        asset: Name of the asset.
        state: Only those; empty lists all.
        after: ``next`` of the page before.
        limit: Most references on the page, at least 1.

    Raises:
        NotFoundError: There is no such asset.
        UsageError: The limit is below 1.
    """
    if limit < 1:
        raise UsageError(f"A page of {limit} references cannot be shown.", hint="Ask for at least 1.")
    with project.read() as session:
        row = find_asset(session, asset)
        wanted = [col(Reference.asset_id) == row.id, *([col(Reference.state) == state] if state else [])]
        total = session.exec(select(func.count()).select_from(Reference).where(*wanted)).one()
        query = (
            select(Reference, Image)
            .join(Image, col(Image.sha256) == Reference.sha256)
            .where(*wanted, col(Reference.sha256) > after)
            .order_by(col(Reference.sha256))
            .limit(limit + 1)
        )
        found = [reference_info(asset, reference, image) for reference, image in session.exec(query)]
    more = len(found) > limit
    items = tuple(found[:limit])
    return ReferencePage(items=items, total=total, next=items[-1].sha256 if more else "")


def get_reference(project: Project, address: str) -> ReferenceInfo:
    """The reference that an address such as ``mara/ref/3f9a1c`` names.

    Raises:
        UsageError: The address is malformed, or fits several references.
        NotFoundError: It fits none.
    """
    with project.read() as session:
        asset, reference = find_reference(session, address)
        return reference_info(asset.name, reference, session.get_one(Image, reference.sha256))


def find_reference(session: Session, address: str) -> tuple[Asset, Reference]:
    """The rows that an address names, for services that already hold a session.

    Raises:
        UsageError: The address is malformed, or fits several references.
        NotFoundError: It fits none.
    """
    parsed = parse_reference(address)
    asset = find_asset(session, parsed.asset)
    found = session.exec(
        select(Reference)
        .where(
            Reference.asset_id == asset.id,
            col(Reference.sha256) >= parsed.digits,
            col(Reference.sha256) < parsed.digits + "g",
        )
        .order_by(col(Reference.sha256))
        .limit(_SHOWN_CANDIDATES + 1)
    ).all()
    if not found:
        raise NotFoundError(
            f"{address} names no reference.", hint=f"`assetforge ref list {asset.name}` shows what there is."
        )
    if len(found) > 1:
        candidates = ", ".join(f"{asset.name}/ref/{one.sha256[:12]}" for one in found[:_SHOWN_CANDIDATES])
        raise UsageError(f"{address} fits several references.", hint=f"Write more digits; there are {candidates}.")
    return asset, found[0]


def exclude_reference(project: Project, address: str, reason: str) -> ReferenceInfo:
    """Put a reference aside: it stays in older datasets and goes into no new one.

    Args:
        project: The film.
        address: Such as ``mara/ref/3f9a1c``.
        reason: Why, for people.

    Raises:
        UsageError: No reason was given, or the address is malformed or fits several references.
        NotFoundError: There is no such reference.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise UsageError(
            f"No reason was given to exclude {address}.", hint="Say why with --why; people will ask later."
        )
    return _set_state(project, address, "excluded", reason)


def restore_reference(project: Project, address: str) -> ReferenceInfo:
    """Take an excluded reference back.

    Raises:
        UsageError: The address is malformed or fits several references.
        NotFoundError: There is no such reference.
    """
    return _set_state(project, address, "active", "")


def _set_state(project: Project, address: str, state: str, reason: str) -> ReferenceInfo:
    with project.write() as session:
        asset, reference = find_reference(session, address)
        if (reference.state, reference.excluded_reason) != (state, reason):
            reference.state, reference.excluded_reason, reference.updated_at = state, reason, utc_now()
            reference.excluded_by = ""
            session.add(reference)
            verb = "excluded" if state == "excluded" else "restored"
            record(session, current_actor(), verb, reference_address(asset.name, reference.sha256), **_noted(reason))
        return reference_info(asset.name, reference, session.get_one(Image, reference.sha256))


def _noted(reason: str) -> dict[str, str]:
    return {"why": reason} if reason else {}


def reference_info(asset: str, reference: Reference, image: Image) -> ReferenceInfo:
    """A flushed row as services and interfaces see it, for services that already hold a session."""
    if reference.id is None:
        raise ValueError("a reference has its id only once it is flushed")
    return ReferenceInfo(
        id=reference.id,
        address=reference_address(asset, reference.sha256),
        asset=asset,
        sha256=reference.sha256,
        state=reference.state,
        excluded_reason=reference.excluded_reason,
        file_name=reference.file_name,
        origin=reference.origin,
        rights=reference.rights,
        caption=reference.caption,
        caption_source=reference.caption_source,
        crop=reference.crop,
        mask=reference.mask,
        repeats=reference.repeats,
        split=reference.split,
        near_group=reference.near_group,
        format=image.format,
        mode=image.mode,
        width=image.width,
        height=image.height,
        size=image.size,
        sharpness=image.sharpness,
        brightness=image.brightness,
        added_at=reference.added_at,
    )
