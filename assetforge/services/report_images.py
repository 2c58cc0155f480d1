"""Pictures inside a report: small, embedded, each encoded once."""

import base64
import io
from pathlib import Path

from markupsafe import Markup
from PIL import Image as Pillow

from assetforge.services.pictures import open_rgb
from assetforge.store.blobs import BlobStore

__all__ = ["BUDGET_BYTES", "ReportImages"]

BUDGET_BYTES = 10_000_000
"""What the renders of one report may take, before text; the whole file stays under 15 MB with references and lineage."""

_REFERENCE_SIDE = 192

_PIXEL_ART = 160
"""Renders up to this size are kept as they are and shown enlarged with hard pixels."""

_BYTES_PER_PIXEL = 0.20
"""WebP at quality 80, as data URI; measured on busy photographs it is less."""


class ReportImages:
    """Encodes pictures for a report, and has each stand in the file only once.

    Args:
        blobs: Where they are.
        count: How many different renders the report will show.
        size: Width and height of a render.
        share: Share of the budget to use, 0 to 1; smaller for pictures that compress badly.
    """

    def __init__(self, blobs: BlobStore, *, count: int, size: tuple[int, int], share: float = 1.0) -> None:
        self._blobs = blobs
        self._names: dict[tuple[str, str], str] = {}
        self.pixelated = max(size) <= _PIXEL_ART
        per_picture = share * BUDGET_BYTES / max(1, count)
        ratio = min(size) / max(size)
        fitting = (per_picture / _BYTES_PER_PIXEL / ratio) ** 0.5
        self._side = int(min(512, max(96, fitting), max(size)))

    def render(self, sha256: str) -> str:
        """A render as data URI."""
        return encode(self._blobs.path(sha256), "", self._side)

    def reference(self, sha256: str, crop: str = "") -> str:
        """A reference as data URI, at most 192 pixels wide and high."""
        return encode(self._blobs.path(sha256), crop, _REFERENCE_SIDE)

    def place_render(self, sha256: str) -> Markup:
        """Attributes of an ``img`` that shows a render: its bytes the first time, afterwards the name of the ``img`` that has them."""
        return self._place(sha256, "render")

    def place_reference(self, sha256: str, crop: str = "") -> Markup:
        """The same for a reference."""
        return self._place(sha256, crop)

    def name(self, sha256: str, crop: str = "render") -> str:
        """Id of the ``img`` that has the bytes; empty when none was placed."""
        return self._names.get((sha256, crop), "")

    def _place(self, sha256: str, crop: str) -> Markup:
        name = self._names.get((sha256, crop))
        if name is not None:
            return Markup('data-same="{}"').format(name)
        name = self._names[sha256, crop] = f"p{len(self._names)}"
        uri = self.render(sha256) if crop == "render" else self.reference(sha256, crop)
        return Markup('id="{}" src="{}"').format(name, uri)


def encode(path: Path, crop: str, side: int) -> str:
    """A picture as WebP data URI, no side longer than ``side``; without loss when it is tiny.

    Raises:
        StorageError: It is missing or damaged.
    """
    picture = open_rgb(path, crop)
    if max(picture.size) > side:
        picture.thumbnail((side, side), Pillow.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    if max(picture.size) <= _PIXEL_ART:
        picture.save(buffer, format="WEBP", lossless=True, quality=60, method=4)
    else:
        picture.save(buffer, format="WEBP", quality=80, method=3)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
