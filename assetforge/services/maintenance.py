"""Keeping a film sound and small: checking what it owns, and taking away what nothing needs."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from assetforge.db.blob_rows import mentioned_hashes, open_for_reading
from assetforge.db.faults import database_error
from assetforge.durable import locked
from assetforge.errors import ConfigError
from assetforge.services.activity import current_actor, record
from assetforge.services.assets import list_assets
from assetforge.services.projects import Project
from assetforge.services.soundness import Problem, blob_needs, check_database
from assetforge.store.blobs import hash_file
from assetforge.store.fsck import BlobNeed, BlobProblem, FsckLevel, check_blobs, find_copies, set_aside
from assetforge.store.gc import (
    GcItem,
    GcPolicy,
    JobFate,
    finished_job_folders,
    half_written,
    old_files,
    old_trash,
    own_size,
    stale_thumbnails,
    status_of,
    throw_away,
    trash_folder,
    unneeded_blobs,
)
from assetforge.store.leftovers import half_files

__all__ = ["FsckReport", "GcReport", "Problem", "blob_needs", "check_database", "check_project", "collect_garbage"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FsckReport:
    """What a check found.

    Attributes:
        level: How thoroughly it looked.
        blobs: Number of blobs in the store.
        size: Their bytes.
        needed: Number of blobs that rows need.
        unneeded: Number of blobs that nothing needs; the collector takes them.
        problems: What is wrong.
        seconds: How long it took.
    """

    level: FsckLevel
    blobs: int
    size: int
    needed: int
    unneeded: int
    problems: tuple[Problem, ...]
    seconds: float

    @property
    def sound(self) -> bool:
        """Nothing that is needed is lost or damaged, or all of it was repaired."""
        return all(problem.repaired or not problem.needed for problem in self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class GcReport:
    """What a collection took, or would take.

    Attributes:
        dry_run: Nothing was touched.
        items: What nothing needs.
        freed: Bytes off the disk now.
        trashed: Bytes in the trash now.
        kept: Number of blobs that stay.
    """

    dry_run: bool
    items: tuple[GcItem, ...]
    freed: int
    trashed: int
    kept: int
    by_kind: dict[str, int] = field(default_factory=dict)


def check_project(
    project: Project,
    *,
    level: FsckLevel = "full",
    repair: bool = False,
    progress: Progress = lambda _done, _total: None,
) -> FsckReport:
    """Check that everything the film owns is there and whole.

    Args:
        project: The film.
        level: ``quick`` looks at existence and size, ``full`` reads and hashes every byte, ``deep`` also checks the database and looks into weights.
        repair: Move damaged blobs to ``trash/damaged`` and bring lost bytes back from wherever they still are.
        progress: Told (done, total) as blobs are read.

    Raises:
        StorageError: The database cannot be read at all.
    """
    started = time.monotonic()
    database = project.paths.database
    problems: list[Problem] = check_database(database) if level == "deep" else []
    # Rows first, bytes second: bytes exist before their row does, so nothing looks missing that is just being added.
    needs = blob_needs(database)
    faults = list(check_blobs(project.blobs, needs, level, progress))
    repairs = _repair(project, needs, faults) if repair and faults else {}
    problems += [_as_problem(project, fault, repairs.get(fault.sha256, "")) for fault in faults]
    problems += _check_published(project, level, repair=repair)
    present = list(project.blobs)
    sizes = [status.st_size for sha256 in present if (status := status_of(project.blobs.path(sha256)))]
    return FsckReport(
        level=level,
        blobs=len(present),
        size=sum(sizes),
        needed=len(needs),
        unneeded=len(set(present) - set(needs)),
        problems=tuple(problems),
        seconds=time.monotonic() - started,
    )


def collect_garbage(project: Project, *, policy: GcPolicy | None = None, dry_run: bool = True) -> GcReport:
    """Find what nothing needs, and with ``dry_run=False`` take it away: into ``trash/`` now, off the disk after the trash's own time.

    Args:
        project: The film.
        policy: How long things stay.
        dry_run: Only look.

    Raises:
        BusyError: Another collection or a backup is under way.
        StorageError: The database cannot be read; nothing is taken then.
    """
    policy = policy or GcPolicy()
    with locked(project.paths.private / "gc.lock", wait=False):
        now = time.time()
        before = now - policy.grace_s
        needed = _mentioned(project)
        items = _garbage(project, policy, needed, now)
        if not dry_run:
            into = trash_folder(project.paths.trash)
            items = throw_away(project.blobs, items, root=project.paths.private, into=into, before=before)
            items = _put_back(project, items, into)
            if items:
                with project.write() as session:
                    record(
                        session,
                        current_actor(),
                        "collected",
                        project.name,
                        items=len(items),
                        bytes=sum(item.size for item in items),
                    )
    moved = {"blob", "job"}
    kinds = {item.kind for item in items}
    return GcReport(
        dry_run=dry_run,
        items=tuple(items),
        freed=sum(item.size for item in items if item.kind not in moved),
        trashed=sum(item.size for item in items if item.kind in moved),
        kept=sum(1 for _ in project.blobs) - (sum(item.kind == "blob" for item in items) if dry_run else 0),
        by_kind={kind: sum(item.kind == kind for item in items) for kind in sorted(kinds)},
    )


def _garbage(project: Project, policy: GcPolicy, needed: set[str], now: float) -> list[GcItem]:
    paths, before = project.paths, now - policy.grace_s
    backups = sorted(paths.backups.glob("forge-*-before-*.db"), reverse=True) if paths.backups.is_dir() else []
    return [
        *unneeded_blobs(project.blobs, needed, before=before),
        *half_written(project.blobs, before=before),
        *_left_behind(paths.private, before=before),
        *half_files(paths, before=before),
        *finished_job_folders(paths.jobs, _fates(project), policy, now=now),
        *stale_thumbnails(paths.thumbs, needed, before=before),
        *old_files(paths.cache, "cache", before=now - policy.cache_s),
        *(GcItem(kind="backup", path=path, size=path.stat().st_size) for path in backups[policy.backups :]),
        *old_trash(paths.trash, before=now - policy.trash_s),
    ]


def _left_behind(private: Path, *, before: float) -> list[GcItem]:
    """Working folders of backups, restores, bundles and registrations that were killed."""
    folders = [
        folder for pattern in ("backup-*", "restore-*", ".tmp-*", "jobs/.tmp-*") for folder in private.glob(pattern)
    ]
    return [
        GcItem(kind="half-written", path=folder, size=own_size(folder))
        for folder in folders
        if folder.is_dir() and folder.stat().st_mtime < before
    ]


def _put_back(project: Project, items: Sequence[GcItem], into: Path) -> list[GcItem]:
    """Bring back blobs that a row has come to mention while they were being moved."""
    needed = _mentioned(project)
    for item in items:
        if item.sha256 in needed:
            project.blobs.put_file(into / item.path.relative_to(project.paths.private))
    return [item for item in items if item.sha256 not in needed]


def _mentioned(project: Project) -> set[str]:
    try:
        with closing(open_for_reading(project.paths.database)) as connection:
            return mentioned_hashes(connection)
    except sqlite3.Error as error:
        hint = "Nothing was removed; run `assetforge fsck --deep`."
        raise database_error(error, project.paths.database, "read", hint=hint) from error


def _fates(project: Project) -> dict[int, JobFate]:
    with closing(open_for_reading(project.paths.database)) as connection:
        return {
            job: JobFate(state, finished)
            for job, state, finished in connection.execute("SELECT id, state, finished_at FROM job")
        }


def _as_problem(project: Project, fault: BlobProblem, repaired: str) -> Problem:
    subject = ", ".join(fault.subjects[:3]) or f"blob {fault.sha256[:12]}"
    if len(fault.subjects) > 3:
        subject += f" and {len(fault.subjects) - 3} more"
    return Problem(
        kind=fault.kind,
        subject=subject,
        path=project.blobs.path(fault.sha256),
        detail=fault.detail,
        needed=bool(fault.subjects),
        repaired=repaired,
    )


def _repair(project: Project, needs: dict[str, BlobNeed], faults: Sequence[BlobProblem]) -> dict[str, str]:
    """Set damaged blobs aside, then look for the lost bytes in the trash, job folders, published files, inboxes and watched folders."""
    done: dict[str, str] = {}
    for fault in faults:
        if fault.kind == "damaged":
            aside = set_aside(project.blobs, fault.sha256, project.paths.trash)
            if not fault.subjects:
                done[fault.sha256] = f"moved to {aside}"
    lost = {
        fault.sha256: needs[fault.sha256].size
        for fault in faults
        if fault.subjects and fault.kind in ("missing", "damaged")
    }
    if not lost:
        return done
    folders = [project.paths.trash, project.paths.jobs, project.paths.loras, *_sources(project)]
    for sha256, copy in find_copies(lost, folders).items():
        stored, _size = project.blobs.put_file(copy)
        if stored == sha256:
            done[sha256] = f"brought back from {copy}"
    if done:
        with project.write() as session:
            record(session, current_actor(), "repaired", project.name, blobs=len(done))
    return done


def _sources(project: Project) -> list[Path]:
    """Where pictures come from: the inboxes, then the watched folders outside the film, as far as its settings can be read."""
    folders = [asset.references for asset in list_assets(project, archived=True)]
    with suppress(ConfigError):
        folders += [project.root / Path(root.path).expanduser() for root in project.config.watch.roots]
    return folders


def _check_published(project: Project, level: FsckLevel, *, repair: bool) -> list[Problem]:
    """Published files belong to the user, who may have moved or edited them: said, written again when lost, never replaced."""
    with closing(open_for_reading(project.paths.database)) as connection:
        rows = connection.execute(
            "SELECT path, sha256 FROM publication WHERE id IN (SELECT max(id) FROM publication GROUP BY path)"
        ).fetchall()
    found: list[Problem] = []
    for relative, sha256 in rows:
        path = project.root / relative
        if not path.is_file():
            repaired = ""
            if repair and project.blobs.verify(sha256):
                project.blobs.copy_out(sha256, path)
                repaired = "published again"
            found.append(
                Problem(kind="published-missing", subject=relative, path=path, needed=False, repaired=repaired)
            )
        elif level != "quick" and hash_file(path)[0] != sha256:
            found.append(
                Problem(
                    kind="published-changed",
                    subject=relative,
                    path=path,
                    detail="its bytes are not those of the version",
                    needed=False,
                )
            )
    return found
