"""Files of the big film: pictures, thumbnails, LoRA files. Few are drawn; the rest are the same pixels in files that differ in a comment, as their hashes must."""

import hashlib
import io
import json
import os
import random
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from assetforge.domain.phash import perceptual_hash, signed
from assetforge.store.imaging import encode_thumbnail, sharpness_of
from assetforge.store.thumbs import ThumbStore

__all__ = ["Drawn", "Files", "draw_reference", "draw_render", "jpeg_variant", "lora_file"]

_SIZES = ((192, 128), (128, 192), (160, 160), (96, 64), (224, 126), (144, 180))


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture that was drawn.

    Attributes:
        data: Its bytes.
        thumbnail: Its thumbnail's.
        width: Pixels.
        height: Pixels.
        phash: As the database keeps it.
        sharpness: As the database keeps it.
        brightness: As the database keeps it.
    """

    data: bytes
    thumbnail: bytes
    width: int
    height: int
    phash: int
    sharpness: float
    brightness: float


def _scene(size: tuple[int, int], hue: float, rng: random.Random) -> Image.Image:
    """A ground, a horizon, a figure and a lamp: different enough to be told apart as thumbnails, smooth enough to be small files."""
    width, height = size
    top, bottom = _colour(hue, 0.5, rng.uniform(0.15, 0.5)), _colour(hue + 0.08, 0.6, rng.uniform(0.3, 0.8))
    ramp = np.linspace(0.0, 1.0, height)[:, None, None]
    ground = (np.array(top) * (1 - ramp) + np.array(bottom) * ramp).repeat(width, axis=1).astype(np.uint8)
    picture = Image.fromarray(ground, "RGB")
    draw = ImageDraw.Draw(picture)
    horizon = int(height * rng.uniform(0.55, 0.8))
    draw.rectangle((0, horizon, width, height), fill=_colour(hue + 0.5, 0.3, rng.uniform(0.1, 0.4)))
    centre, figure = width * rng.uniform(0.25, 0.75), height * rng.uniform(0.4, 0.8)
    body = _colour(hue + rng.uniform(0.3, 0.6), 0.7, rng.uniform(0.4, 0.9))
    draw.ellipse((centre - figure * 0.22, height - figure * 0.7, centre + figure * 0.22, height * 1.1), fill=body)
    head = figure * 0.14
    top_of_head = height - figure * 0.95
    draw.ellipse((centre - head, top_of_head, centre + head, top_of_head + 2 * head), fill=_colour(0.07, 0.35, 0.85))
    lamp, glow = (width * rng.random(), height * rng.uniform(0.1, 0.5)), max(3.0, height * 0.06)
    draw.ellipse((lamp[0] - glow, lamp[1] - glow, lamp[0] + glow, lamp[1] + glow), fill=(255, 214, 140))
    return picture


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    import colorsys

    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return int(red * 255), int(green * 255), int(blue * 255)


def _measured(picture: Image.Image, data: bytes) -> Drawn:
    luma = picture.convert("L")
    small = np.asarray(luma.resize((32, 32), Image.Resampling.LANCZOS))
    return Drawn(
        data=data,
        thumbnail=encode_thumbnail(picture),
        width=picture.width,
        height=picture.height,
        phash=signed(perceptual_hash(small)),
        sharpness=float(sharpness_of(np.asarray(luma))),
        brightness=float(np.asarray(luma).mean() / 255.0),
    )


def draw_reference(number: int, hue: float, seed: int) -> Drawn:
    """A small JPEG; pictures of one hue look as if they were of one asset."""
    rng = random.Random(f"reference {seed} {number}")
    picture = _scene(_SIZES[number % len(_SIZES)], hue + rng.uniform(-0.03, 0.03), rng)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=70)
    return _measured(picture, buffer.getvalue())


def draw_render(number: int, side: int, seed: int) -> Drawn:
    """A square PNG, as renderers write them."""
    rng = random.Random(f"render {seed} {number}")
    picture = _scene((side, side), rng.random(), rng).quantize(48).convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=6)
    return _measured(picture, buffer.getvalue())


def jpeg_variant(data: bytes, text: str) -> bytes:
    """The same picture with a comment in its file, and so with another hash."""
    comment = text.encode()
    return data[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + data[2:]


def lora_file(name: str) -> bytes:
    """A tiny LoRA in kohya's names that loads, and says in its header which version it is."""
    keys = [f"lora_unet_down_blocks_0_attentions_0_proj_in.{part}.weight" for part in ("lora_down", "lora_up")]
    header = {
        "__metadata__": {"assetforge.version": name, "ss_network_dim": "4", "ss_output_name": name.replace("/", "-")}
    }
    at = 0
    for key, shape in zip(keys, ((4, 8), (8, 4)), strict=True):
        header[key] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, at + 64]}
        at += 64
    words = json.dumps(header).encode()
    words += b" " * (-len(words) % 8)
    return struct.pack("<Q", len(words)) + words + hashlib.sha256(name.encode()).digest() * 4


class Files:
    """Writes blobs and thumbnails without flushing each to the disk: the film can be made again.

    Args:
        blobs: Folder of the blobs.
        thumbs: Folder of the thumbnails.
    """

    def __init__(self, blobs: Path, thumbs: Path) -> None:
        self.blobs, self.thumbs = blobs, ThumbStore(thumbs)
        self.written = 0
        for number in range(256):
            (blobs / f"{number:02x}").mkdir(parents=True, exist_ok=True)
            (thumbs / f"{number:02x}").mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> str:
        """Write a blob; returns its hash."""
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            descriptor = os.open(self.blobs / sha256[:2] / sha256[2:], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        except FileExistsError:
            return sha256
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        self.written += 1
        return sha256

    def thumbnail(self, sha256: str, data: bytes, twin: Path | None = None) -> Path:
        """Write a thumbnail, or give one that has the same pixels another name."""
        path = self.thumbs.path(sha256)
        if twin is None:
            path.write_bytes(data)
        else:
            link(twin, path)
        return path


def link(source: Path, target: Path) -> None:
    """Another name for a file, or a copy where the filesystem has no such thing."""
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:
        shutil.copyfile(source, target)
