"""A folder as it was when it was last dealt with, and what differs from it now.

Looking at files that did not change must cost little more than asking the system about each of them, so what is known is kept by folder, and nothing is built for a
file whose size and times are as they were.
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from assetforge.store.folders import is_temporary

__all__ = ["FolderTree", "ScanResult", "Stamp"]


class Stamp(NamedTuple):
    """What tells one state of a file from the next without reading it.

    Attributes:
        size: Bytes.
        mtime_ns: When it was written, nanoseconds since the epoch.
        ctime_ns: When anything about it changed; 0 where the filesystem cannot be trusted with it.
    """

    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(slots=True)
class ScanResult:
    """What a scan found.

    Attributes:
        changed: Files that are new or differ, by path below the root.
        missing: Known files that are gone.
        files: Number of files that were looked at.
        failed: Folders that could not be listed, with the reason; nothing is known of what is in them.
    """

    changed: dict[str, Stamp] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    files: int = 0
    failed: dict[str, str] = field(default_factory=dict)


class FolderTree:
    """What is known of a folder and everything below it. Links to folders are not followed; hidden and temporary names are not seen.

    Args:
        root: The folder.
        with_ctime: Compare inode change times too, which finds files that were replaced by others of the same size and date.
    """

    def __init__(self, root: Path, *, with_ctime: bool = True) -> None:
        self.root = root
        self._with_ctime = with_ctime
        self._folders: dict[str, dict[str, Stamp]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._folders.values()))

    def __contains__(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        return name in self._folders.get(folder, ())

    def note(self, path: str, stamp: Stamp) -> None:
        """From now on this is what is known of a file."""
        folder, _, name = path.rpartition("/")
        self._folders.setdefault(folder, {})[name] = stamp

    def forget(self, path: str) -> None:
        """A file that is gone has been dealt with."""
        folder, _, name = path.rpartition("/")
        names = self._folders.get(folder, {})
        names.pop(name, None)
        if not names:
            self._folders.pop(folder, None)

    def names_in(self, folder: str) -> Iterable[str]:
        """Names of the known files right in a folder."""
        return self._folders.get(folder, {}).keys()

    def knows_folder(self, folder: str) -> bool:
        """Whether a known file lies right in a folder; the root is always known."""
        return not folder or folder in self._folders

    def stamp_of(self, path: str) -> Stamp | None:
        """The stamp of a file now; ``None`` when it is gone or no plain file."""
        try:
            status = (self.root / path).stat()
        except OSError:
            return None
        return self._stamp(status) if stat.S_ISREG(status.st_mode) else None

    def scan(self, folders: Iterable[str] | None = None) -> ScanResult:
        """Compare with the disk.

        Args:
            folders: Only what lies right in these, and in folders below them that are not known yet; by default everything.

        Raises:
            OSError: The root cannot be listed.
        """
        result = ScanResult()
        if folders is None:
            self._scan_all(result)
        else:
            for folder in dict.fromkeys(folders):
                self._scan_part(folder, result)
        return result

    def _scan_all(self, result: ScanResult) -> None:
        visited: set[str] = set()
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            visited.add(folder)
            waiting += self._list(folder, result)
        for folder, names in self._folders.items():
            if folder not in visited and not _is_below(folder, result.failed):
                result.missing += [f"{folder}/{name}" for name in names]

    def _scan_part(self, folder: str, result: ScanResult) -> None:
        below = self._list(folder, result)
        there = set(below)
        waiting = [one for one in below if not self._knows_below(one)]
        while waiting:
            waiting += self._list(waiting.pop(), result)
        prefix = f"{folder}/" if folder else ""
        if folder in result.failed:
            return
        for other, names in self._folders.items():
            if other != folder and other.startswith(prefix):
                child = prefix + other[len(prefix) :].partition("/")[0]
                if child not in there:
                    result.missing += [f"{other}/{name}" for name in names]

    def _knows_below(self, folder: str) -> bool:
        return folder in self._folders or any(other.startswith(f"{folder}/") for other in self._folders)

    def _list(self, folder: str, result: ScanResult) -> list[str]:
        """Compare what lies right in a folder; return the folders in it."""
        known = self._folders.get(folder, {})
        prefix = f"{folder}/" if folder else ""
        try:
            with os.scandir(os.path.join(self.root, folder)) as listing:  # noqa: PTH118 - a Path for each folder would cost
                entries = list(listing)
        except FileNotFoundError:
            if not folder:
                raise
            result.missing += [prefix + name for name in known]
            return []
        except OSError as error:
            if not folder:
                raise
            result.failed[folder] = error.strerror or str(error)
            return []
        result.files += len(entries)
        seen, below = 0, []
        for entry in entries:
            before = known.get(entry.name)
            if before is None and (is_temporary(entry.name) or entry.is_dir(follow_symlinks=False)):
                if not is_temporary(entry.name):
                    below.append(prefix + entry.name)
                continue
            try:
                status = entry.stat()
            except OSError:
                continue
            if not stat.S_ISREG(status.st_mode):
                if before is not None and entry.is_dir(follow_symlinks=False):
                    below.append(prefix + entry.name)
                continue
            if before is not None:
                seen += 1
                if (
                    status.st_mtime_ns == before[1]
                    and status.st_size == before[0]
                    and (not self._with_ctime or status.st_ctime_ns == before[2])
                ):
                    continue
            result.changed[prefix + entry.name] = self._stamp(status)
        result.files -= len(below)
        if seen < len(known):
            present = {entry.name for entry in entries if prefix + entry.name not in below}
            result.missing += [prefix + name for name in known if name not in present]
        return below

    def _stamp(self, status: os.stat_result) -> Stamp:
        return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns if self._with_ctime else 0)


def _is_below(folder: str, failed: Iterable[str]) -> bool:
    return any(folder == one or folder.startswith(f"{one}/") for one in failed)
