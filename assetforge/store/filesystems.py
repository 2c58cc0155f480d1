"""What kind of filesystem a folder lies on, and what it makes of names. Nothing is ever written to find out."""

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Filesystem", "filesystem_of", "folds_names", "identity_of"]

_NETWORK = (
    *(
        "nfs",
        "cifs",
        "smb",
        "afp",
        "9p",
        "ceph",
        "glusterfs",
        "lustre",
        "beegfs",
        "gpfs",
        "davfs",
        "ncpfs",
        "afs",
        "coda",
    ),
    *(
        "fuse.sshfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.gvfsd-fuse",
        "fuse.davfs2",
        "fuse.glusterfs",
        "fuse.ceph",
        "fuse.smbnetfs",
    ),
    *("vboxsf", "vmhgfs", "fuse.vmhgfs-fuse", "prl_fs", "drvfs", "virtiofs"),
)
"""Beginnings of the names of filesystems that others can change without this system hearing of it."""


@dataclass(frozen=True, slots=True)
class Filesystem:
    """Where a folder lies.

    Attributes:
        name: Such as ``ext4`` or ``nfs4``; empty when the system does not say.
        network: Others can change it without an event being sent here.
    """

    name: str
    network: bool


def filesystem_of(folder: Path) -> Filesystem:
    """The filesystem that a folder lies on, whether the folder exists or not."""
    import psutil

    place = os.path.realpath(folder)
    best, name = "", ""
    for partition in psutil.disk_partitions(all=True):
        point = partition.mountpoint
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, name = point, partition.fstype
    return Filesystem(name, name.lower().startswith(_NETWORK))


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
