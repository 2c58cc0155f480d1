"""Dataset versions: freeze, list, look into, compare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from assetforge.api.events import DatasetFrozen
from assetforge.db.columns import utc_now
from assetforge.db.models import Asset, DatasetItemRow, DatasetVersion, Reference
from assetforge.domain.dataset_diff import DatasetDiff, DatasetLine, diff_datasets, tree_hash
from assetforge.domain.names import dataset_address, parse_dataset, reference_address
from assetforge.domain.split import Member, assign_splits, held_out_target
from assetforge.domain.states import Split
from assetforge.errors import NotFoundError, UsageError
from assetforge.services.activity import current_actor, publish, record
from assetforge.services.assets import find_asset
from assetforge.services.projects import Project

__all__ = [
    "DatasetInfo",
    "DatasetItemInfo",
    "FreezePlan",
    "dataset_items",
    "dataset_lines",
    "diff",
    "freeze",
    "get_dataset",
    "list_datasets",
    "plan_freeze",
]

_ACTIVE = """
    SELECT sha256, caption, crop, repeats, split, near_group, mask FROM reference
    WHERE asset_id = ? AND state = 'active' ORDER BY sha256
"""
_ASIDE = """
    SELECT sha256, split, near_group FROM reference
    WHERE asset_id = ? AND state = 'excluded' AND near_group IS NOT NULL AND split <> '' ORDER BY sha256
"""
_COPY = """
    INSERT INTO dataset_item (dataset_id, sha256, caption, crop, repeats, split, mask)
    SELECT ?, sha256, caption, crop, repeats, split, mask FROM reference
    WHERE asset_id = ? AND state = 'active' ORDER BY sha256
