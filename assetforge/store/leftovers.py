"""Half-written files of processes that died: each lies hidden beside what it would have become."""

import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from assetforge.paths import ProjectPaths
from assetforge.store.gc import GcItem, status_of

__all__ = ["half_files"]

_OURS = re.compile(r"\.new-\w{8}\Z|\..+\.(?:[0-9a-f]{32}|\d+)\.tmp\Z", re.DOTALL)
"""Names of temporary files that are renamed when they are whole; nothing that a person or another tool wrote is called so."""


def half_files(paths: ProjectPaths, *, before: float) -> Iterator[GcItem]:
    """What was left half-written beside published files, reports, notifications, settings and files of jobs."""
    for folder in _folders(paths):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            status = status_of(path) if _OURS.match(path.name) else None
            if status is not None and stat.S_ISREG(status.st_mode) and status.st_mtime < before:
                yield GcItem(kind="half-written", path=path, size=status.st_size)


def _folders(paths: ProjectPaths) -> Iterable[Path]:
    yield from (paths.root, paths.private, paths.reports)
    for parent in (paths.loras, paths.outbox, paths.jobs):
        yield from (folder for folder in sorted(parent.iterdir()) if folder.is_dir()) if parent.is_dir() else ()
