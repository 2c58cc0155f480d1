"""Pictures that can be read and are held back all the same, because the film's rules say so."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import Session, col, select

from assetforge.db.models import Image, Reference
from assetforge.domain.names import reference_address
from assetforge.domain.phash import near_pairs
from assetforge.services.watch_records import WatchedFolder
from assetforge.store.folders import shown_name
from assetforge.store.intake import Taken

__all__ = ["OffPolicy", "off_policy"]


@dataclass(frozen=True, slots=True)
class OffPolicy:
    """What is held back.

    Attributes:
        min_side: Pictures with a shorter side below this, in pixels.
        near: Pictures that look like a reference there is.
    """

    min_side: int = 0
    near: bool = False


def off_policy(session: Session, folder: WatchedFolder, files: Sequence[Taken], rules: OffPolicy) -> dict[Path, Taken]:
    """Which of the files are held back, with the reason as ``code``, ``message`` and ``hint``. What is a reference already is never held back."""
    if not rules.min_side and not rules.near:
        return {}
    hashes = [taken.sha256 for taken in files]
    there = set(
        session.exec(
            select(Reference.sha256).where(Reference.asset_id == folder.asset_id, col(Reference.sha256).in_(hashes))
        )
    )
    fresh = [taken for taken in files if taken.sha256 not in there]
    known = {image.sha256: image for image in session.exec(select(Image).where(col(Image.sha256).in_(hashes)))}
    held: dict[Path, Taken] = {}
    for taken in fresh:
        seen = taken.inspected or known.get(taken.sha256)
        if seen is not None and min(seen.width, seen.height) < rules.min_side:
            held[taken.path] = dataclasses.replace(
                taken,
                code="small",
                message=f"{shown_name(taken.path)} has {seen.width}x{seen.height} pixels; the shorter side must have {rules.min_side}.",
                hint="Keep it all the same, or add a larger copy.",
            )
    if rules.near:
        held |= _near(session, folder, [taken for taken in fresh if taken.path not in held], known)
    return held


def _near(
    session: Session, folder: WatchedFolder, fresh: Sequence[Taken], known: dict[str, Image]
) -> dict[Path, Taken]:
    rows = session.execute(
        select(Reference.sha256, Image.phash)
        .join(Image, col(Image.sha256) == Reference.sha256)
        .where(Reference.asset_id == folder.asset_id)
    ).all()
    hashed = [(taken, seen.phash) for taken in fresh if (seen := taken.inspected or known.get(taken.sha256))]
    held: dict[Path, Taken] = {}
    names = [reference_address(folder.asset, row[0]) for row in rows]
    for index, other, _bits in near_pairs([value for _, value in hashed], [row[1] for row in rows]):
        taken = hashed[index][0]
        alike = names[other] if other < len(names) else shown_name(hashed[other - len(names)][0].path)
        if other >= len(names) and hashed[other - len(names)][0].path in held:
            continue
        held.setdefault(
            taken.path,
            dataclasses.replace(
                taken,
                code="near-duplicate",
                message=f"{shown_name(taken.path)} looks like {alike}.",
                hint="Keep it if it shows something new.",
            ),
        )
    return held
