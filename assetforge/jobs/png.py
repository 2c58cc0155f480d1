"""Pictures that engines make, as files."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from assetforge.errors import PluginError

if TYPE_CHECKING:
    from assetforge.api.protocols import ImageArray

__all__ = ["write_png"]


def write_png(picture: "ImageArray", path: Path, temporary: Path, *, maker: str) -> None:
    """Write a picture in one step; whoever finds the file finds all of it.

    Args:
        picture: uint8, (height, width, 3), sRGB.
        path: The file; its folder is made.
        temporary: Where it is written before it is whole, on the same file system; its folder exists, or is that of ``path``.
        maker: Who made it, for the message: ``renderer`` or ``trainer``.

    Raises:
        PluginError: It is no such array.
        OSError: The disk is full.
    """
    from PIL import Image

    if picture.dtype != "uint8" or picture.ndim != 3 or picture.shape[2] != 3:
        raise PluginError(
            f"The {maker} gave an array of {picture.dtype} with shape {picture.shape} instead of uint8 (height, width, 3)."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as stream:
            Image.fromarray(picture).save(stream, format="PNG")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
