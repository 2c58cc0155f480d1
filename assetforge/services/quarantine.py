"""Files of watched folders that wait for a person: what is there, and what is decided about it. The files themselves are never touched."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlmodel import col, select

from assetforge.db.columns import utc_now
from assetforge.db.models import Asset
from assetforge.db.models_watch import WatchedFile, WatchRoot
from assetforge.errors import NotFoundError, UsageError
from assetforge.services.activity import current_actor, record
from assetforge.services.assets import get_asset
from assetforge.services.folder_intake import FolderIntake
from assetforge.services.ingest import IngestReport, add_references
from assetforge.services.projects import Project
from assetforge.services.watch_records import WatchedFolder, path_text, watched_folders
from assetforge.store.tree import FolderTree

__all__ = ["Quarantined", "discard", "find_quarantined", "keep", "list_quarantine", "move_to", "retry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A file that waits for a decision.

    Attributes:
        id: Number that commands take.
        asset: Asset whose folder it lies in.
        path: The file.
        shown: Its path below the folder, as text.
        code: Stable short reason, such as ``truncated`` or ``small``.
        message: The reason in a sentence.
        hint: What to do about it.
        can_keep: It could be read; only the film's rules hold it back.
        at: Since when, in UTC.
    """

    id: int
    asset: str
    path: Path
    shown: str
    code: str
    message: str
    hint: str
    can_keep: bool
    at: datetime


def list_quarantine(project: Project, asset: str = "") -> list[Quarantined]:
    """Everything that waits, the newest first.

    Args:
        project: The film.
        asset: Only what lies in the folders of this one.
    """
    with project.read() as session:
        query = (
            select(WatchedFile, WatchRoot.path, Asset.name)
            .join(WatchRoot, col(WatchRoot.id) == WatchedFile.root_id)
            .join(Asset, col(Asset.id) == WatchRoot.asset_id)
            .where(WatchedFile.state == "quarantined", *([Asset.name == asset] if asset else []))
            .order_by(col(WatchedFile.at).desc(), col(WatchedFile.id))
        )
        return [_info(project, file, root, name) for file, root, name in session.exec(query)]


def find_quarantined(project: Project, numbers: Sequence[int], *, everything: bool = False) -> list[Quarantined]:
    """The files of some numbers, or all.

    Raises:
        NotFoundError: One of them does not wait.
        UsageError: Neither numbers nor everything was asked for.
    """
    waiting = {one.id: one for one in list_quarantine(project)}
    if everything:
        return list(waiting.values())
    if not numbers:
        raise UsageError(
            "No file was named.", hint="Give the numbers that `assetforge watch quarantine` shows, or --all."
        )
    for number in numbers:
        if number not in waiting:
            raise NotFoundError(
                f"No file of the number {number} waits.", hint="`assetforge watch quarantine` shows what waits."
            )
    return [waiting[number] for number in dict.fromkeys(numbers)]


def keep(project: Project, files: Sequence[Quarantined]) -> list[Quarantined]:
    """Make references of files although the film's rules hold them back.

    Returns:
        Those that still wait, since they cannot be read.

    Raises:
        StorageError: The store cannot be written.
    """
    return _take(project, files, whatever=True)


def retry(project: Project, files: Sequence[Quarantined]) -> list[Quarantined]:
    """Read files again.

    Returns:
        Those that still wait.

    Raises:
        StorageError: The store cannot be written.
    """
    return _take(project, files, whatever=False)


def discard(project: Project, files: Sequence[Quarantined], *, why: str = "") -> None:
    """Pass files over from now on; another file of the same name is looked at again."""
    _mark_discarded(project, files, "discarded", why=why)


def move_to(project: Project, files: Sequence[Quarantined], asset: str) -> IngestReport:
    """Make references of another asset of files; in this one they are passed over.

    Raises:
        NotFoundError: There is no such asset.
        StorageError: The store cannot be written.
    """
    get_asset(project, asset)
    report = add_references(project, asset, [one.path for one in files], origin="watched folder")
    refused = {one.path for one in report.refused}
    _mark_discarded(project, [one for one in files if one.path not in refused], "moved", to=asset)
    return report


def _take(project: Project, files: Sequence[Quarantined], *, whatever: bool) -> list[Quarantined]:
    folders = {folder.root_id: folder for folder in watched_folders(project)}
    chosen = {one.id for one in files}
    for root_id, rows in _by_root(project, chosen).items():
        if root_id in folders:
            _take_in_folder(project, folders[root_id], rows, whatever=whatever)
    return [one for one in list_quarantine(project) if one.id in chosen]


def _take_in_folder(project: Project, folder: WatchedFolder, paths: Sequence[str], *, whatever: bool) -> None:
    tree, intake = FolderTree(folder.path), FolderIntake(project, folder)
    stamps = {path: stamp for path in paths if (stamp := tree.stamp_of(path)) is not None}
    intake.remove([path for path in paths if path not in stamps])
    intake.take(stamps, whatever=whatever)


def _by_root(project: Project, numbers: set[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    with project.read() as session:
        for row in session.exec(select(WatchedFile).where(col(WatchedFile.id).in_(numbers))):
            found.setdefault(row.root_id, []).append(os.fsdecode(row.path))
    return found


def _mark_discarded(project: Project, files: Sequence[Quarantined], verb: str, **detail: str) -> None:
    with project.write() as session:
        for row in session.exec(select(WatchedFile).where(col(WatchedFile.id).in_([one.id for one in files]))):
            row.state, row.at = "discarded", utc_now()
            session.add(row)
        for one in files:
            told = {key: value for key, value in detail.items() if value}
            record(session, current_actor(), verb, one.shown, asset=one.asset, reason=one.code, **told)


def _info(project: Project, file: WatchedFile, root: str, asset: str) -> Quarantined:
    return Quarantined(
        id=file.id or 0,
        asset=asset,
        path=project.root / root / os.fsdecode(file.path),
        shown=path_text(file.path),
        code=file.code,
        message=file.message,
        hint=file.hint,
        can_keep=file.code in ("small", "near-duplicate"),
        at=file.at,
    )
