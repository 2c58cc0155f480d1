"""Which files of a folder could become references."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from assetforge.store.formats import SUFFIXES, sniff
from assetforge.store.masks import is_mask
from assetforge.store.sidecar import SIDECAR_SUFFIXES

__all__ = ["Found", "find_pictures", "is_temporary", "shown_name"]

_TEMPORARY_SUFFIXES = (".part", ".partial", ".crdownload", ".tmp", ".temp", ".filepart", ".download", ".swp", "~")
_TEMPORARY_PREFIXES = (".", "~$", "._")
_SYSTEM = {"thumbs.db", "desktop.ini", "__macosx", "@eadir"}
_HEAD = 64


@dataclass(slots=True)
class Found:
    """What looking through paths found.

    Attributes:
        files: Candidates, sorted within every path that was given.
        skipped: Files of folders that are no pictures by name and content; nobody asked for them by name.
        unreadable: Paths that could not be looked at, with the reason.
    """

    files: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


def shown_name(path: Path) -> str:
    """The file's name as text that can be stored and shown; bytes that are not UTF-8 become escapes."""
    return os.fsencode(path.name).decode("utf-8", "backslashreplace")


def is_temporary(name: str) -> bool:
    """Whether a file or folder of that name is hidden, half-written, or the system's own."""
    lowered = name.lower()
    return lowered.startswith(_TEMPORARY_PREFIXES) or lowered.endswith(_TEMPORARY_SUFFIXES) or lowered in _SYSTEM


def find_pictures(paths: Iterable[Path], *, recursive: bool) -> Found:
    """Look through files and folders.

    A file that is named is always a candidate. In folders, hidden and temporary names and the masks of pictures are passed over, symbolic links to folders are not followed, and a file
    with a foreign suffix counts only when its first bytes are those of a picture.

    Args:
        paths: Files and folders.
        recursive: Also look into folders of folders.
    """
    found = Found()
    seen: set[bytes] = set()
    for path in paths:
        if path.is_dir():
            _walk(path, found, recursive=recursive)
        else:
            found.files.append(path)
    unique = []
    for file in found.files:
        key = os.fsencode(file.absolute())
        if key not in seen:
            seen.add(key)
            unique.append(file)
    found.files = unique
    return found


def _walk(folder: Path, found: Found, *, recursive: bool) -> None:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        found.unreadable.append((folder, error.strerror or str(error)))
        return
    names = {entry.name for entry in entries}
    for entry in entries:
        path = Path(entry.path)
        if is_temporary(entry.name) or is_mask(path, names):
            continue
        if entry.is_dir(follow_symlinks=False):
            if recursive:
                _walk(path, found, recursive=True)
        elif _is_candidate(path):
            found.files.append(path)
        elif path.suffix.lower() not in SIDECAR_SUFFIXES:
            found.skipped.append(path)


def _is_candidate(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return bool(sniff(file.read(_HEAD)))
    except OSError:
        return False
