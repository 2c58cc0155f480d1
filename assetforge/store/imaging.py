"""One decode of a file says everything that is kept about a picture, and finds whatever is wrong with it."""

import hashlib
import importlib
import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from assetforge.domain.phash import SIDE, perceptual_hash, signed
from assetforge.errors import ImageError
from assetforge.store.formats import cut_short, damaged_part, require_reader, sniff
from assetforge.store.pixels import bits_of, has_alpha, shrink, to_srgb

__all__ = [
    "ANALYSIS_SIDE",
    "MAX_PIXELS",
    "THUMBNAIL_SIDE",
    "Inspected",
    "encode_thumbnail",
    "inspect_image",
    "load_srgb",
    "sharpness_of",
]

MAX_PIXELS = 178_956_970
"""Largest picture that is decoded, in pixels (178 megapixels, where Pillow too gives up)."""

ANALYSIS_SIDE = 256
"""Longer side in pixels of the reduced picture that sharpness, brightness and the hash are measured on.

It is what a camera's JPEG gives without decoding every coefficient, which makes adding pictures nearly as fast as hashing and thumbnailing them. Blur that
shows at this size is what spoils training; finer softness is for a check plugin that looks at full size.
"""

THUMBNAIL_SIDE = 256
"""Longer side of thumbnails in pixels."""

_ORIENTATION = 0x0112
_REGIONS = 6
_QUALITY = 85
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""What Pillow's readers raise on damaged files."""


def _fast_jpeg() -> ModuleType | None:
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None


_SIMPLEJPEG = _fast_jpeg()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What one decode said.

    Attributes:
        sha256: Hash of the file's bytes, lowercase hex.
        size: Number of bytes.
        format: True format, such as ``JPEG``, whatever the file is called.
        mode: Pillow's mode as stored, such as ``RGB``, ``CMYK``, ``I;16``.
        width: Pixels, upright.
        height: Pixels, upright.
        orientation: EXIF orientation as stored, 1 to 8.
        bits: Bits per channel as stored.
        has_alpha: It has transparency.
        has_profile: It has an ICC profile.
        phash: Perceptual hash, as a signed 64-bit number.
        sharpness: Variance of the Laplacian of the 8-bit luma in the sharpest of 6 x 6 regions at :data:`ANALYSIS_SIDE`; 0 for flat pictures, unbounded above.
        brightness: Mean luma, 0 to 1.
        thumbnail: JPEG of at most :data:`THUMBNAIL_SIDE` pixels, upright, sRGB, on white.
        decodes: How often the pixels were decoded: 1, or 2 when a quick decoder gave up on a file that the thorough one accepted.
    """

    sha256: str
    size: int
    format: str
    mode: str
    width: int
    height: int
    orientation: int
    bits: int
    has_alpha: bool
    has_profile: bool
    phash: int
    sharpness: float
    brightness: float
    thumbnail: bytes
    decodes: int


@dataclass(frozen=True, slots=True)
class _Decoded:
    picture: Image.Image
    kind: str
    mode: str
    size: tuple[int, int]
    orientation: int
    remaining: int
    bits: int
    alpha: bool
    profile: bytes
    decodes: int


def inspect_image(data: bytes, *, name: str, sha256: str = "") -> Inspected:
    """Decode a file's bytes once, completely, and measure them.

    Args:
        data: All bytes of the file.
        name: What messages call it.
        sha256: Hash of ``data`` where it is known already.

    Raises:
        ImageError: It is no picture that can become a reference; ``code`` is ``empty``, ``not-an-image``, ``no-reader``, ``truncated``, ``damaged``,
            ``unsupported``, ``animated`` or ``too-large``.
    """
    decoded = _decode(data, name, ANALYSIS_SIDE)
    small = to_srgb(shrink(decoded.picture, ANALYSIS_SIDE), decoded.profile, decoded.remaining)
    luma = small.convert("L")
    tiny = np.asarray(luma.resize((SIDE, SIDE), Image.Resampling.BOX))
    width, height = decoded.size
    return Inspected(
        sha256=sha256 or hashlib.sha256(data).hexdigest(),
        size=len(data),
        format=decoded.kind,
        mode=decoded.mode,
        width=width,
        height=height,
        orientation=decoded.orientation,
        bits=decoded.bits,
        has_alpha=decoded.alpha,
        has_profile=bool(decoded.profile),
        phash=signed(perceptual_hash(tiny)),
        sharpness=sharpness_of(np.asarray(luma)),
        brightness=float(tiny.mean()) / 255.0,
        thumbnail=encode_thumbnail(small),
        decodes=decoded.decodes,
    )


def load_srgb(data: bytes, *, name: str, longest: int | None = None) -> Image.Image:
    """The picture as people see it: upright, opaque on white, sRGB, 8 bits.

    Args:
        data: All bytes of the file.
        name: What messages call it.
        longest: Reduce the longer side to at most so many pixels; ``None`` keeps the full size.

    Raises:
        ImageError: As :func:`inspect_image`.
    """
    decoded = _decode(data, name, longest)
    picture = decoded.picture if longest is None else shrink(decoded.picture, longest)
    return to_srgb(picture, decoded.profile, decoded.remaining)


def encode_thumbnail(picture: Image.Image) -> bytes:
    """The thumbnail file of an upright sRGB picture."""
    small = shrink(picture, THUMBNAIL_SIDE)
    if _SIMPLEJPEG is not None:
        return bytes(_SIMPLEJPEG.encode_jpeg(np.asarray(small), quality=_QUALITY, colorsubsampling="420"))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def sharpness_of(luma: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian in the sharpest region, so that a sharp face before a soft background counts as sharp.

    The measure is that of Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (2000), taken per region.

    Args:
        luma: Shape (height, width).

    Returns:
        At least 0; 0 for pictures smaller than 3 x 3.
    """
    height, width = luma.shape
    if min(height, width) < 3:
        return 0.0
    rows, columns = min(_REGIONS, height - 2), min(_REGIONS, width - 2)
    high, across = (height - 2) // rows, (width - 2) // columns
    values = luma[: rows * high + 2, : columns * across + 2].astype(np.int16)
    edges = values[1:-1, 1:-1] << 2
    for neighbour in (values[:-2, 1:-1], values[2:, 1:-1], values[1:-1, :-2], values[1:-1, 2:]):
        edges -= neighbour
    regions = edges.reshape(rows, high, columns, across).astype(np.float32)
    mean = np.einsum("iajb->ij", regions) / (high * across)
    squares = np.einsum("iajb,iajb->ij", regions, regions) / (high * across)
    return float((squares - mean**2).max())


