"""Masks that lie beside pictures: which parts of a picture training looks at. White is learnt, black is not.

``frame-12.mask.png`` or, as OneTrainer writes it, ``frame-12-masklabel.png`` belongs to ``frame-12.png`` or a picture of that name in another format.
In a dataset that was exported, ``masks/frame-12.png`` belongs to the ``frame-12`` beside that folder, or in a folder beside it. Elsewhere a folder of that name may hold
pictures of masks.
"""

import hashlib
import os
from collections.abc import Collection
from pathlib import Path

from assetforge.errors import ImageError
from assetforge.store.formats import SUFFIXES
from assetforge.store.imaging import inspect_image

__all__ = ["EXPORT_NOTE", "MASKS_FOLDER", "MASK_SUFFIXES", "check_mask", "find_mask", "is_mask"]

EXPORT_NOTE = "assetforge.json"
"""The file in an exported dataset that says where it comes from."""

MASKS_FOLDER = "masks"
"""Where exported datasets have their masks."""

MASK_SUFFIXES = (".mask.png", "-masklabel.png")
"""In the order in which they are looked for."""

_TOLERANCE = 0.01


def find_mask(picture: Path) -> Path | None:
    """The mask beside a picture, if there is one."""
    stem = os.path.splitext(os.fsencode(picture))[0]  # noqa: PTH122 - names that are not UTF-8 stay what they are
    for suffix in MASK_SUFFIXES:
        candidate = Path(os.fsdecode(stem + suffix.encode()))
        if candidate.is_file():
            return candidate
    name = os.fsdecode(os.path.basename(stem) + b".png")  # noqa: PTH119
    for folder in picture.absolute().parents[:2]:
        candidate = folder / MASKS_FOLDER / name
        if candidate.is_file() and _is_exported(candidate):
            return candidate
    return None


def is_mask(file: Path, beside: Collection[str]) -> bool:
    """Whether a file is the mask of one of its neighbours, by its name or its folder.

    Args:
        file: The file.
        beside: Names of the files in its folder.
    """
    for suffix in MASK_SUFFIXES:
        if file.name.lower().endswith(suffix):
            stem = file.name[: -len(suffix)]
            return any(Path(name).stem == stem and Path(name).suffix.lower() in SUFFIXES for name in beside)
    return _is_exported(file)


def _is_exported(file: Path) -> bool:
    """Whether a file lies in the folder of masks of an exported dataset."""
    folder = file.absolute().parent
    return folder.name == MASKS_FOLDER and any((above / EXPORT_NOTE).is_file() for above in folder.parents[:2])


def check_mask(data: bytes, *, name: str, size: tuple[int, int], of: str) -> str:
    """Look at a mask; return its hash.

    Args:
        data: Its bytes.
        name: What its file is called.
        size: Width and height of the upright picture in pixels.
        of: What the picture is called.

    Raises:
        ImageError: It cannot be decoded, or has another shape than the picture; ``code`` is ``bad-mask``.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        seen = inspect_image(data, name=name, sha256=sha256)
    except ImageError as error:
        raise ImageError(
            f"The mask of {of} cannot be used: {error.message}",
            code="bad-mask",
            hint="Save the mask again, or remove it.",
        ) from error
    width, height = size
    if abs(seen.width * height - width * seen.height) > _TOLERANCE * width * seen.height:
        raise ImageError(
            f"The mask {name} has {seen.width}x{seen.height} pixels, another shape than {of} with {width}x{height}.",
            code="bad-mask",
            hint="Paint the mask over the upright, uncropped picture.",
        )
    return sha256
