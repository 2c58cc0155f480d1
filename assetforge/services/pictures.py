"""References as renders see them: upright, in sRGB, cropped, framed to the size of a suite."""

import io
from pathlib import Path

from PIL import Image as Pillow
from PIL import ImageOps

from assetforge.errors import ImageError, StorageError
from assetforge.store.imaging import load_srgb

__all__ = ["framed", "framed_png", "open_rgb"]


def open_rgb(path: Path, crop: str = "") -> Pillow.Image:
    """A stored picture, upright, in sRGB, on white where it is transparent.

    Args:
        path: A blob that was taken in as a reference, or a render.
        crop: ``left,top,right,bottom`` in pixels after orientation, or empty.

    Raises:
        StorageError: The file is missing or damaged.
    """
    try:
        picture = load_srgb(path.read_bytes(), name=str(path))
    except (OSError, ImageError) as error:
        raise StorageError(
            f"The picture {path} cannot be read: {error}.", hint="Run `assetforge fsck --repair`, or restore a backup."
        ) from error
    if crop:
        left, top, right, bottom = (int(part) for part in crop.split(","))
        picture = picture.crop((left, top, right, bottom))
    return picture


def framed(picture: Pillow.Image, width: int, height: int) -> Pillow.Image:
    """The middle of a picture, scaled to cover ``width`` x ``height`` pixels exactly, as training framed it."""
    if picture.size == (width, height):
        return picture
    return ImageOps.fit(picture, (width, height), method=Pillow.Resampling.LANCZOS)


def framed_png(path: Path, crop: str, width: int, height: int) -> bytes:
    """A reference as PNG of exactly ``width`` x ``height`` pixels; the same bytes every time.

    Raises:
        StorageError: The file is missing or damaged.
    """
    buffer = io.BytesIO()
    framed(open_rgb(path, crop), width, height).save(buffer, format="PNG")
    return buffer.getvalue()
