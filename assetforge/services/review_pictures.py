"""Pictures of a comparison side by side as PNG files, for any viewer."""

import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image as Pillow

from assetforge.durable import storage_error, write_atomic
from assetforge.services.pictures import open_rgb
from assetforge.services.projects import Project

__all__ = ["side_by_side", "write_pairs"]

_GAP = 8
_GROUND = (22, 20, 18)


def side_by_side(left: Path, right: Path) -> bytes:
    """Two stored pictures at their real size beside each other, with a thin dark gap, as PNG.

    Raises:
        StorageError: One is missing or damaged.
    """
    first, second = open_rgb(left), open_rgb(right)
    sheet = Pillow.new("RGB", (first.width + _GAP + second.width, max(first.height, second.height)), _GROUND)
    sheet.paste(first, (0, 0))
    sheet.paste(second, (first.width + _GAP, 0))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def write_pairs(project: Project, folder: Path, pairs: Mapping[str, tuple[str, str]]) -> dict[str, Path]:
    """Write pairs of renders into a folder, which is made when it is not there; files of the same names are replaced.

    Args:
        project: The film.
        folder: Where.
        pairs: By file name: the hashes of the left and the right picture.

    Returns:
        The files by their names.

    Raises:
        StorageError: A picture is missing or damaged, or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder, "made") from error
    files = {}
    for name, (left, right) in pairs.items():
        files[name] = folder / name
        write_atomic(files[name], side_by_side(project.blobs.path(left), project.blobs.path(right)))
    return files
