"""The rows of references that were taken in. Everything here runs inside somebody's short write transaction."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, insert, update
from sqlmodel import Session, col, select

from assetforge.db.columns import utc_now
from assetforge.db.models import CaptionEdit, Image, Reference
from assetforge.domain.phash import near_pairs
from assetforge.domain.split import Groups
from assetforge.services.activity import current_actor, record
from assetforge.services.captions import BY_HAND, write_caption
from assetforge.store.folders import shown_name
from assetforge.store.intake import Taken

__all__ = ["SIDECAR", "Known", "NearIndex", "Written", "write_rows"]

SIDECAR = "sidecar"
"""Source of captions that lay beside the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the user said about a whole batch.

    Attributes:
        origin: Where the pictures come from.
        rights: What is allowed with them.
    """

    origin: str
    rights: str


@dataclass(slots=True)
class Written:
    """What became of one file's rows.

    Attributes:
        taken: The file.
        new: It is a new reference of the asset.
        state: State of the reference.
        captioned: The reference got a caption, or another one.
        masked: The reference got a mask, or another one.
        caption_kept: The sidecar differs from a caption that was written by hand, which stays.
    """

    taken: Taken
    new: bool
    state: str = "active"
    captioned: bool = False
    masked: bool = False
    caption_kept: bool = False


def write_rows(session: Session, asset_id: int, files: Sequence[Taken], about: Known) -> list[Written]:
    """Write images, references and captions of files whose bytes are in the store.

    Args:
        session: A write session, so that nobody else adds the same bytes meanwhile.
        asset_id: The asset.
        files: What was stored or known; refused files are not among them.
        about: Origin and rights of new references.

    Returns:
        One entry per file, in order.
    """
    hashes = {taken.sha256 for taken in files}
    there = {
        reference.sha256: reference
        for reference in session.exec(
            select(Reference).where(Reference.asset_id == asset_id, col(Reference.sha256).in_(hashes))
        )
    }
    written: list[Written] = []
    fresh: dict[str, Taken] = {}
    for taken in files:
        reference = there.get(taken.sha256)
        if reference is not None:
            written.append(_again(session, reference, taken))
        elif taken.sha256 in fresh:
            written.append(Written(taken, new=False))
        else:
            fresh[taken.sha256] = taken
            written.append(Written(taken, new=True, captioned=bool(taken.caption), masked=bool(taken.mask)))
    if fresh:
        _insert(session, asset_id, fresh, about)
    return written


def _insert(session: Session, asset_id: int, fresh: dict[str, Taken], about: Known) -> None:
    now = utc_now()
    known = set(session.exec(select(Image.sha256).where(col(Image.sha256).in_(fresh))))
    images = [
        {
            "sha256": sha256,
            "size": seen.size,
            "format": seen.format,
            "mode": seen.mode,
            "width": seen.width,
            "height": seen.height,
            "orientation": seen.orientation,
            "bits": seen.bits,
            "has_alpha": seen.has_alpha,
            "has_profile": seen.has_profile,
            "phash": seen.phash,
            "sharpness": seen.sharpness,
            "brightness": seen.brightness,
            "created_at": now,
        }
        for sha256, taken in fresh.items()
        if (seen := taken.inspected) is not None and sha256 not in known
    ]
    if images:
        session.execute(insert(Image), images)
    rows = [
        {
            "asset_id": asset_id,
            "sha256": sha256,
            "state": "active",
            "excluded_reason": "",
            "file_name": shown_name(taken.path),
            "origin": about.origin,
            "rights": about.rights,
            "caption": taken.caption or "",
            "caption_source": SIDECAR if taken.caption else "",
            "crop": "",
            "mask": taken.mask,
            "repeats": 1,
            "split": "",
            "near_group": None,
            "added_at": now,
            "updated_at": now,
        }
        for sha256, taken in fresh.items()
    ]
    session.execute(insert(Reference), rows)
    captioned = {sha256: taken.caption for sha256, taken in fresh.items() if taken.caption}
    if captioned:
        ids = session.exec(
            select(Reference.id, Reference.sha256).where(
                Reference.asset_id == asset_id, col(Reference.sha256).in_(captioned)
            )
        ).all()
        author = current_actor()
        edits = [
            {"reference_id": number, "text": captioned[sha256], "source": SIDECAR, "author": author, "at": now}
            for number, sha256 in ids
        ]
        session.execute(insert(CaptionEdit), edits)


def _again(session: Session, reference: Reference, taken: Taken) -> Written:
    """A file whose bytes are a reference already: only its sidecars can bring something new."""
    result = Written(taken, new=False, state=reference.state)
    if taken.mask and taken.mask != reference.mask:
        record(session, current_actor(), "set", f"picture {taken.sha256[:12]}", mask=[reference.mask, taken.mask])
        reference.mask, reference.updated_at, result.masked = taken.mask, utc_now(), True
        session.add(reference)
    if not taken.caption or taken.caption == reference.caption:
        return result
    by_hand = session.exec(
        select(CaptionEdit.id).where(CaptionEdit.reference_id == reference.id, CaptionEdit.source == BY_HAND).limit(1)
    ).first()
    if by_hand is not None:
        result.caption_kept = True
    else:
        result.captioned = write_caption(session, reference, taken.caption, SIDECAR) is not None
    return result


class NearIndex:
    """The perceptual hashes of an asset's references, kept between the transactions of a batch.

    Args:
        asset_id: The asset.
    """

    def __init__(self, asset_id: int) -> None:
        self._asset_id = asset_id
        self._rows: list[tuple[int, str, int]] = []

    def compare(self, session: Session, added: Collection[str]) -> dict[str, tuple[str, int]]:
        """Compare references that this transaction added with all there are, and put near ones into one group.

        What other processes added meanwhile was compared by them, with everything that was committed then; so every pair is compared by whoever came second.

        Args:
            session: The write session that added them.
            added: Their hashes.

        Returns:
            For every added reference that is near to another: the hash of the nearest, and the distance in bits.
        """
        last = max((row[0] for row in self._rows), default=0)
        rows = session.execute(
            select(Reference.id, Reference.sha256, Image.phash)
            .join(Image, col(Image.sha256) == Reference.sha256)
            .where(Reference.asset_id == self._asset_id, col(Reference.id) > last)
            .order_by(col(Reference.id))
        ).all()
        new = [(row[0], row[1], row[2]) for row in rows if row[1] in added]
        known = [*self._rows, *((row[0], row[1], row[2]) for row in rows if row[1] not in added)]
        self._rows = [*known, *new]
        nearest: dict[str, tuple[str, int]] = {}
        pairs: list[tuple[int, int]] = []
        for index, other, bits in near_pairs([row[2] for row in new], [row[2] for row in known]):
            here = len(known) + index
            pairs.append((self._rows[here][0], self._rows[other][0]))
            for one, two in ((here, other), (other, here)):
                name = self._rows[one][1]
                if one >= len(known) and bits < nearest.get(name, ("", 65))[1]:
                    nearest[name] = (self._rows[two][1], bits)
        if pairs:
            self._group(session, pairs)
        return nearest

    def _group(self, session: Session, pairs: Sequence[tuple[int, int]]) -> None:
        known = session.execute(
            select(Reference.id, Reference.near_group).where(
                Reference.asset_id == self._asset_id, col(Reference.near_group).is_not(None)
            )
        ).all()
        groups = Groups({row[0]: row[1] for row in known})
        for one, two in pairs:
            groups.join(one, two)
        changes = [{"row": reference, "to": group} for reference, group in groups.changed().items()]
        if changes:
            statement = (
                update(Reference).where(col(Reference.id) == bindparam("row")).values(near_group=bindparam("to"))
            )
            session.connection().execute(statement, changes)
