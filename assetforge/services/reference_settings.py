"""What a person decides about a reference: its crop and mask, how often it is shown, and whether it is trained on. The next freeze takes it over."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlmodel import Session, col, select

from assetforge.db.columns import utc_now
from assetforge.db.models import Asset, Image, Reference
from assetforge.domain.crop import checked_crop
from assetforge.domain.names import reference_address
from assetforge.errors import UsageError
from assetforge.services.activity import current_actor, record
from assetforge.services.projects import Project
from assetforge.services.references import ReferenceInfo, find_reference, reference_info
from assetforge.store.folders import shown_name
from assetforge.store.intake import read_unchanging
from assetforge.store.masks import check_mask

__all__ = ["MAX_REPEATS", "set_references"]

MAX_REPEATS = 1000
"""Most often that a reference can be shown per epoch."""

_NAMED = 5
_NO_MASK = "none"
_SAYS = {"train": "trained on", "held_out": "held out"}


@dataclass(frozen=True, slots=True)
class _Chosen:
    asset: Asset
    reference: Reference
    image: Image

    @property
    def address(self) -> str:
        return reference_address(self.asset.name, self.reference.sha256)


def set_references(
    project: Project,
    addresses: Sequence[str],
    *,
    crop: str | None = None,
    mask: Path | None = None,
    repeats: int | None = None,
    split: Literal["train", "held_out", "auto"] | None = None,
    rights: str | None = None,
) -> list[ReferenceInfo]:
    """Change some references, all of them or none. Dataset versions that are frozen stay as they are.

    Args:
        project: The film.
        addresses: Such as ``mara/ref/3f9a1c``.
        crop: ``left,top,right,bottom`` in pixels of the upright picture; ``none`` or empty takes the whole picture again. ``None`` leaves it.
        mask: A picture of the same shape, white where it is learnt; the path ``none`` takes it away. ``None`` leaves it.
        repeats: How often each is shown per epoch, 1 to 1000. ``None`` leaves it.
        split: ``train`` or ``held_out``; ``auto`` leaves it to the next freeze again. ``None`` leaves it.
        rights: What is allowed with them, for people; empty takes it away. ``None`` leaves it.

    Returns:
        The references as they are now, in the order of the addresses, each once.

    Raises:
        UsageError: Nothing shall be changed; an address is malformed or fits several references; a value is out of range; the split would part
            near-duplicates, or leave nothing to train on.
        NotFoundError: There is no such reference.
        ImageError: The mask cannot be read or decoded, or has another shape than one of the pictures.
    """
    if not addresses or all(value is None for value in (crop, mask, repeats, split, rights)):
        raise UsageError(
            "Nothing was said to change.",
            hint="Name references, and give --crop, --mask, --repeats, --split or --rights.",
        )
    if repeats is not None and not 1 <= repeats <= MAX_REPEATS:
        raise UsageError(
            f"A reference cannot be shown {repeats} times per epoch.",
            hint=f"Give 1 to {MAX_REPEATS}; put it aside with `assetforge ref exclude` to leave it out.",
        )
    painted = None if mask is None else b"" if str(mask) == _NO_MASK else read_unchanging(mask)
    blob = project.blobs.put_bytes(painted) if painted else ""
    with project.write() as session:
        chosen = _chosen(session, addresses)
        for one in chosen:
            values = _values(one, crop, repeats, split)
            if rights is not None:
                values["rights"] = " ".join(rights.split())
            if mask is not None:
                if painted:
                    size = one.image.width, one.image.height
                    check_mask(painted, name=shown_name(mask), size=size, of=one.address)
                values["mask"] = blob
            _change(session, one, values)
        if split is not None:
            session.flush()
            _check_twins(session, chosen)
            if split == "held_out":
                _check_something_is_left(session, chosen)
        return [reference_info(one.asset.name, one.reference, one.image) for one in chosen]


def _chosen(session: Session, addresses: Sequence[str]) -> list[_Chosen]:
    chosen: dict[int | None, _Chosen] = {}
    for address in addresses:
        asset, reference = find_reference(session, address)
        chosen.setdefault(reference.id, _Chosen(asset, reference, session.get_one(Image, reference.sha256)))
    return list(chosen.values())


def _values(one: _Chosen, crop: str | None, repeats: int | None, split: str | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if crop is not None:
        values["crop"] = checked_crop(crop, width=one.image.width, height=one.image.height, of=one.address)
    if repeats is not None:
        values["repeats"] = repeats
    if split is not None:
        values["split"] = "" if split == "auto" else split
    return values


def _change(session: Session, one: _Chosen, values: dict[str, Any]) -> None:
    """Change the row and note what it was before, so that it can be put back."""
    changes: dict[str, list[Any]] = {}
    for name, value in values.items():
        before = getattr(one.reference, name)
        if value != before:
            changes[name] = [before, value]
            setattr(one.reference, name, value)
    if changes:
        one.reference.updated_at = utc_now()
        session.add(one.reference)
        record(session, current_actor(), "set", one.address, **changes)


def _check_twins(session: Session, chosen: Sequence[_Chosen]) -> None:
    """A score on a picture whose near-duplicate was trained on says nothing; an excluded one was trained on before, and may come back."""
    for one in chosen:
        if one.reference.near_group is None or not one.reference.split:
            continue
        query = (
            select(Reference)
            .where(
                Reference.asset_id == one.asset.id,
                Reference.near_group == one.reference.near_group,
                col(Reference.split).not_in(["", one.reference.split]),
            )
            .order_by(col(Reference.sha256))
        )
        others = session.exec(query).all()
        if others:
            raise _torn(one, others)


def _torn(one: _Chosen, others: Sequence[Reference]) -> UsageError:
    named = [reference_address(one.asset.name, other.sha256) for other in others]
    aside = ", though it is excluded" if others[0].state == "excluded" else ""
    wish = "train" if one.reference.split == "train" else "held-out"
    together = " ".join([one.address, *named[:_NAMED]])
    more = f" (and {len(named) - _NAMED} more that look like them)" if len(named) > _NAMED else ""
    return UsageError(
        f"{one.address} cannot be {_SAYS[one.reference.split]} while {named[0]} is {_SAYS[others[0].split]}{aside}:"
        " the two are near-duplicates, which share a split.",
        hint=f"Change them together: `assetforge ref set {together} --split {wish}`{more}.",
    )


def _check_something_is_left(session: Session, chosen: Sequence[_Chosen]) -> None:
    for asset in {one.asset.id: one.asset for one in chosen if one.reference.state == "active"}.values():
        left = session.exec(
            select(Reference.id)
            .where(
                Reference.asset_id == asset.id,
                col(Reference.state) == "active",
                col(Reference.split) != "held_out",
            )
            .limit(1)
        ).first()
        if left is None:
            raise UsageError(
                f"All references of {asset.name} would be held out, and none trained on.",
                hint="Leave at least one to train on; a few held-out references are enough.",
            )
