"""Captions that lie beside pictures: ``frame-12.txt`` for ``frame-12.png``, as every training tool writes them."""

import os
from pathlib import Path

__all__ = ["SIDECAR_SUFFIXES", "clean_caption", "read_sidecar"]

SIDECAR_SUFFIXES = (".txt", ".caption")
"""In the order in which they are looked for."""

_MAX_BYTES = 1 << 16


def clean_caption(text: str) -> str:
    """A caption on one line, without control characters and superfluous spaces."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def read_sidecar(picture: Path) -> str | None:
    """The caption beside a picture.

    Args:
        picture: The picture's file, which need not exist.

    Returns:
        The cleaned caption; ``None`` when there is no sidecar, or it is empty, unreadable, or larger than 64 KiB and so certainly something else.
    """
    stem = os.path.splitext(os.fsencode(picture))[0]  # noqa: PTH122 - names that are not UTF-8 stay what they are
    for suffix in SIDECAR_SUFFIXES:
        try:
            with open(stem + suffix.encode(), "rb") as file:  # noqa: PTH123 - bytes name
                data = file.read(_MAX_BYTES + 1)
        except OSError:
            continue
        if len(data) <= _MAX_BYTES:
            caption = clean_caption(_decode(data))
            if caption:
                return caption
    return None


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
