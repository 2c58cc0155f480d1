"""What the retrain policy asks about: how assets stand against their newest run, and what automatic runs have cost."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
from PIL import Image as Pillow
from sqlmodel import Session, col, func, select

from assetforge.db.models import DatasetVersion, Image, Reference, Run
from assetforge.db.models_watch import WatchedFile, WatchRoot
from assetforge.domain.canonical import digest
from assetforge.domain.dataset_diff import DatasetLine, tree_hash
from assetforge.domain.novelty import LUMA_SIDE, Luma, Picture, count_novel
from assetforge.domain.retrain import AssetChanges, Spent
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.errors import AssetForgeError
from assetforge.services.projects import Project
from assetforge.services.succession import WATCH
from assetforge.services.versions import CALIBRATION
from assetforge.store.thumbs import ThumbStore

__all__ = ["asset_changes", "change_marks", "spent_by"]

_REFERENCE = """
    SELECT sha256, caption, crop, repeats, split, mask, rights, updated_at FROM reference WHERE asset_id = ? AND state = 'active'
"""
_ITEM = "SELECT sha256, caption, crop, repeats, split, mask FROM dataset_item WHERE dataset_id = ?"
_MARKS = """
    SELECT asset_id, count(*), sum(state = 'active'), max(updated_at),
        (SELECT group_concat(id || state) FROM (SELECT id, state FROM run WHERE run.asset_id = reference.asset_id ORDER BY id DESC LIMIT 3)),
        (SELECT count(*) FROM watched_file JOIN watch_root ON watch_root.id = root_id
         WHERE watch_root.asset_id = reference.asset_id AND watched_file.state = 'quarantined')
    FROM reference GROUP BY asset_id
"""
_MOST_LOOKED_AT_KNOWN = 256
_MOST_LOOKED_AT_NEW = 64
"""How many known and new pictures are looked at for crops, the newest known and the first new ones, so that the answer takes a few seconds at most; hashes
are compared with all. Of a hundred new pictures a few are new whatever the rest are."""


_REMEMBERED = 256
_novel: dict[str, int] = {}
"""Answers that took seconds, by what was asked: the same pictures are asked about again and again while rules wait for something else."""


@dataclass(frozen=True, slots=True)
class _Difference:
    new: tuple[str, ...]
    changed: int
    removed: int


def asset_changes(project: Project, asset_id: int) -> AssetChanges:
    """How an asset stands against the dataset of its newest run, whatever became of that run.

    References that some run of the asset was trained on just as they are now count as unchanged, so that going back to them starts nothing.
    """
    with project.read() as session:
        # A calibration trains an older dataset again and says nothing about what changed since the newest one.
        own = select(Run).where(Run.asset_id == asset_id, ~col(Run.cause).startswith(CALIBRATION))
        run = session.exec(own.order_by(col(Run.id).desc()).limit(1)).first()
        open_run = session.exec(
            select(Run.id)
            .where(Run.asset_id == asset_id, col(Run.state).in_(OPEN_JOB_STATES))
            .order_by(col(Run.id).desc())
        ).first()
        rows = session.connection().exec_driver_sql(_REFERENCE, (asset_id,)).all()
        difference = _difference(session, asset_id, rows, run)
        quarantined = session.exec(
            select(func.count())
            .select_from(WatchedFile)
            .join(WatchRoot, col(WatchRoot.id) == WatchedFile.root_id)
            .where(WatchRoot.asset_id == asset_id, WatchedFile.state == "quarantined")
        ).one()
        changed_at = session.exec(select(func.max(Reference.updated_at)).where(Reference.asset_id == asset_id)).one()
    novel = _count_novel(project, asset_id, difference.new) if difference.new else 0
    return AssetChanges(
        references=len(rows),
        new=len(difference.new),
        novel=novel,
        changed=difference.changed,
        removed=difference.removed,
        without_rights=sum(not row[6] for row in rows),
        quarantined=quarantined,
        last_change_at=_aware(changed_at),
        open_run=open_run,
        last_run=run.id if run else None,
        last_run_ended_at=_aware(run.finished_at) if run else None,
        last_run_state=run.state if run and run.state not in OPEN_JOB_STATES else "",
    )


def change_marks(project: Project) -> dict[int, tuple[object, ...]]:
    """For each asset with references, something that differs when the answer about it may differ, and costs little to ask for."""
    with project.read() as session:
        rows = session.connection().exec_driver_sql(_MARKS).all()
    return {row[0]: tuple(row[1:]) for row in rows}


def spent_by(project: Project, asset_id: int, now: datetime) -> Spent:
    """What automatic runs of the film have cost until now.

    Args:
        project: The film.
        asset_id: The asset whose next run is asked about.
        now: The time in the zone whose midnight begins the day.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    with project.read() as session:
        runs = session.exec(select(Run).where(Run.requested_by == WATCH)).all()
        times = session.exec(
            select(Run.asset_id, Run.started_at, Run.finished_at).where(
                Run.state == "succeeded", col(Run.started_at).is_not(None)
            )
        ).all()
    known: dict[int, list[float]] = {}
    for asset, started, finished in times:
        known.setdefault(asset, []).append(_hours(_aware(started), _aware(finished), now))
    everywhere = [hours for some in known.values() for hours in some]

    def estimate(asset: int) -> float | None:
        some = known.get(asset) or everywhere
        return statistics.median(some) if some else None

    def cost(run: Run) -> float:
        hours = _hours(_aware(run.started_at), _aware(run.finished_at), now)
        return max(hours, estimate(run.asset_id) or 0.0) if run.state in OPEN_JOB_STATES else hours

    today = [run for run in runs if (at := _aware(run.created_at)) is not None and at >= midnight]
    return Spent(
        runs_today=len(today),
        hours_today=sum(map(cost, today)),
        runs_ever=len(runs),
        hours_ever=sum(map(cost, runs)),
        cost_hours=estimate(asset_id),
    )