"""
_SET_SPLIT = "UPDATE reference SET split = ? WHERE asset_id = ? AND sha256 = ?"
_LINES = "SELECT sha256, caption, crop, repeats, split, mask FROM dataset_item WHERE dataset_id = ? ORDER BY sha256"

_Row = tuple[str, str, str, int, str, int | None, str]
"""A row of ``_ACTIVE``: hash, caption, crop, repeats, split, group of near-duplicates, mask."""
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """A dataset version as services and interfaces see it.

    Attributes:
        id: Row id.
        address: Such as ``mara/d3``.
        asset: Name of the asset.
        number: Counts from 1 per asset.
        tree_hash: Identity of its contents, see :func:`~assetforge.domain.dataset_diff.tree_hash`.
        parent: Address of the version before; empty for the first.
        train_count: References to train on.
        held_out_count: References kept for scoring.
        note: What somebody said about it.
        created_by: Who froze it.
        created_at: When, in UTC.
        is_new: False when :func:`freeze` found nothing changed and gave back the newest one.
        remarks: What :func:`freeze` could not do as it was asked to.
    """

    id: int
    address: str
    asset: str
    number: int
    tree_hash: str
    parent: str
    train_count: int
    held_out_count: int
    note: str
    created_by: str
    created_at: datetime
    is_new: bool = False
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetItemInfo:
    """One reference of a dataset version.

    Attributes:
        sha256: Hash of its bytes.
        file_name: What the file was called.
        caption: Caption, without the trigger.
        crop: ``left,top,right,bottom`` in pixels of the upright picture, or empty.
        repeats: How often it is shown per epoch.
        split: ``train`` or ``held_out``.
        mask: Hash of its mask, or empty.
    """

    sha256: str
    file_name: str
    caption: str
    crop: str
    repeats: int
    split: str
    mask: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezePlan:
    """What freezing an asset's references as they are would make.

    Attributes:
        asset: Name of the asset.
        address: The dataset version that it would be; the newest one when nothing changed.
        is_new: Something changed since the newest version, or there is none.
        tree_hash: Identity of its contents.
        train_count: References to train on.
        held_out_count: References kept for scoring.
        lines: All of it, by hash.
        remarks: What could not be done as it was asked for.
    """

    asset: str
    address: str
    is_new: bool
    tree_hash: str
    train_count: int
    held_out_count: int
    lines: tuple[DatasetLine, ...]
    remarks: tuple[str, ...]


def freeze(project: Project, asset: str, *, note: str = "", held_out: float | None = None) -> DatasetInfo:
    """Make an immutable dataset version of the asset's active references; when nothing changed since the newest one, that one is given back.

    A reference keeps the split that it got at its first freeze, near-duplicates always share one; see :mod:`assetforge.domain.split`.

    Args:
        project: The film.
        asset: Name of the asset.
        note: For people.
        held_out: How many references to keep for scoring: a share below 1, or a count; ``None`` is 10 %, and at least 2 from 8 references on.

    Raises:
        NotFoundError: There is no such asset.
        UsageError: It has no active reference, or ``held_out`` is no share and no count.
    """
    _check_held_out(held_out)
    with project.write() as session:
        row = find_asset(session, asset)
        info = _freeze(session, row, note, held_out)
    if info.is_new:
        event = DatasetFrozen(
            project=project.root,
            at=info.created_at,
            actor=info.created_by,
            dataset=info.address,
            tree_hash=info.tree_hash,
        )
        publish(project, event)
    return info


def plan_freeze(project: Project, asset: str, *, held_out: float | None = None) -> FreezePlan:
    """What :func:`freeze` would make of an asset's active references now; nothing is changed.

    Args:
        project: The film.
        asset: Name of the asset.
        held_out: As for :func:`freeze`.

    Raises:
        NotFoundError: There is no such asset.
        UsageError: It has no active reference, or ``held_out`` is no share and no count.
    """
    _check_held_out(held_out)
    with project.read() as session:
        return _plan(session, find_asset(session, asset), held_out)[0]


def _freeze(session: Session, asset: Asset, note: str, held_out: float | None) -> DatasetInfo:
    plan, changed, newest = _plan(session, asset, held_out)
    if changed:
        pairs = [(split, asset.id, sha256) for sha256, split in changed.items()]
        session.connection().exec_driver_sql(_SET_SPLIT, pairs)
    if newest is not None and not plan.is_new:
        return _info(session, asset.name, newest, remarks=plan.remarks)
    version = DatasetVersion(
        asset_id=newest.asset_id if newest else asset.id or 0,
        number=newest.number + 1 if newest else 1,
        tree_hash=plan.tree_hash,
        parent_id=newest.id if newest else None,
        train_count=plan.train_count,
        held_out_count=plan.held_out_count,
        note=note,
        created_by=current_actor(),
        created_at=utc_now(),
    )
    session.add(version)
    session.flush()
    session.connection().exec_driver_sql(_COPY, (version.id, asset.id))
    record(
        session, version.created_by, "froze", plan.address, train=version.train_count, held_out=version.held_out_count
    )
    return _info(session, asset.name, version, is_new=True, remarks=plan.remarks)


def _plan(
    session: Session, asset: Asset, held_out: float | None
) -> tuple[FreezePlan, Mapping[str, Split], DatasetVersion | None]:
    """What a freeze makes, the splits that it gives, and the newest version there is."""
    rows: Sequence[_Row] = session.connection().exec_driver_sql(_ACTIVE, (asset.id,)).all()
    if not rows:
        raise UsageError(
            f"{asset.name} has no active reference to freeze.", hint=f"Add some with `assetforge ref add {asset.name}`."
        )
    aside: Sequence[tuple[str, str, int]] = session.connection().exec_driver_sql(_ASIDE, (asset.id,)).all()
    target = held_out_target(len(rows), held_out)
    changed = _new_splits(rows, aside, target)
    lines = tuple(
        DatasetLine(sha256, caption, crop, repeats, changed.get(sha256, split), mask)
        for sha256, caption, crop, repeats, split, _, mask in rows
    )
    held = sum(line.split == "held_out" for line in lines)
    digest, newest = tree_hash(lines), _newest(session, asset)
    is_new = newest is None or newest.tree_hash != digest
    number = 1 if newest is None else newest.number + is_new
    plan = FreezePlan(
        asset=asset.name,
        address=dataset_address(asset.name, number),
        is_new=is_new,
        tree_hash=digest,
        train_count=len(lines) - held,
        held_out_count=held,
        lines=lines,
        remarks=(*_moved(asset, rows, aside, changed), *_remarks(rows, held, target, held_out)),
    )
    return plan, changed, newest


def _check_held_out(held_out: float | None) -> None:
    if held_out is not None and (held_out < 0 or (held_out >= 1 and held_out != round(held_out))):
        raise UsageError(
            f"{held_out:g} references cannot be held out.", hint="Give a share such as 0.1, or a count such as 4."
        )


def _new_splits(rows: Sequence[_Row], aside: Sequence[tuple[str, str, int]], target: int) -> dict[str, Split]:
    seen: dict[int, str] = {}
    settled = any(row[4] == "train" for row in rows)
    for split, group in (*((row[4], row[5]) for row in rows), *((one[1], one[2]) for one in aside)):
        if not split or (group is not None and seen.setdefault(group, split) != split):
            settled = False
            break
    if settled:
        return {}
    members = [Member(row[0], row[5], row[4]) for row in rows]
    return assign_splits([*members, *(Member(one[0], one[2], one[1], active=False) for one in aside)], target)


def _moved(
    asset: Asset, rows: Sequence[_Row], aside: Sequence[tuple[str, str, int]], changed: Mapping[str, Split]
) -> tuple[str, ...]:
    """What was held out, perhaps by hand, and is trained on from now: nobody shall find that out by accident."""
    moved = [row for row in rows if row[4] and row[0] in changed]
    if not moved:
        return ()
    learned = {
        group for split, group in (*((row[4], row[5]) for row in rows), *(one[1:] for one in aside)) if split == "train"
    }
    alike = all(row[5] is not None and row[5] in learned for row in moved)
    reason = "near-duplicates of them are" if alike else "nothing else was left to train on"
    named = ", ".join(reference_address(asset.name, row[0]) for row in moved[:_NAMED])
    more = f" and {len(moved) - _NAMED} more" if len(moved) > _NAMED else ""
    return (f"Held out before and trained on from now, because {reason}: {named}{more}.",)


def _remarks(rows: Sequence[_Row], held: int, target: int, asked: float | None) -> tuple[str, ...]:
    if asked is None and held == 0 and target > 0:
        if all(row[4] for row in rows):
            reason = "all references are trained on already and keep that, unless `assetforge ref set` changes it"
        else:
            reason = f"most of the {len(rows)} references are near-duplicates of each other"
        return (f"Nothing is held out for scoring: {reason}.",)
    if asked is not None and held != target:
        return (
            f"{held} references are held out, not {target}: references keep the split they have, and near-duplicates share one.",
        )
    return ()


def get_dataset(project: Project, address: str) -> DatasetInfo:
    """The dataset version that ``mara/d3`` names; ``mara`` is the newest.

    Raises:
        UsageError: The address is malformed.
        NotFoundError: There is no such asset or dataset version.
    """
    with project.read() as session:
        asset, version = _find(session, address)
        return _info(session, asset.name, version)


def list_datasets(project: Project, asset: str) -> list[DatasetInfo]:
    """The dataset versions of an asset, newest first.

    Raises:
        NotFoundError: There is no such asset.
    """
    with project.read() as session:
        row = find_asset(session, asset)
        query = (
            select(DatasetVersion).where(DatasetVersion.asset_id == row.id).order_by(col(DatasetVersion.number).desc())
        )
        return [_info(session, asset, version) for version in session.exec(query)]


def dataset_items(project: Project, address: str, *, after: str = "", limit: int = 100) -> list[DatasetItemInfo]:
    """References of a dataset version, ordered by hash.

    Args:
        project: The film.
        address: Such as ``mara/d3``.
        after: Hash of the last one on the page before.
        limit: At most so many, at least 1.

    Raises:
        UsageError: The address is malformed, or the limit is below 1.
        NotFoundError: There is no such asset or dataset version.
    """
    if limit < 1:
        raise UsageError(f"A page of {limit} references cannot be shown.", hint="Ask for at least 1.")
    with project.read() as session:
        asset, version = _find(session, address)
        query = (
            select(DatasetItemRow, Reference.file_name)
            .join(Reference, (col(Reference.sha256) == DatasetItemRow.sha256) & (col(Reference.asset_id) == asset.id))
            .where(DatasetItemRow.dataset_id == version.id, col(DatasetItemRow.sha256) > after)
            .order_by(col(DatasetItemRow.sha256))
            .limit(limit)
        )
        return [
            DatasetItemInfo(
                sha256=item.sha256,
                file_name=file_name,
                caption=item.caption,
                crop=item.crop,
                repeats=item.repeats,
                split=item.split,
                mask=item.mask,
            )
            for item, file_name in session.exec(query)
        ]


def dataset_lines(project: Project, address: str) -> list[DatasetLine]:
    """All lines of a dataset version, ordered by hash.

    Raises:
        UsageError: The address is malformed.
        NotFoundError: There is no such asset or dataset version.
    """
    with project.read() as session:
        _, version = _find(session, address)
        return _lines(session, version.id)


def diff(project: Project, newer: str, older: str = "") -> tuple[DatasetInfo, DatasetInfo | None, DatasetDiff]:
    """What changed from one dataset version to another.

    Args:
        project: The film.
        newer: Such as ``mara/d3``.
        older: Another one, also of another asset; by default the parent of ``newer``.

    Returns:
        The newer one, the older one (``None`` when ``newer`` has no parent; everything is added then), and the difference.

    Raises:
        UsageError: An address is malformed.
        NotFoundError: There is no such asset or dataset version.
    """
    with project.read() as session:
        asset, version = _find(session, newer)
        other_asset, other = asset, None
        if older:
            other_asset, other = _find(session, older)
        elif version.parent_id is not None:
            other = session.get_one(DatasetVersion, version.parent_id)
        before = _lines(session, other.id) if other else []
        changes = diff_datasets(before, _lines(session, version.id))
        older_info = _info(session, other_asset.name, other) if other else None
        return _info(session, asset.name, version), older_info, changes


def _lines(session: Session, dataset_id: int | None) -> list[DatasetLine]:
    return [DatasetLine(*row) for row in session.connection().exec_driver_sql(_LINES, (dataset_id,))]


def _find(session: Session, address: str) -> tuple[Asset, DatasetVersion]:
    parsed = parse_dataset(address)
    asset = find_asset(session, parsed.asset)
    newest = _newest(session, asset)
    if newest is None:
        raise NotFoundError(
            f"{asset.name} has no dataset version yet.", hint=f"Make one with `assetforge dataset freeze {asset.name}`."
        )
    if parsed.number is None or parsed.number == newest.number:
        return asset, newest
    query = select(DatasetVersion).where(DatasetVersion.asset_id == asset.id, DatasetVersion.number == parsed.number)
    version = session.exec(query).first()
    if version is None:
        newest_address = dataset_address(asset.name, newest.number)
        raise NotFoundError(f"There is no dataset version {address}.", hint=f"The newest is {newest_address}.")
    return asset, version


def _newest(session: Session, asset: Asset) -> DatasetVersion | None:
    query = select(DatasetVersion).where(DatasetVersion.asset_id == asset.id)
    return session.exec(query.order_by(col(DatasetVersion.number).desc()).limit(1)).first()


def _info(
    session: Session, asset: str, version: DatasetVersion, *, is_new: bool = False, remarks: tuple[str, ...] = ()
) -> DatasetInfo:
    parent = session.get_one(DatasetVersion, version.parent_id) if version.parent_id is not None else None
    return DatasetInfo(
        id=version.id or 0,
        address=dataset_address(asset, version.number),
        asset=asset,
        number=version.number,
        tree_hash=version.tree_hash,
        parent=dataset_address(asset, parent.number) if parent else "",
        train_count=version.train_count,
        held_out_count=version.held_out_count,
        note=version.note,
        created_by=version.created_by,
        created_at=version.created_at,
        is_new=is_new,
        remarks=remarks,
    )
