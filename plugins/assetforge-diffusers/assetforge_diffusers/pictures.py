"""From an image file to the pixels that a model is trained on."""

import io
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps
from PIL.Image import Resampling

from assetforge.domain.buckets import Fit, Size
from assetforge.errors import ImageError

__all__ = ["PICTURES_VERSION", "Mask", "read_fitted"]

PICTURES_VERSION = "2"
"""Part of the cache keys: changes whenever the same file would give other pixels."""

with suppress(ImportError):
    import pillow_heif

    pillow_heif.register_heif_opener()

Box = tuple[int, int, int, int]
Mask = Path | Literal["none", "alpha", "whole"]
Pixels = NDArray[np.uint8]


def read_fitted(file: Path, shown: Fit, crop: Box | None = None, *, flip: bool = False, mask: Mask = "none") -> Pixels:
    """Read a picture as sRGB pixels of its bucket: EXIF orientation, ICC to sRGB, alpha on white, ``crop``, the middle in the bucket's shape, Lanczos.

    Args:
        file: Any image that Pillow reads.
        shown: How it goes into its bucket.
        crop: Left, top, right, bottom in pixels after EXIF orientation.
        flip: Mirror left and right.
        mask: Also return how much every pixel counts: its opacity, how bright another picture of the same shape is there, or all alike.

    Returns:
        uint8, (height, width, 3), or (height, width, 4) with a mask; 255 counts fully, and pictures without alpha are opaque everywhere.

    Raises:
        ImageError: The file cannot be decoded, or the crop lies outside of it.
    """
    try:
        with Image.open(file) as opened:
            upright = ImageOps.exif_transpose(opened)
            opacity = None
            if mask == "alpha" and upright.has_transparency_data:
                opacity = upright.convert("RGBA").getchannel("A")
            image = _to_srgb(upright)
        if isinstance(mask, Path):
            with Image.open(mask) as painted:
                opacity = ImageOps.exif_transpose(painted).convert("L").resize(image.size, Resampling.BILINEAR)
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
    pixels = _shown(image, box, shown.bucket, flip=flip)
    if mask == "none":
        return pixels
    whole = opacity or Image.new("L", image.size, 255)
    return np.concatenate([pixels, _shown(whole, box, shown.bucket, flip=flip)[..., None]], axis=2)


def _shown(image: Image.Image, box: Box, size: Size, *, flip: bool) -> Pixels:
    image = image.crop(box)
    image = image.resize(size, Resampling.LANCZOS, box=_middle(image.size, size))
    return np.asarray(ImageOps.mirror(image) if flip else image, dtype=np.uint8)


def _middle(size: Size, shape: Size) -> tuple[float, float, float, float]:
    """The largest box in the middle of a picture with the aspect ratio of ``shape``."""
    scale = min(size[0] / shape[0], size[1] / shape[1])
    width, height = shape[0] * scale, shape[1] * scale
    x, y = (size[0] - width) / 2, (size[1] - height) / 2
    return max(0.0, x), max(0.0, y), min(float(size[0]), x + width), min(float(size[1]), y + height)


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
