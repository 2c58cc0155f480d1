"""What changed between two dataset versions, picture by picture: for eyes, where :func:`assetforge.services.datasets.diff` is for counting.

Any two versions of an asset can be compared, also the newest one with the references as they are now.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sqlmodel import Session, col, select

from assetforge.db.models import Image, Reference
from assetforge.domain.dataset_diff import DatasetLine
from assetforge.domain.names import reference_address
from assetforge.services.assets import find_asset
from assetforge.services.datasets import DatasetInfo, dataset_lines, get_dataset, list_datasets, plan_freeze
from assetforge.services.projects import Project

__all__ = ["PictureChange", "PictureDiff", "picture_diff", "unfrozen_changes"]

Kind: TypeAlias = Literal["added", "removed", "changed"]

_ORDER = {"added": 0, "removed": 1, "changed": 2}
_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureChange:
    """One reference that differs.

    Attributes:
        sha256: Hash of its bytes, by which its thumbnail is found.
        address: Such as ``mara/ref/3f9a1c``.
        file_name: What its file was called; empty when the asset has the reference no more.
        width: Pixels, upright.
        height: Pixels, upright.
        kind: ``added``, ``removed`` or ``changed``.
        before: Its line in the older version; ``None`` when added.
        after: Its line in the newer version; ``None`` when removed.
    """

    sha256: str
    address: str
    file_name: str
    width: int
    height: int
    kind: Kind
    before: DatasetLine | None
    after: DatasetLine | None

    @property
    def what(self) -> tuple[str, ...]:
        """Which of caption, crop, mask, repeats and split differ; empty for added and removed ones."""
        if self.before is None or self.after is None:
            return ()
        names = ("caption", "crop", "mask", "repeats", "split")
        return tuple(name for name in names if getattr(self.before, name) != getattr(self.after, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureDiff:
    """What is different in the newer of two dataset versions.

    Attributes:
        newer: Address of the newer one, or of what a freeze would make.
        older: Address of the older one; empty when there is none, and everything is added.
        frozen: False when the newer one is the references as they are now.
        pictures: Added ones, removed ones, changed ones, each by hash.
        same: How many are in both as they were.
    """

    newer: str
    older: str
    frozen: bool
    pictures: tuple[PictureChange, ...]
    same: int

    def count(self, kind: Kind) -> int:
        """How many pictures are of a kind."""
        return sum(one.kind == kind for one in self.pictures)

    @property
    def sentence(self) -> str:
        """Such as ``3 added, 1 removed, 2 changed``; empty when they are the same."""
        counts = ((self.count(kind), kind) for kind in ("added", "removed", "changed"))
        return ", ".join(f"{count} {kind}" for count, kind in counts if count)


def picture_diff(project: Project, newer: str, older: str = "") -> PictureDiff:
    """What changed between two dataset versions, of whatever age.

    Args:
        project: The film.
        newer: Such as ``mara/d3``; the asset alone is its newest.
        older: Another one of the same asset; by default the parent of ``newer``.

    Raises:
        UsageError: An address is malformed.
        NotFoundError: There is no such asset or dataset version.
    """
    new = get_dataset(project, newer)
    old = get_dataset(project, older or new.parent) if older or new.parent else None
    return _diff(project, new.asset, new.address, dataset_lines(project, new.address), old, frozen=True)


def unfrozen_changes(project: Project, asset: str, older: str = "") -> PictureDiff:
    """What a freeze would change: an asset's references as they are now against a dataset version.

    Args:
        project: The film.
        asset: Name of the asset.
        older: A dataset version of it; by default its newest, or nothing when it has none.

    Raises:
        UsageError: The asset has no active reference, or the address is malformed.
        NotFoundError: There is no such asset or dataset version.
    """
    plan = plan_freeze(project, asset)
    old = get_dataset(project, older) if older else next(iter(list_datasets(project, asset)), None)
    return _diff(project, plan.asset, plan.address, plan.lines, old, frozen=False)


def _diff(
    project: Project, asset: str, newer: str, lines: Iterable[DatasetLine], older: DatasetInfo | None, *, frozen: bool
) -> PictureDiff:
    before = {line.sha256: line for line in (dataset_lines(project, older.address) if older else ())}
    after = {line.sha256: line for line in lines}
    differing = [sha256 for sha256 in {**before, **after} if before.get(sha256) != after.get(sha256)]
    with project.read() as session:
        known = _pictures(session, asset, differing)
    found = []
    for sha256 in differing:
        old, new = before.get(sha256), after.get(sha256)
        file_name, width, height = known.get(sha256, ("", 0, 0))
        found.append(
            PictureChange(
                sha256=sha256,
                address=reference_address(asset, sha256),
                file_name=file_name,
                width=width,
                height=height,
                kind="added" if old is None else "removed" if new is None else "changed",
                before=old,
                after=new,
            )
        )
    found.sort(key=lambda one: (_ORDER[one.kind], one.sha256))
    same = len(before.keys() & after.keys()) - sum(one.kind == "changed" for one in found)
    return PictureDiff(
        newer=newer, older=older.address if older else "", frozen=frozen, pictures=tuple(found), same=same
    )


def _pictures(session: Session, asset: str, hashes: list[str]) -> dict[str, tuple[str, int, int]]:
    """File name and size of pictures, by hash."""
    asset_id = find_asset(session, asset).id
    found: dict[str, tuple[str, int, int]] = {}
    for begin in range(0, len(hashes), _BATCH):
        query = (
            select(Image.sha256, Reference.file_name, Image.width, Image.height)
            .join(
                Reference, (col(Reference.sha256) == Image.sha256) & (col(Reference.asset_id) == asset_id), isouter=True
            )
            .where(col(Image.sha256).in_(hashes[begin : begin + _BATCH]))
        )
        found |= {sha256: (name or "", width, height) for sha256, name, width, height in session.exec(query)}
    return found
