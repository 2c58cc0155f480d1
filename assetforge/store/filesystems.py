"""What kind of filesystem a folder lies on, and what it makes of names. Nothing is ever written to find out."""

import os
import unicodedata
from pathlib import Path

__all__ = ["filesystem_of", "folds_names", "identity_of", "is_networked"]

_NETWORK = (
    *(
        "nfs",
        "cifs",
        "smb",
        "afp",
        "9p",
        "ceph",
        "gluster",
        "lustre",
        "beegfs",
        "gpfs",
        "dav",
        "ncp",
        "afs",
        "coda",
        "ocfs",
    ),
    *("fuse", "vboxsf", "vmhgfs", "prl_fs", "drvfs", "virtiofs"),
)
"""Beginnings of the names of filesystems that others can change without this system hearing of it."""


def filesystem_of(folder: Path) -> str:
    """Type of the filesystem that holds a folder, such as ``ext4`` or ``nfs4``, whether the folder exists or not; empty when the system does not say."""
    import psutil

    place = folder.resolve()
    mounts = [(Path(part.mountpoint), part.fstype) for part in psutil.disk_partitions(all=True)]
    around = [(mount, kind) for mount, kind in mounts if place.is_relative_to(mount)]
    return max(around, key=lambda entry: len(entry[0].parts))[1] if around else ""


def is_networked(filesystem: str) -> bool:
    """Whether others can change a filesystem of that type without this system hearing of it, and whether SQLite's locks may fail on it."""
    return filesystem.lower().startswith(_NETWORK)


def identity_of(folder: Path) -> str:
    """What tells a folder from another one of the same name, such as the empty one below a share that is not mounted.

    Raises:
        OSError: It is gone.
    """
    status = folder.stat()
    return f"{status.st_dev}:{status.st_ino}"


def folds_names(folder: Path) -> bool:
    """Whether the filesystem takes names that differ in case or Unicode form for the same; asked by looking for a known name in another spelling."""
    try:
        with os.scandir(folder) as listing:
            names = [entry.name for _, entry in zip(range(64), listing, strict=False)]
    except OSError:
        names = []
    candidates = [(folder, name) for name in names] or [(folder.parent, folder.name)]
    for parent, name in candidates:
        other = name.swapcase() if name.swapcase() != name else unicodedata.normalize("NFD", name)
        if other == name or other in names:
            continue
        try:
            return (parent / name).samefile(parent / other)
        except OSError:
            return False
    return False