def _decode(data: bytes, name: str, longest: int | None) -> _Decoded:
    if not data:
        raise ImageError(f"{name} is empty (0 bytes).", code="empty", hint="Copy it again from where it came from.")
    kind = sniff(data)
    if not kind:
        raise ImageError(
            f"{name} is not a picture that can be read.",
            code="not-an-image",
            hint="References are JPEG, PNG, WebP, TIFF, AVIF, HEIC, BMP or single-frame GIF files.",
        )
    require_reader(name, kind)
    try:
        # Pillow warns at half of our limit, which is its own way to be asked; the limit itself is checked below, before any pixel is decoded.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode_opened(data, name, kind, longest)
    except Image.DecompressionBombError as error:
        raise _too_large(name, str(error)) from error
    except UnidentifiedImageError as error:
        if kind == "TIFF" and not cut_short(data, kind):
            raise _unsupported(name, kind) from error
        raise _broken(data, name, kind, "its header cannot be read") from error
    except MemoryError as error:
        raise _too_large(name, "there is not enough memory for it") from error
    except _DECODE_ERRORS as error:
        raise _broken(data, name, kind, str(error)) from error


def _decode_opened(data: bytes, name: str, kind: str, longest: int | None) -> _Decoded:
    picture = Image.open(io.BytesIO(data), formats=(kind,))
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise _too_large(name, f"it has {width} x {height} pixels")
    # Cameras put previews and depth maps behind the first picture of a JPEG; that is no animation.
    frames = 1 if kind == "JPEG" else int(getattr(picture, "n_frames", 1))
    if frames > 1:
        raise ImageError(
            f"{name} has {frames} frames or pages.",
            code="animated",
            hint="A reference is one picture: save the frame that you want as a file of its own.",
        )
    if cut_short(data, kind):
        raise _broken(data, name, kind, "")
    part = damaged_part(data, kind)
    if part:
        raise _broken(data, name, kind, f"the checksum of its {part} part is wrong")
    mode, bits, alpha = picture.mode, bits_of(picture), has_alpha(picture)
    profile = bytes(picture.info.get("icc_profile") or b"")
    orientation = _orientation(picture)
    pixels, decodes, remaining = _pixels(data, picture, longest)
    if remaining is None:
        remaining = _orientation(picture)
    upright = (height, width) if remaining >= 5 else (width, height)
    return _Decoded(pixels, kind, mode, upright, orientation, remaining, bits, alpha, profile, decodes)


def _pixels(data: bytes, picture: Image.Image, longest: int | None) -> tuple[Image.Image, int, int | None]:
    """The pixels, how often they were decoded, and the orientation that is left to apply when decoding cannot have changed it."""
    decodes = 1
    if picture.format in ("JPEG", "MPO") and longest is not None and max(picture.size) > longest:
        scale = longest / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        if _SIMPLEJPEG is not None and picture.mode in ("RGB", "L"):
            decodes += 1
            try:
                values = _SIMPLEJPEG.decode_jpeg(
                    data,
                    "RGB" if picture.mode == "RGB" else "GRAY",
                    fastupsample=True,
                    min_width=size[0],
                    min_height=size[1],
                )
            except ValueError:
                # Warnings count as errors there; whether the file is really bad is for the thorough decoder to say.
                pass
            else:
                return Image.fromarray(values.squeeze()), 1, _orientation(picture)
        picture.draft(picture.mode, size)
    picture.load()
    return picture, decodes, None


def _orientation(picture: Image.Image) -> int:
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except _DECODE_ERRORS:
        # Broken metadata does not make a broken picture.
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _broken(data: bytes, name: str, kind: str, reason: str) -> ImageError:
    lowered = reason.lower()
    missing = any(word in lowered for word in ("truncat", "not processed", "end of file", "unexpected end", "eof"))
    if missing or cut_short(data, kind) or (kind == "JPEG" and b"\xff\xd9" not in data[-65536:]):
        return ImageError(
            f"{name} is cut short: a {kind} picture whose end is missing.",
            code="truncated",
            hint="The copy or download was probably interrupted; copy it again.",
        )
    return ImageError(
        f"{name} is a damaged {kind} picture{f' ({reason})' if reason else ''}.",
        code="damaged",
        hint="Open it in an image editor and save it again, or copy it again from where it came from.",
    )


def _unsupported(name: str, kind: str) -> ImageError:
    return ImageError(
        f"{name} is a {kind} picture with a pixel layout that cannot be read.",
        code="unsupported",
        hint="Save it with 8 or 16 bits per channel in an image editor, or as PNG, and add that.",
    )


def _too_large(name: str, reason: str) -> ImageError:
    return ImageError(
        f"{name} is too large to be decoded safely: {reason.rstrip('.')}.",
        code="too-large",
        hint=f"References may have up to {MAX_PIXELS // 1_000_000} megapixels; save a smaller copy and add that.",
    )
