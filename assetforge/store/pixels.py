"""From whatever a file holds to what people see: upright, opaque on white, 8 bits, sRGB."""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

__all__ = ["bits_of", "has_alpha", "shrink", "to_srgb"]

_WIDE = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_ALPHA = {"RGBA", "LA", "PA", "RGBa", "La"}
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_PROFILED = {"RGB", "L", "CMYK"}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def bits_of(picture: Image.Image) -> int:
    """Bits per channel as stored; must be asked before the pixels are loaded.

    Args:
        picture: An opened, not yet decoded picture.
    """
    if picture.mode == "1":
        return 1
    if picture.mode.startswith("I;16"):
        return 16
    if picture.mode in ("I", "F"):
        return 32
    tiles: list[Any] = list(getattr(picture, "tile", []))
    raw = str(tiles[0][3]) if tiles else ""
    if ";16" in raw:
        return 16
    return int(picture.info.get("bit_depth", 8))


def has_alpha(picture: Image.Image) -> bool:
    """Whether the picture has transparency of any kind."""
    return picture.mode in _ALPHA or "transparency" in picture.info


def shrink(picture: Image.Image, longest: int) -> Image.Image:
    """A decoded picture with at most ``longest`` pixels on its longer side; smaller pictures stay as they are.

    16-bit, float, palette and bilevel pictures are first made into 8-bit ones, since averaging their raw values would be wrong.
    """
    picture = _plain(picture)
    width, height = picture.size
    if max(width, height) <= longest:
        return picture
    scale = longest / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    factor = max(width, height) // longest
    if (size[0] * factor, size[1] * factor) == (width, height):
        return picture.reduce(factor)
    return picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def to_srgb(picture: Image.Image, profile: bytes, orientation: int = 1) -> Image.Image:
    """The picture upright, in sRGB, transparent parts on white; mode ``RGB``.

    Args:
        picture: Decoded, of any mode.
        profile: Its ICC profile, or nothing; one that cannot be used is ignored, as every viewer does.
        orientation: EXIF orientation, 1 to 8.
    """
    picture = _plain(picture)
    alpha = None
    if picture.mode in ("RGBA", "LA"):
        alpha = picture.getchannel("A")
        picture = picture.convert("RGB" if picture.mode == "RGBA" else "L")
    picture = _coloured(picture, profile)
    if alpha is not None:
        white = Image.new("RGB", picture.size, (255, 255, 255))
        white.paste(picture, mask=alpha)
        picture = white
    return _turned(picture, orientation)


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def _plain(picture: Image.Image) -> Image.Image:
    """8-bit channels without palette: L, LA, RGB, RGBA, CMYK, YCbCr, LAB or HSV."""
    if picture.mode in _WIDE:
        return Image.fromarray(_to_8_bits(np.asarray(picture)))
    if picture.mode in ("P", "PA") or (picture.mode in ("RGB", "L", "1") and "transparency" in picture.info):
        return picture.convert("RGBA" if has_alpha(picture) else "RGB")
    if picture.mode == "1":
        return picture.convert("L")
    if picture.mode in ("RGBa", "La"):
        return picture.convert("RGBA")
    return picture


def _to_8_bits(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if values.dtype == np.uint16:
        return (values >> 8).astype(np.uint8)
    numbers = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    top = float(numbers.max(initial=0.0))
    # Integers in 32 bits hold 8, 16 or 32 used bits; floats are scene values up to 1 unless they obviously are not.
    full = next((limit for limit in (1.0, 255.0, 65535.0) if top <= limit), float(2**31)) if top else 1.0
    if values.dtype != np.float32 and full == 1.0:
        full = 255.0
    scaled: np.ndarray[Any, np.dtype[np.uint8]] = np.clip(numbers * (255.0 / full) + 0.5, 0, 255).astype(np.uint8)
    return scaled


def _coloured(picture: Image.Image, profile: bytes) -> Image.Image:
    if profile and picture.mode in _PROFILED:
        transform = _transform(profile, picture.mode)
        if transform is not None:
            converted = ImageCms.applyTransform(picture, transform)
            if converted is not None:
                return converted
    if picture.mode == "LAB":
        lab = ImageCms.buildTransform(ImageCms.createProfile("LAB"), _SRGB, "LAB", "RGB")
        return ImageCms.applyTransform(picture, lab) or picture
    return picture if picture.mode == "RGB" else picture.convert("RGB")


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.buildTransform(source, _SRGB, mode, "RGB", ImageCms.Intent.PERCEPTUAL)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
