"""Files become references: everything outside the database first, then rows in short transactions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlmodel import select

from assetforge.api.events import ReferencesAdded
from assetforge.db.columns import utc_now
from assetforge.db.models import Image
from assetforge.domain.names import reference_address
from assetforge.errors import StorageError
from assetforge.services.activity import current_actor, publish, record
from assetforge.services.assets import AssetInfo, get_asset
from assetforge.services.intake_pool import IntakePool
from assetforge.services.intake_rows import Known, NearIndex, Written, write_rows
from assetforge.services.projects import Project
from assetforge.store.folders import find_pictures, shown_name
from assetforge.store.formats import FORMATS, SUFFIXES
from assetforge.store.intake import Taken
from assetforge.store.thumbs import ThumbStore

__all__ = ["Added", "Duplicate", "IngestReport", "NearDuplicate", "Refused", "Renamed", "add_references"]

_ROWS = 64
"""Most references written in one transaction."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Added:
    """A new reference.

    Attributes:
        path: The file.
        address: Such as ``mara/ref/3f9a1c``.
        sha256: Hash of the bytes.
    """

    path: Path
    address: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A file whose bytes the asset has already.

    Attributes:
        path: The file.
        address: The reference that has them.
        state: Its state: an excluded reference stays excluded.
    """

    path: Path
    address: str
    state: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that did not become a reference.

    Attributes:
        path: The file.
        code: Stable short reason, such as ``truncated``.
        message: The reason in a sentence.
        hint: What to do about it.
    """

    path: Path
    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """A new reference that looks like another one; both share a split from now on.

    Attributes:
        address: The new reference.
        other: The one it is nearest to.
        bits: How many of the 64 bits of the perceptual hashes differ, 0 to 8.
    """

    address: str
    other: str
    bits: int


@dataclass(frozen=True, slots=True)
class Renamed:
    """A picture whose file name announces another format; it was taken all the same.

    Attributes:
        path: The file.
        announced: Suffix of the name.
        format: What it really is.
    """

    path: Path
    announced: str
    format: str


@dataclass(slots=True, kw_only=True)
class IngestReport:
    """What became of a batch.

    Attributes:
        asset: Name of the asset.
        added: New references, in the order of the files.
        duplicates: Files whose bytes the asset had already.
        refused: Files that did not become references, each with its reason.
        near_duplicates: New references that look like others.
        renamed: Pictures with a misleading suffix.
        captions: How many references got a caption from a sidecar, new or changed.
        masks: How many references got a mask from a file beside them, new or changed.
        captions_kept: Addresses whose sidecar differs from a caption that was written by hand, which was kept.
        skipped: How many files of folders were no pictures.
        decoded: How often pixels were decoded, all files together.
    """

    asset: str
    added: list[Added] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    near_duplicates: list[NearDuplicate] = field(default_factory=list)
    renamed: list[Renamed] = field(default_factory=list)
    captions: int = 0
    masks: int = 0
    captions_kept: list[str] = field(default_factory=list)
    skipped: int = 0
    decoded: int = 0


def add_references(
    project: Project,
    asset: str,
    paths: Sequence[Path] = (),
    *,
    recursive: bool = True,
    origin: str = "",
    rights: str = "",
    progress: Progress | None = None,
    workers: int = 0,
) -> IngestReport:
    """Make references of files. The files are only read; one bad file never stops the rest; adding the same files again changes nothing.

    Args:
        project: The film.
        asset: Name of the asset.
        paths: Files and folders; by default the asset's own references folder.
        recursive: Also look into folders of folders.
        origin: Where the pictures come from, for people.
        rights: What is allowed with them, for people.
        progress: Called with (files done, files in all, name of the last file).
        workers: Processes; 0 chooses: one for a small batch, else one a core and two more.

    Raises:
        NotFoundError: There is no such asset.
        ConfigError: ``project.toml`` cannot be used.
        StorageError: The disk is full or the store cannot be written; what was added before stays.
    """
    info = get_asset(project, asset)
    found = find_pictures([Path(path) for path in paths] or [info.references], recursive=recursive)
    report = IngestReport(asset=asset, skipped=len(found.skipped))
    for path, reason in found.unreadable:
        hint = "Check its permissions."
        report.refused.append(Refused(path, "unreadable", f"{shown_name(path)} cannot be read: {reason}.", hint))
    with project.read() as session:
        known = session.exec(select(Image.sha256)).all()
    batch = _Batch(project, info, Known(origin=origin, rights=rights), report)
    limit = project.config.ingest.seconds_per_file
    pool = IntakePool(project.blobs, ThumbStore(project.paths.thumbs), known, limit_s=limit, workers=workers)
    try:
        for chunk in pool.run(found.files):
            if chunk.failure is not None:
                raise StorageError(chunk.failure[0], hint=chunk.failure[1])
            batch.take(chunk.files)
            if progress is not None:
                progress(batch.done, len(found.files), shown_name(chunk.files[-1].path))
    finally:
        batch.finish()
    return report


class _Batch:
    """Collects what was taken in and writes it in transactions of a bounded size."""

    def __init__(self, project: Project, asset: AssetInfo, about: Known, report: IngestReport) -> None:
        self.done = 0
        self._project = project
        self._asset = asset
        self._about = about
        self._report = report
        self._waiting: list[Taken] = []
        self._near = NearIndex(asset.id)

    def take(self, files: Sequence[Taken]) -> None:
        """Note some files, in order; write when enough have come together."""
        self.done += len(files)
        for taken in files:
            self._report.decoded += taken.decodes
            if taken.outcome == "refused":
                self._report.refused.append(Refused(taken.path, taken.code, taken.message, taken.hint))
            else:
                self._waiting.append(taken)
                self._note_suffix(taken)
        if len(self._waiting) >= _ROWS:
            self._flush()

    def finish(self) -> None:
        """Write the rest, and tell."""
        self._flush()
        report = self._report
        if not report.added:
            return
        with self._project.write() as session:
            detail = {"added": len(report.added), "refused": len(report.refused)}
            record(session, current_actor(), "added references", report.asset, **detail)
        publish(
            self._project,
            ReferencesAdded(
                project=self._project.root,
                at=utc_now(),
                actor=current_actor(),
                asset=report.asset,
                added=len(report.added),
                refused=len(report.refused),
            ),
        )

    def _flush(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        with self._project.write() as session:
            written = write_rows(session, self._asset.id, waiting, self._about)
            added = {one.taken.sha256 for one in written if one.new}
            near = self._near.compare(session, added) if added else {}
        self._tell(written, near)

    def _tell(self, written: Sequence[Written], near: dict[str, tuple[str, int]]) -> None:
        report, name = self._report, self._asset.name
        for one in written:
            address = reference_address(name, one.taken.sha256)
            if one.new:
                report.added.append(Added(one.taken.path, address, one.taken.sha256))
                if one.taken.sha256 in near:
                    other, bits = near[one.taken.sha256]
                    report.near_duplicates.append(NearDuplicate(address, reference_address(name, other), bits))
            else:
                report.duplicates.append(Duplicate(one.taken.path, address, one.state))
            report.captions += one.captioned
            report.masks += one.masked
            if one.caption_kept:
                report.captions_kept.append(address)

    def _note_suffix(self, taken: Taken) -> None:
        if taken.inspected is None:
            return
        suffix, kind = taken.path.suffix, taken.inspected.format
        if suffix.lower() not in FORMATS[kind] and (suffix.lower() in SUFFIXES or suffix):
            self._report.renamed.append(Renamed(taken.path, suffix, kind))
