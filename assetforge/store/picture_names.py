"""What a file in a folder of pictures is: a picture, something that belongs to one, or neither."""

from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from assetforge.store.formats import SUFFIXES, sniff
from assetforge.store.masks import MASK_SUFFIXES, MASKS_FOLDER, is_mask
from assetforge.store.sidecar import SIDECAR_SUFFIXES

__all__ = ["NameKind", "kind_of_file"]

_FOREIGN = frozenset(
    [
        ".psd",
        ".psb",
        ".exr",
        ".dpx",
        ".hdr",
        ".tga",
        ".svg",
        ".xcf",
        ".kra",
        ".clip",
        ".jxl",
        ".jp2",
        ".cr2",
        ".cr3",
        ".nef",
        ".arw",
        ".dng",
        ".raf",
        ".orf",
        ".rw2",
        ".ico",
    ]
)
"""Pictures of formats that are not read; they are refused in words rather than passed over."""

_HEAD = 64


class NameKind(Enum):
    """What a file is."""

    PICTURE = "picture"
    BESIDE = "beside"
    OTHER = "other"


def kind_of_file(path: Path, neighbours: Iterable[str]) -> NameKind:
    """What a file is, by its name, and by its first bytes where the name says nothing.

    Args:
        path: The file.
        neighbours: Names of the files in its folder; needed for masks only.
    """
    name = path.name.lower()
    if (name.endswith(MASK_SUFFIXES) or path.parent.name == MASKS_FOLDER) and is_mask(path, set(neighbours)):
        return NameKind.BESIDE
    suffix = path.suffix.lower()
    if suffix in SIDECAR_SUFFIXES:
        return NameKind.BESIDE
    if suffix in SUFFIXES or suffix in _FOREIGN:
        return NameKind.PICTURE
    try:
        with path.open("rb") as file:
            return NameKind.PICTURE if sniff(file.read(_HEAD)) else NameKind.OTHER
    except OSError:
        return NameKind.OTHER
