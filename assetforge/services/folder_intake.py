"""What the files of a watched folder mean for the references of its asset: come, changed, moved, gone.

A reference is its bytes, so a file that is renamed or copied is the reference it was. A file whose bytes changed is a new reference, which takes over what people
said about the old one. A reference none of whose files is left is put aside, and comes back with its file; nothing is ever deleted.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import delete
from sqlalchemy.dialects.sqlite import insert
from sqlmodel import Session, col, select

from assetforge.api.events import FilesQuarantined, ReferencesAdded
from assetforge.db.columns import utc_now
from assetforge.db.models import Image
from assetforge.db.models_watch import WatchedFile
from assetforge.domain.names import reference_address
from assetforge.errors import StorageError
from assetforge.services.activity import publish, record
from assetforge.services.intake_policy import OffPolicy, off_policy
from assetforge.services.intake_pool import IntakePool
from assetforge.services.intake_rows import Known, NearIndex, Written, write_rows
from assetforge.services.projects import Project
from assetforge.services.succession import WATCH, Leaving, carry_over, put_aside, take_back
from assetforge.services.watch_records import WatchedFolder
from assetforge.store.intake import Taken
from assetforge.store.thumbs import ThumbStore
from assetforge.store.tree import Stamp

__all__ = ["FolderIntake", "TakeReport"]

_Item = TypeVar("_Item")

_ROWS = 64
_FEW_FILES = 64
_PASSING = ("missing", "changing")
"""Refusals that say nothing about the file: it is gone again, or somebody writes to it."""


@dataclass(slots=True)
class TakeReport:
    """What became of some files.

    Attributes:
        settled: Files that have been dealt with, as they were.
        again: Files that changed or went away meanwhile; look at them again.
        added: Addresses of new references.
        restored: Addresses of references that came back with their file.
        left: Addresses of references that were put aside because their file is another picture now, or gone.
        quarantined: Names of files that wait for a decision, with the reason.
        captions: How many references got a caption from a file beside them.
        masks: How many got a mask.
    """

    settled: dict[str, Stamp] = field(default_factory=dict)
    again: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    captions: int = 0
    masks: int = 0

    @property
    def changed_anything(self) -> bool:
        """Whether references or the quarantine are not what they were."""
        return bool(self.added or self.restored or self.left or self.quarantined or self.captions or self.masks)


class FolderIntake:
    """Takes in what changed in one watched folder.

    Args:
        project: The film.
        folder: The folder.
    """

    def __init__(self, project: Project, folder: WatchedFolder) -> None:
        self._project, self._folder = project, folder
        self._near = NearIndex(folder.asset_id)

    def take(self, files: Mapping[str, Stamp], *, whatever: bool = False) -> TakeReport:
        """Take in files that have settled. They are only read; one bad file never stops the rest.

        Args:
            files: Pictures by path below the folder, as they were before they are read.
            whatever: Take pictures that the film's rules would hold back, too.

        Raises:
            ConfigError: ``project.toml`` cannot be used.
            StorageError: The disk is full or the store cannot be written; what was taken before stays.
        """
        report = TakeReport()
        config = self._project.config
        rules = (
            OffPolicy(min_side=config.watch.min_side, near=config.watch.near_duplicates == "ask")
            if not whatever
            else OffPolicy()
        )
        by_path = {self._folder.path / path: path for path in files}
        pool = IntakePool(
            self._project.blobs,
            ThumbStore(self._project.paths.thumbs),
            self._known(len(files)),
            limit_s=config.ingest.seconds_per_file,
        )
        try:
            for chunk in pool.run(list(by_path)):
                if chunk.failure is not None:
                    raise StorageError(chunk.failure[0], hint=chunk.failure[1])
                for some in _batches(chunk.files):
                    self._write([(by_path[taken.path], taken) for taken in some], files, rules, report)
        except BaseException:
            # What a transaction that came to nothing had compared is not there.
            self._near = NearIndex(self._folder.asset_id)
            raise
        finally:
            self._tell(report)
        return report

    def note_beside(self, files: Mapping[str, Stamp]) -> None:
        """Remember captions and masks as they are, so that their next change is noticed after a restart."""
        for some in _batches(list(files.items())):
            with self._project.write() as session:
                _upsert(session, [self._row(path, stamp, "beside") for path, stamp in some])

    def remove(self, paths: Sequence[str]) -> TakeReport:
        """Files are gone: put aside the references of which no file is left."""
        report = TakeReport()
        for some in _batches(paths):
            with self._project.write() as session:
                rows = self._rows(session, some)
                session.execute(delete(WatchedFile).where(col(WatchedFile.id).in_([row.id for row in rows.values()])))
                leaving = [Leaving(row.sha256, os.path.basename(path)) for path, row in rows.items() if row.sha256]  # noqa: PTH119
                self._put_aside(session, leaving, report)
        return report

    def _write(
        self, some: Sequence[tuple[str, Taken]], stamps: Mapping[str, Stamp], rules: "OffPolicy", report: TakeReport
    ) -> None:
        with self._project.write() as session:
            before = self._rows(session, [path for path, _ in some])
            rows: list[dict[str, object]] = []
            accepted: list[tuple[str, Taken]] = []
            for path, taken in some:
                if taken.outcome == "refused" and taken.code in _PASSING:
                    report.again.append(path)
                    continue
                report.settled[path] = stamps[path]
                old = before.get(path)
                if old is not None and old.state == "discarded" and _is_the_same(old, stamps[path], taken.sha256):
                    rows.append(self._row(path, stamps[path], "discarded", old.sha256, old))
                elif taken.outcome == "refused":
                    rows.append(self._row(path, stamps[path], "quarantined", old.sha256 if old else "", taken))
                    report.quarantined.append((path, taken.message))
                else:
                    accepted.append((path, taken))
            held = off_policy(session, self._folder, [taken for _, taken in accepted], rules)
            for path, taken in accepted:
                reason = held.get(taken.path)
                state = "quarantined" if reason else "taken"
                rows.append(self._row(path, stamps[path], state, taken.sha256, reason))
                if reason:
                    report.quarantined.append((path, reason.message))
            _upsert(session, rows)
            good = [(path, taken) for path, taken in accepted if taken.path not in held]
            self._write_references(session, good, before, report)

    def _write_references(
        self, session: Session, some: Sequence[tuple[str, Taken]], before: Mapping[str, WatchedFile], report: TakeReport
    ) -> None:
        about = Known(origin=self._folder.shown, rights="")
        written = write_rows(session, self._folder.asset_id, [taken for _, taken in some], about)
        new = [one.taken.sha256 for one in written if one.new]
        if new:
            self._near.compare(session, set(new))
            carry_over(session, self._folder.asset_id, new)
        returning = [one.taken.sha256 for one in written if not one.new and one.state == "excluded"]
        report.restored += self._addresses(take_back(session, self._folder.asset, self._folder.asset_id, returning))
        leaving = [
            Leaving(old.sha256, os.path.basename(path), one.taken.sha256, one.new)  # noqa: PTH119
            for (path, _), one in zip(some, written, strict=True)
            if (old := before.get(path)) is not None and old.sha256 and old.sha256 != one.taken.sha256
        ]
        self._put_aside(session, leaving, report)
        self._count(written, report)

    def _put_aside(self, session: Session, leaving: Sequence[Leaving], report: TakeReport) -> None:
        session.flush()
        report.left += self._addresses(put_aside(session, self._folder.asset, self._folder.asset_id, leaving))

    def _addresses(self, hashes: Sequence[str]) -> list[str]:
        return [reference_address(self._folder.asset, sha256) for sha256 in hashes]

    def _count(self, written: Sequence[Written], report: TakeReport) -> None:
        for one in written:
            if one.new:
                report.added.append(reference_address(self._folder.asset, one.taken.sha256))
            report.captions += one.captioned
            report.masks += one.masked

    def _tell(self, report: TakeReport) -> None:
        root, asset, now = self._project.root, self._folder.asset, utc_now()
        if report.added:
            with self._project.write() as session:
                detail = {"added": len(report.added), "refused": len(report.quarantined), "folder": self._folder.shown}
                record(session, WATCH, "added references", asset, **detail)
            publish(
                self._project,
                ReferencesAdded(
                    project=root,
                    at=now,
                    actor=WATCH,
                    asset=asset,
                    added=len(report.added),
                    refused=len(report.quarantined),
                ),
            )
        if report.quarantined:
            reason = report.quarantined[0][1]
            publish(
                self._project,
                FilesQuarantined(
                    project=root, at=now, actor=WATCH, asset=asset, files=len(report.quarantined), reason=reason
                ),
            )

    def _known(self, files: int) -> Sequence[str]:
        """Hashes that need not be decoded again; handing all of them to other processes is worth it for many files only."""
        if files < _FEW_FILES:
            return ()
        with self._project.read() as session:
            return session.exec(select(Image.sha256)).all()

    def _rows(self, session: Session, paths: Sequence[str]) -> dict[str, WatchedFile]:
        names = {os.fsencode(path): path for path in paths}
        found = session.exec(
            select(WatchedFile).where(WatchedFile.root_id == self._folder.root_id, col(WatchedFile.path).in_(names))
        ).all()
        return {names[row.path]: row for row in found}

    def _row(
        self, path: str, stamp: Stamp, state: str, sha256: str = "", reason: "Taken | WatchedFile | None" = None
    ) -> dict[str, object]:
        return {
            "root_id": self._folder.root_id,
            "path": os.fsencode(path),
            **stamp._asdict(),
            "state": state,
            "sha256": sha256,
            "code": reason.code if reason else "",
            "message": reason.message if reason else "",
            "hint": reason.hint if reason else "",
            "at": utc_now(),
        }


def _is_the_same(before: WatchedFile, now: Stamp, sha256: str) -> bool:
    """Whether a file is still what was decided about; what cannot be read is known by its size and date alone."""
    if before.sha256 and sha256:
        return before.sha256 == sha256
    return (before.size, before.mtime_ns) == (now.size, now.mtime_ns)


def _upsert(session: Session, rows: Sequence[dict[str, object]]) -> None:
    if not rows:
        return
    statement = insert(WatchedFile)
    fresh = {name: statement.excluded[name] for name in rows[0] if name not in ("root_id", "path")}
    statement = statement.on_conflict_do_update(index_elements=["root_id", "path"], set_=fresh)
    session.connection().execute(statement, list(rows))


def _batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), _ROWS):
        yield items[start : start + _ROWS]