def _difference(session: Session, asset_id: int, rows: Sequence[Sequence[object]], run: Run | None) -> _Difference:
    now: dict[str, DatasetLine] = {str(row[0]): DatasetLine(*row[:6]) for row in rows}  # type: ignore[arg-type]
    if run is None:
        return _Difference(tuple(now), 0, 0)
    trained = select(DatasetVersion.tree_hash).join(Run, col(Run.dataset_id) == DatasetVersion.id)
    known = set(session.exec(trained.where(Run.asset_id == asset_id, Run.state == "succeeded")))
    if known and tree_hash(sorted(now.values(), key=lambda line: line.sha256)) in known:
        return _Difference((), 0, 0)
    before = {row[0]: DatasetLine(*row) for row in session.connection().exec_driver_sql(_ITEM, (run.dataset_id,))}
    both = now.keys() & before.keys()
    return _Difference(
        tuple(sha256 for sha256 in now if sha256 not in before),
        sum(now[sha256] != before[sha256] for sha256 in both),
        len(before.keys() - now.keys()),
    )


def _count_novel(project: Project, asset_id: int, new: Sequence[str]) -> int:
    wanted = set(new)
    with project.read() as session:
        rows = session.execute(
            select(Reference.sha256, Image.phash)
            .join(Image, col(Image.sha256) == Reference.sha256)
            .where(Reference.asset_id == asset_id, Reference.state == "active")
            .order_by(col(Reference.id).desc())
        ).all()
    thumbs = ThumbStore(project.paths.thumbs)

    def picture(row: Sequence[object], *, look: bool) -> Picture:
        sha256, phash = str(row[0]), int(row[1])  # type: ignore[call-overload]
        return Picture(sha256, phash, _luma(project, thumbs, sha256) if look else None)

    asked = digest({"new": sorted(wanted), "all": [row[0] for row in rows]})
    if asked in _novel:
        return _novel[asked]
    arrived = [row for row in reversed(rows) if row[0] in wanted]
    fresh = [picture(row, look=at < _MOST_LOOKED_AT_NEW) for at, row in enumerate(arrived)]
    others = [row for row in rows if row[0] not in wanted]
    known = [picture(row, look=at < _MOST_LOOKED_AT_KNOWN) for at, row in enumerate(others)][::-1]
    while len(_novel) >= _REMEMBERED:
        del _novel[next(iter(_novel))]
    _novel[asked] = len(count_novel(fresh, known).novel)
    return _novel[asked]


def _luma(project: Project, thumbs: ThumbStore, sha256: str) -> Luma | None:
    try:
        return _thumbnail_luma(str(thumbs.ensure(sha256, project.blobs)))
    except (AssetForgeError, OSError):
        return None


@lru_cache(maxsize=1024)
def _thumbnail_luma(path: str) -> Luma:
    with Pillow.open(path) as picture:
        grey = picture.convert("L")
        grey.thumbnail((LUMA_SIDE, LUMA_SIDE), Pillow.Resampling.BOX)
        return np.asarray(grey, dtype=np.uint8)


def _hours(started: datetime | None, finished: datetime | None, now: datetime) -> float:
    return ((finished or now) - started).total_seconds() / 3600.0 if started else 0.0


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
