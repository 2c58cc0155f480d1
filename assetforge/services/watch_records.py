"""Which folders are watched, and how that goes: the rows of watched folders."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import update
from sqlmodel import Session, col, func, select

from assetforge.db.columns import utc_now
from assetforge.db.models import Asset
from assetforge.db.models_watch import WatchedFile, WatchRoot
from assetforge.errors import ConfigError
from assetforge.services.assets import list_assets
from assetforge.services.projects import Project
from assetforge.store.tree import Stamp

__all__ = ["RootHealth", "WatchedFolder", "known_files", "list_health", "path_text", "save_health", "watched_folders"]

WatchMode = Literal["auto", "events", "polling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedFolder:
    """A folder that is watched for an asset.

    Attributes:
        root_id: Row id.
        asset: Name of the asset.
        asset_id: Its row id.
        path: The folder.
        shown: What people read: relative to the film where it lies inside.
        mode: How it shall be watched.
        identity: What the folder was when files were last seen in it, see :func:`~assetforge.store.filesystems.identity_of`; empty before that.
    """

    root_id: int
    asset: str
    asset_id: int
    path: Path
    shown: str
    mode: WatchMode
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RootHealth:
    """How watching a folder goes.

    Attributes:
        asset: Name of the asset.
        path: The folder, relative to the film where it lies inside.
        mode: ``events`` or ``polling``.
        filesystem: Such as ``ext4``.
        folds_names: Upper and lower case are the same there.
        state: ``ok``, ``lost`` (the folder is away) or ``problem``.
        problem: What is wrong, in a sentence.
        files: Number of files that are known.
        quarantined: Number of files that wait for a decision.
        events: How many events the system sent.
        missed: How many changes a scan found that no event had announced.
        scans: How many full scans there were.
        last_scan_at: When the last full scan ended, in UTC.
        last_scan_s: How long it took.
        updated_at: When the watcher last said anything, in UTC.
    """

    asset: str
    path: str
    mode: str
    filesystem: str
    folds_names: bool
    state: str
    problem: str
    files: int
    quarantined: int
    events: int
    missed: int
    scans: int
    last_scan_at: datetime | None
    last_scan_s: float
    updated_at: datetime


def watched_folders(project: Project) -> list[WatchedFolder]:
    """Every folder that shall be watched: the references folder of each asset that is worked on, and those that ``project.toml`` names.

    Raises:
        ConfigError: ``project.toml`` cannot be used, names an asset that is not there, or a folder inside ``.assetforge``.
    """
    config = project.config.watch
    assets = {asset.name: asset for asset in list_assets(project)}
    wanted: dict[tuple[str, str], tuple[Path, WatchMode]] = {}
    for asset in assets.values():
        wanted[asset.name, _shown(project, asset.references)] = (asset.references, config.mode)
    for root in config.roots:
        if root.asset not in assets:
            raise ConfigError(
                f"{project.paths.config}: watch.roots names the asset {root.asset!r}, which is not there.",
                hint="Correct the name, or add the asset with `assetforge asset add`.",
            )
        path = Path(os.path.abspath(project.root / Path(root.path).expanduser()))  # noqa: PTH100 - links stay as they were written
        if path.is_relative_to(project.paths.private) or project.root.is_relative_to(path):
            raise ConfigError(
                f"{project.paths.config}: watch.roots names {path}, which holds the film itself.",
                hint="Name a folder with pictures of one asset.",
            )
        if wanted.get((root.asset, _shown(project, path))) is None:
            _check_apart(project, path, root.asset, wanted)
        wanted[root.asset, _shown(project, path)] = (path, root.mode if root.mode != "auto" else config.mode)
    with project.read() as session:
        rows = {(name, row.path): row for row, name in session.exec(select(WatchRoot, Asset.name).join(Asset))}
    missing = [key for key in wanted if key not in rows]
    if missing:
        with project.write() as session:
            for name, shown in missing:
                found = session.exec(
                    select(WatchRoot).where(WatchRoot.asset_id == assets[name].id, WatchRoot.path == shown)
                ).first()
                rows[name, shown] = found or WatchRoot(asset_id=assets[name].id, path=shown)
                session.add(rows[name, shown])
    return [
        WatchedFolder(
            root_id=rows[key].id or 0,
            asset=key[0],
            asset_id=rows[key].asset_id,
            path=path,
            shown=key[1],
            mode=mode,
            identity=rows[key].identity,
        )
        for key, (path, mode) in sorted(wanted.items())
    ]


def known_files(project: Project, root_id: int) -> Iterator[tuple[str, Stamp]]:
    """What is known of the files of a folder, by path below it."""
    with project.read() as session:
        rows = session.connection().exec_driver_sql(
            "SELECT path, size, mtime_ns, ctime_ns FROM watched_file WHERE root_id = ?", (root_id,)
        )
        for path, size, mtime_ns, ctime_ns in rows:
            yield os.fsdecode(path), Stamp(size, mtime_ns, ctime_ns)


def save_health(session: Session, root_id: int, values: Mapping[str, Any]) -> None:
    """Write down how watching a folder goes.

    Args:
        session: A write session.
        root_id: Row id.
        values: Columns of the row.
    """
    session.execute(update(WatchRoot).where(col(WatchRoot.id) == root_id).values(**values, updated_at=utc_now()))


def list_health(project: Project) -> list[RootHealth]:
    """How watching goes, folder by folder."""
    with project.read() as session:
        counted = session.exec(
            select(WatchedFile.root_id, func.count())
            .where(WatchedFile.state == "quarantined")
            .group_by(col(WatchedFile.root_id))
        ).all()
        rows = session.exec(
            select(WatchRoot, Asset.name)
            .join(Asset)
            .where(col(Asset.archived_at).is_(None))
            .order_by(Asset.name, WatchRoot.path)
        ).all()
    quarantined = dict(counted)
    return [
        RootHealth(
            asset=name,
            path=row.path,
            mode=row.mode,
            filesystem=row.filesystem,
            folds_names=row.folds_names,
            state=row.state,
            problem=row.problem,
            files=row.files,
            quarantined=quarantined.get(row.id or 0, 0),
            events=row.events,
            missed=row.missed,
            scans=row.scans,
            last_scan_at=row.last_scan_at,
            last_scan_s=row.last_scan_s,
            updated_at=row.updated_at,
        )
        for row, name in rows
    ]


def path_text(path: bytes) -> str:
    """The path of a watched file as text that can be shown; bytes that are not UTF-8 become escapes."""
    return path.decode("utf-8", "backslashreplace")


def _check_apart(
    project: Project, path: Path, asset: str, others: Mapping[tuple[str, str], tuple[Path, WatchMode]]
) -> None:
    """A picture in two watched folders at once would be taken in twice, or for two assets."""
    for (name, shown), (other, _) in others.items():
        if path.is_relative_to(other) or other.is_relative_to(path):
            raise ConfigError(
                f"{project.paths.config}: watch.roots names {path} for {asset}, and {shown}, watched for {name}, is in one place with it.",
                hint="Name folders that do not hold one another.",
            )


def _shown(project: Project, path: Path) -> str:
    return path.relative_to(project.root).as_posix() if path.is_relative_to(project.root) else str(path)
