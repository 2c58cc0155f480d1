"""Pictures that are the same bytes on every machine: drawn with whole numbers, written as PNG without compression."""

import hashlib
import struct
import zlib

import numpy as np

__all__ = ["DRAWINGS", "drawn", "png"]

_SKIES = (
    ((30, 34, 66), (96, 70, 92)),
    ((18, 22, 40), (44, 58, 88)),
    ((92, 112, 128), (150, 156, 150)),
    ((190, 120, 84), (236, 186, 120)),
    ((60, 96, 124), (170, 184, 176)),
)
_ANYBODY = {"skin": (176, 140, 116), "hair": (104, 84, 70), "coat": (112, 108, 104), "band": (88, 86, 84)}
DRAWINGS = {
    "mara": {"skin": (222, 178, 146), "hair": (38, 26, 30), "coat": (226, 176, 44), "band": (120, 40, 34)},
    "ilse": {"skin": (236, 198, 170), "hair": (220, 188, 110), "coat": (150, 40, 48), "band": (238, 226, 206)},
    "porter": {"skin": (150, 102, 76), "hair": (24, 28, 46), "coat": (40, 66, 116), "band": (198, 160, 70)},
    "brass-lamp": {"skin": (255, 226, 140), "hair": (186, 134, 46), "coat": (150, 100, 30), "band": (96, 62, 22)},
    "ink-wash": {"skin": (208, 204, 196), "hair": (52, 52, 56), "coat": (96, 96, 100), "band": (148, 146, 142)},
}
"""What is drawn, by name, as colours."""


def drawn(name, seed, likeness=256, size=(64, 64)):
    """A picture of one of :data:`DRAWINGS` somewhere; with less likeness, of 0 to 256, it is anybody."""
    width, height = size
    key = hashlib.sha256(f"{seed}".encode()).digest()
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    (top, low), night = _SKIES[key[0] % len(_SKIES)], key[1] % 3 == 0
    pixels = _mixed(top, low, (y * 256 // height)[..., None])
    far = height * (58 + key[2] % 12) // 100
    water = _mixed(low, (20, 26, 34), np.minimum(256, 90 + (y - far) * 3)[..., None])
    water += (((x // 3 + y * 2 + key[3]) % 7 == 0) * 16)[..., None]
    pixels = np.where((y > far)[..., None], water, pixels)
    moon = (x - width * (12 + key[4] % 76) // 100) ** 2 + (y - height * (10 + key[5] % 18) // 100) ** 2
    pixels = np.where((moon * 160 < width * height)[..., None], (250, 236, 196) if night else (236, 214, 170), pixels)
    own = DRAWINGS[name]
    colours = {part: _mixed(_ANYBODY[part], own[part], likeness) for part in own}
    draw = _lamp if name == "brass-lamp" else _figure
    pixels = draw(pixels, x, y, (width * (38 + key[6] % 25) // 100, height * (34 + key[7] % 8) // 100), height, colours)
    if key[8] % 4 == 0:
        pixels = pixels + (((x * 3 + y * 5 + key[9]) % 23 < 2) * 26)[..., None]
    if name == "ink-wash":
        grey = (pixels @ np.array([2, 5, 1]) // 8) // 42 * 42 + 24
        pixels = _mixed(pixels, grey[..., None] + np.array([4, 2, -6]), likeness)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _mixed(one, other, share):
    one, other = np.asarray(one, np.int64), np.asarray(other, np.int64)
    return (one * (256 - share) + other * share) >> 8


def _figure(pixels, x, y, at, height, colours):
    (left, top), head = at, height * 13 // 100
    reach = head + (y - top) * 42 // 100
    pixels = np.where(((y > top + head // 2) & (abs(x - left) < reach))[..., None], colours["coat"], pixels)
    pixels = np.where(((y > top + head // 2) & (abs(x - left) < max(1, head // 6)))[..., None], colours["band"], pixels)
    hair = (x - left) ** 2 + (y - top + head // 3) ** 2 < (head + head // 4) ** 2
    pixels = np.where(hair[..., None], colours["hair"], pixels)
    face = (x - left) ** 2 + (y - top) ** 2 < (head - head // 8) ** 2
    pixels = np.where((face & (y > top - head // 3))[..., None], colours["skin"], pixels)
    eyes = (abs(abs(x - left) - head // 3) <= max(0, head // 9 - 1)) & (abs(y - top) <= max(0, head // 9 - 1))
    pixels = np.where(eyes[..., None], (28, 22, 24), pixels)
    neck = (y > top + head * 3 // 4) & (y < top + head * 5 // 4) & (abs(x - left) < head * 3 // 4)
    return np.where(neck[..., None], colours["band"], pixels)


def _lamp(pixels, x, y, at, height, colours):
    (left, top), half = at, height * 14 // 100
    glow = (x - left) ** 2 + (y - top - half) ** 2
    pixels = pixels + (np.clip(90 - glow * 90 // (height * height // 5), 0, 90))[..., None] * np.array([3, 2, 1]) // 3
    glass = (abs(x - left) < half) & (abs(y - top - half) < half)
    pixels = np.where(glass[..., None], colours["skin"], pixels)
    frame = glass & ((abs(x - left) > half - 3) | (abs(x - left) < 1))
    pixels = np.where(frame[..., None], colours["band"], pixels)
    roof = (y <= top) & (y > top - half) & (abs(x - left) < (y - top + half) + 2)
    pixels = np.where(roof[..., None], colours["hair"], pixels)
    foot = (y >= top + 2 * half) & (y < top + 2 * half + half // 2 + 1) & (abs(x - left) < half + 3)
    return np.where(foot[..., None], colours["coat"], pixels)


def png(pixels):
    """The bytes of a PNG file; libraries compress as they like, and references are known by their bytes."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    blocks = [rows[at : at + 65535] for at in range(0, len(rows), 65535)]
    stored = b"".join(
        struct.pack("<BHH", at == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for at, block in enumerate(blocks)
    )
    data = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(rows))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
