"""References whose files change, go and come back: what the next one takes over, and which is put aside."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from assetforge.db.columns import utc_now
from assetforge.db.models import Image, Reference
from assetforge.db.models_watch import WatchedFile, WatchRoot
from assetforge.domain.names import reference_address
from assetforge.services.activity import record
from assetforge.services.captions import write_caption

__all__ = ["WATCH", "Leaving", "carry_over", "put_aside", "take_back"]

WATCH = "watch"
"""Who did it, in the record: the watcher."""

_SINGLY = 20
"""Up to so many are noted one by one."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """Bytes that a path does not hold any more.

    Attributes:
        sha256: What it held.
        name: What the file is called.
        successor: What it holds now; empty when it is gone.
        successor_is_new: The successor became a reference just now.
    """

    sha256: str
    name: str
    successor: str = ""
    successor_is_new: bool = False


def put_aside(session: Session, asset: str, asset_id: int, leaving: Sequence[Leaving]) -> list[str]:
    """Exclude the references of which no watched file is left. A successor takes over what people said about its predecessor.

    Args:
        session: A write session in which the watched files are what they are now.
        asset: Name of the asset.
        asset_id: Its row id.
        leaving: What paths have ceased to hold.

    Returns:
        Hashes of the references that were excluded.
    """
    if not leaving:
        return []
    wanted = {one.sha256: one for one in leaving}
    held = _held(session, asset_id, wanted)
    hashes = {*wanted, *(one.successor for one in leaving if one.successor)}
    rows = {row.sha256: row for row in _references(session, asset_id, hashes)}
    gone: list[str] = []
    for sha256, one in wanted.items():
        reference, successor = rows.get(sha256), rows.get(one.successor)
        if reference is None or sha256 in held:
            continue
        if successor is not None and one.successor_is_new:
            _inherit(session, successor, reference)
        if reference.state != "active":
            continue
        reason = (
            f"{one.name} holds another picture now, {reference_address(asset, one.successor)}"
            if one.successor
            else f"its file {one.name} was removed from the folder"
        )
        reference.state, reference.excluded_reason, reference.excluded_by = "excluded", reason, WATCH
        reference.updated_at = utc_now()
        session.add(reference)
        gone.append(sha256)
        if len(gone) <= _SINGLY:
            record(session, WATCH, "excluded", reference_address(asset, sha256), why=reason)
    if len(gone) > _SINGLY:
        record(session, WATCH, "excluded", asset, references=len(gone), why="their files were removed or replaced")
    return gone


def take_back(session: Session, asset: str, asset_id: int, hashes: Collection[str]) -> list[str]:
    """Restore those of some references that were put aside because their file had gone; what a person excluded stays excluded.

    Returns:
        Hashes of the references that were restored.
    """
    if not hashes:
        return []
    rows = [row for row in _references(session, asset_id, hashes) if row.excluded_by == WATCH]
    for row in rows:
        row.state, row.excluded_reason, row.excluded_by, row.updated_at = "active", "", "", utc_now()
        session.add(row)
    for row in rows[:_SINGLY]:
        record(session, WATCH, "restored", reference_address(asset, row.sha256), why="its file came back")
    if len(rows) > _SINGLY:
        record(session, WATCH, "restored", asset, references=len(rows), why="their files came back")
    return [row.sha256 for row in rows]


def carry_over(session: Session, asset_id: int, hashes: Sequence[str]) -> None:
    """A picture that comes from another asset keeps its caption, origin and rights."""
    others = session.exec(
        select(Reference)
        .where(col(Reference.sha256).in_(hashes), Reference.asset_id != asset_id)
        .order_by(col(Reference.updated_at).desc(), col(Reference.id))
    ).all()
    if not others:
        return
    newest = {row.sha256: row for row in reversed(others)}
    for row in _references(session, asset_id, newest.keys()):
        other = newest[row.sha256]
        row.origin, row.rights = other.origin or row.origin, other.rights or row.rights
        session.add(row)
        if other.caption and not row.caption:
            write_caption(session, row, other.caption, other.caption_source)


def _inherit(session: Session, successor: Reference, before: Reference) -> None:
    """A retouched picture: everything that was said about the old one holds, and what lies in pixels only where the size is the same."""
    successor.origin, successor.rights = before.origin or successor.origin, before.rights
    successor.repeats = before.repeats
    successor.split = successor.split or before.split
    now, old = session.get_one(Image, successor.sha256), session.get_one(Image, before.sha256)
    if (now.width, now.height) == (old.width, old.height):
        successor.crop = before.crop
        successor.mask = successor.mask or before.mask
    session.add(successor)
    if before.caption and not successor.caption:
        write_caption(session, successor, before.caption, before.caption_source)


def _references(session: Session, asset_id: int, hashes: Collection[str]) -> Sequence[Reference]:
    return session.exec(
        select(Reference).where(Reference.asset_id == asset_id, col(Reference.sha256).in_(hashes))
    ).all()


def _held(session: Session, asset_id: int, hashes: Collection[str]) -> set[str]:
    """Those that some watched file of the asset still holds."""
    return set(
        session.exec(
            select(WatchedFile.sha256)
            .join(WatchRoot, col(WatchRoot.id) == WatchedFile.root_id)
            .where(WatchRoot.asset_id == asset_id, WatchedFile.state == "taken", col(WatchedFile.sha256).in_(hashes))
        )
    )
