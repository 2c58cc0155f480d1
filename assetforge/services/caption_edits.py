"""Many captions changed alike: shown first, written as one change, noted once.

A bulk change is one transaction, so the rows that it adds to the history of captions have consecutive numbers; the record of the change names the first and the last
of them. That is all it takes to undo it as a whole (:mod:`assetforge.services.caption_undo`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import insert, update
from sqlmodel import Session, col, func, select

from assetforge.db.columns import utc_now
from assetforge.db.models import Activity, Asset, CaptionEdit, Reference
from assetforge.domain.captions import (
    LONGEST_CAPTION,
    CaptionChange,
    Replace,
    change_caption,
    check_change,
    describe_change,
)
from assetforge.domain.names import parse_reference, reference_address
from assetforge.errors import TryAgainError, UsageError
from assetforge.services.activity import current_actor
from assetforge.services.assets import find_asset
from assetforge.services.captions import BY_HAND
from assetforge.services.projects import Project
from assetforge.services.references import find_reference
from assetforge.services.text_patterns import substitute
from assetforge.store.sidecar import clean_caption

__all__ = ["RECAPTIONED", "BulkEdit", "CaptionPair", "Rewritten", "edit_captions", "write_captions"]

RECAPTIONED = "recaptioned"
"""What the record calls a bulk change."""

_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionPair:
    """A caption before and after a change.

    Attributes:
        address: The reference.
        sha256: Hash of its bytes.
        file_name: What its file was called.
        before: The caption as it was.
        after: The caption as it would be, or is now.
    """

    address: str
    sha256: str
    file_name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkEdit:
    """What a bulk change did, or would do.

    Attributes:
        asset: Name of the asset.
        what: The change in a few words.
        looked_at: References whose captions were looked at.
        pairs: The captions that change, by hash of the reference.
        change: Number by which it can be undone; ``None`` when nothing was written.
    """

    asset: str
    what: str
    looked_at: int
    pairs: tuple[CaptionPair, ...]
    change: int | None = None


class Rewritten(NamedTuple):
    """A caption to write: row id of the reference, text, source."""

    reference: int
    text: str
    source: str


class _Target(NamedTuple):
    reference: int
    sha256: str
    file_name: str
    caption: str


def edit_captions(
    project: Project, asset: str, change: CaptionChange, *, addresses: Sequence[str] = (), dry_run: bool = False
) -> BulkEdit:
    """Change the captions of an asset's active references alike, or of some references; what changes counts as written by hand from then on.

    Args:
        project: The film.
        asset: Name of the asset.
        change: What to do.
        addresses: Only these references of the asset, also excluded ones.
        dry_run: Say what would change, and write nothing.

    Raises:
        NotFoundError: There is no such asset or reference.
        UsageError: The change says nothing, a regular expression is none or takes too long, an address is of another asset, or a caption would become too long.
        TryAgainError: Others kept changing the captions meanwhile.
    """
    with project.read() as session:
        row = find_asset(session, asset)
        targets = _targets(session, row, addresses)
    check_change(change, trigger=row.trigger)
    for _ in range(_TRIES):
        # Outside the transaction: a regular expression may take seconds, and nobody else could write meanwhile.
        after = _changed(targets, change, row)
        pairs = tuple(_pair(row, one, text) for one, text in zip(targets, after, strict=True) if text != one.caption)
        done = BulkEdit(asset=row.name, what=describe_change(change), looked_at=len(targets), pairs=pairs)
        if dry_run or not pairs:
            return done
        with project.write() as session:
            now = _targets(session, row, addresses)
            if now == targets:
                rewritten = [
                    Rewritten(one.reference, text, BY_HAND)
                    for one, text in zip(targets, after, strict=True)
                    if text != one.caption
                ]
                number = write_captions(session, row, rewritten, RECAPTIONED, change=done.what)
                return BulkEdit(
                    asset=done.asset, what=done.what, looked_at=done.looked_at, pairs=done.pairs, change=number
                )
            targets = now
    raise TryAgainError(
        f"The captions of {row.name} were changed by somebody else again and again; nothing was changed here.",
        hint="Try again when that is over.",
    )


def write_captions(session: Session, asset: Asset, captions: Sequence[Rewritten], verb: str, **detail: Any) -> int:
    """Write captions with their history, and one record of it all.

    Args:
        session: A write session.
        asset: The asset that all of them belong to.
        captions: What to write; at least one, each reference once.
        verb: What happened, in the past tense.
        detail: Further facts for the record.

    Returns:
        Number of the record.
    """
    now, author = utc_now(), current_actor()
    last = session.exec(select(func.max(CaptionEdit.id))).one() or 0
    session.execute(
        update(Reference),
        [
            {"id": one.reference, "caption": one.text, "caption_source": one.source, "updated_at": now}
            for one in captions
        ],
    )
    session.execute(
        insert(CaptionEdit),
        [
            {"reference_id": one.reference, "text": one.text, "source": one.source, "author": author, "at": now}
            for one in captions
        ],
    )
    facts = {**detail, "asset": asset.name, "count": len(captions), "edits": [last + 1, last + len(captions)]}
    noted = Activity(actor=author, verb=verb, subject=asset.name, detail=facts, at=now)
    session.add(noted)
    session.flush()
    return noted.id or 0


def _targets(session: Session, asset: Asset, addresses: Sequence[str]) -> list[_Target]:
    if addresses:
        return sorted({_named(session, asset, one) for one in addresses}, key=lambda one: one.sha256)
    query = (
        select(Reference.id, Reference.sha256, Reference.file_name, Reference.caption)
        .where(Reference.asset_id == asset.id, col(Reference.state) == "active")
        .order_by(col(Reference.sha256))
    )
    return [_Target(number or 0, *rest) for number, *rest in session.exec(query)]


def _named(session: Session, asset: Asset, address: str) -> _Target:
    if parse_reference(address).asset != asset.name:
        raise UsageError(f"{address} is no reference of {asset.name}.", hint="Change one asset's captions at a time.")
    _, found = find_reference(session, address)
    return _Target(found.id or 0, found.sha256, found.file_name, found.caption)


def _changed(targets: Sequence[_Target], change: CaptionChange, asset: Asset) -> list[str]:
    captions = [one.caption for one in targets]
    if isinstance(change, Replace) and change.mode == "regex":
        given = substitute(
            captions, change.find, change.replacement, ignore_case=change.ignore_case, longest=LONGEST_CAPTION
        )
    else:
        given = [change_caption(one, change, trigger=asset.trigger, class_word=asset.class_word) for one in captions]
    # What the change leaves alone stays as it is, superfluous spaces of old captions included.
    after = [before if text == before else clean_caption(text) for before, text in zip(captions, given, strict=True)]
    longest = max((len(text) for before, text in zip(captions, after, strict=True) if text != before), default=0)
    if longest > LONGEST_CAPTION:
        raise UsageError(
            f"A caption would become {longest:,} characters long, and {LONGEST_CAPTION:,} is the most.",
            hint="Look first with --dry-run.",
        )
    return after


def _pair(asset: Asset, target: _Target, after: str) -> CaptionPair:
    return CaptionPair(
        address=reference_address(asset.name, target.sha256),
        sha256=target.sha256,
        file_name=target.file_name,
        before=target.caption,
        after=after,
    )
