"""Which picture formats are read, told by the bytes and never by the name."""

import importlib.util
import zlib
from functools import cache

from PIL import features

from assetforge.errors import ImageError

__all__ = ["FORMATS", "SUFFIXES", "cut_short", "damaged_part", "readable_formats", "require_reader", "sniff"]

FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
}
"""Formats that can become references, with the file name suffixes that announce them."""

SUFFIXES = {suffix: name for name, suffixes in FORMATS.items() for suffix in suffixes}
"""Format by lowercase suffix."""

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_TAIL = 1 << 16
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}


def sniff(data: bytes) -> str:
    """The format that the first bytes announce; empty when it is none of ours."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:2] == b"BM" and data[6:10] == b"\0\0\0\0":
        return "BMP"
    if data[4:8] == b"ftyp":
        brands = {data[8:12], *(data[index : index + 4] for index in range(16, min(len(data), 64), 4))}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIF"
    return ""


@cache
def readable_formats() -> tuple[str, ...]:
    """Those of :data:`FORMATS` that can be read on this machine."""
    readers = ["JPEG", "PNG", "TIFF", "BMP", "GIF"]
    readers += ["WEBP"] if features.check("webp") else []
    readers += ["AVIF"] if features.check("avif") else []
    if importlib.util.find_spec("pillow_heif") is not None:
        import pillow_heif

        pillow_heif.register_heif_opener()
        readers.append("HEIF")
    return tuple(readers)


def require_reader(name: str, kind: str) -> None:
    """Refuse a format that this installation cannot read.

    Raises:
        ImageError: With the code ``no-reader`` and what to install.
    """
    if kind in readable_formats():
        return
    hint = (
        "Install the reader with `pip install 'assetforge-film[heif]'`, then add the file again."
        if kind == "HEIF"
        else "Install a Pillow that can, then add the file again."
    )
    raise ImageError(f"{name} is a {kind} picture, which this installation cannot read.", code="no-reader", hint=hint)


def cut_short(data: bytes, kind: str) -> bool:
    """Whether the container itself says that bytes are missing; what it does not say, only a full decode finds.

    A JPEG that ends in zeros without an end marker comes from a copy that reserved the space and never finished.
    """
    if kind == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if kind in ("AVIF", "HEIF"):
        return _boxes_cut_short(data)
    if kind == "PNG":
        return b"IEND" not in data[-_TAIL:]
    if kind == "TIFF" and data[2:4] in (b"*\0", b"\0*"):
        return int.from_bytes(data[4:8], "little" if data[:2] == b"II" else "big") + 2 > len(data)
    if kind == "JPEG" and data.endswith(b"\0" * 16):
        return b"\xff\xd9" not in data.rstrip(b"\0")[-_TAIL:]
    return False


def damaged_part(data: bytes, kind: str) -> str:
    """The part of a PNG whose checksum is wrong, or nothing. Decoders leave most of these checksums out, and no other format has any."""
    if kind != "PNG":
        return ""
    position, view = 8, memoryview(data)
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(view[position : position + 4], "big")
        name = bytes(view[position + 4 : position + 8])
        if name in _CRITICAL and zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return name.decode()
        if name == b"IEND":
            break
        position = end + 4
    return ""


def _boxes_cut_short(data: bytes) -> bool:
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if size == 0:
            return False
        if size < 8:
            return True
        position += size
    return position != len(data)
