"""From an image file to the square of pixels that a model is trained on."""

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps
from PIL.Image import Resampling

from assetforge.errors import ImageError

__all__ = ["PICTURES_VERSION", "read_square"]

PICTURES_VERSION = "1"
"""Part of the cache keys: changes whenever the same file would give other pixels."""

with suppress(ImportError):
    import pillow_heif

    pillow_heif.register_heif_opener()

Box = tuple[int, int, int, int]


def read_square(
    file: Path, side: int, crop: Box | None = None, *, flip: bool = False
) -> "np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]":
    """Read a picture as sRGB pixels of shape (side, side, 3): EXIF orientation, ICC to sRGB, alpha on white, ``crop``, centre square, Lanczos.

    Args:
        file: Any image that Pillow reads.
        side: Pixels.
        crop: Left, top, right, bottom in pixels after EXIF orientation.
        flip: Mirror left and right.

    Raises:
        ImageError: The file cannot be decoded, or the crop lies outside of it.
    """
    try:
        with Image.open(file) as opened:
            image = _to_srgb(ImageOps.exif_transpose(opened))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(
            f"{file.name} cannot be decoded: {error}.",
            code="undecodable",
            hint="Exclude it from the dataset or replace it.",
        ) from error
    box = crop or (0, 0, image.width, image.height)
    if not (0 <= box[0] < box[2] <= image.width and 0 <= box[1] < box[3] <= image.height):
        raise ImageError(
            f"The crop {box} of {file.name} lies outside its {image.width} x {image.height} pixels.",
            code="bad-crop",
            hint="Set the crop again.",
        )
    image = image.crop(box)
    image = image.resize((side, side), Resampling.LANCZOS, box=_centre_square(image.size))
    if flip:
        image = ImageOps.mirror(image)
    return np.asarray(image, dtype=np.uint8)


def _centre_square(size: tuple[int, int]) -> tuple[float, float, float, float]:
    side = min(size)
    x, y = (size[0] - side) / 2, (size[1] - side) / 2
    return x, y, x + side, y + side


def _to_srgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_eight_bits(image)
    profile = image.info.get("icc_profile")
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if profile and image.mode in {"RGB", "RGBA", "L", "CMYK", "LAB"}:
        image = _apply_profile(image, profile)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert to sRGB; a profile that cannot be used leaves the numbers as they are, which is what viewers do too."""
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    colours = image.convert("RGB") if alpha is not None else image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(colours, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image
    if converted is None:
        return image
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _to_eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image, dtype=np.float64)
    ceiling = 65535.0 if values.max(initial=0.0) > 255 else 255.0
    if image.mode == "F" and values.max(initial=0.0) <= 1.0:
        ceiling = 1.0
    return Image.fromarray(np.clip(values / ceiling * 255.0 + 0.5, 0, 255).astype(np.uint8), mode="L")
