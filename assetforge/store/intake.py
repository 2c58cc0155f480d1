"""Taking files in, without the database: read once, look once, keep the bytes and the thumbnail. Runs in worker processes."""

import dataclasses
import hashlib
import os
import stat
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from assetforge.errors import ImageError, StorageError
from assetforge.store.blobs import BlobBatch, BlobStore
from assetforge.store.folders import shown_name
from assetforge.store.imaging import Inspected, inspect_image
from assetforge.store.masks import check_mask, find_mask
from assetforge.store.sidecar import read_sidecar
from assetforge.store.thumbs import ThumbStore

__all__ = ["MAX_BYTES", "Taken", "TakenChunk", "crashed", "read_unchanging", "take_in", "too_slow"]

MAX_BYTES = 1 << 30
"""Largest file that is read, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of one file.

    Attributes:
        path: The file.
        outcome: ``stored`` (its bytes and thumbnail are in the store now), ``known`` (they were before), or ``refused``.
        sha256: Hash of the bytes; empty when it was refused.
        inspected: What the decode said, without the thumbnail; ``None`` unless ``stored``.
        caption: Sidecar caption, if there is one.
        mask: Hash of the mask beside it, whose bytes are in the store now; empty when there is none.
        decodes: How often its pixels were decoded.
        code: Short reason of a refusal.
        message: The reason in a sentence.
        hint: What to do about it.
    """

    path: Path
    outcome: Literal["stored", "known", "refused"]
    sha256: str = ""
    inspected: Inspected | None = None
    caption: str | None = None
    mask: str = ""
    decodes: int = 0
    code: str = ""
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenChunk:
    """What became of some files.

    Attributes:
        files: One entry per file, in order; empty when the store failed.
        failure: Message and hint of the store's failure (disk full, no permission), which ends the whole batch; empty otherwise.
    """

    files: tuple[Taken, ...] = ()
    failure: tuple[str, str] | None = None


def take_in(
    paths: Sequence[Path],
    blobs: BlobStore,
    thumbs: ThumbStore,
    known: Collection[str],
    *,
    at: Callable[[int], None] = lambda _: None,
) -> TakenChunk:
    """Take in some files; a bad one is refused and the rest goes on.

    Args:
        paths: The files; they are only read.
        blobs: Where bytes go; all blobs of the chunk are there when the function returns.
        thumbs: Where thumbnails go.
        known: Hashes that need not be decoded again when their blob is there.
        at: Called with the place of a file in ``paths``, from 1, before it is read, and with 0 when it is decoded.
    """
    taken: list[Taken] = []
    try:
        with blobs.batch(uncached=True) as batch:
            for place, path in enumerate(paths, 1):
                at(place)
                seen = _look(path, blobs, known)
                at(0)
                taken.append(seen if isinstance(seen, Taken) else _keep(seen, batch, thumbs))
    except StorageError as error:
        return TakenChunk(failure=(error.message, error.hint))
    return TakenChunk(files=tuple(taken))


def crashed(path: Path) -> Taken:
    """The refusal of a file that killed the process that decoded it."""
    return Taken(
        path=path,
        outcome="refused",
        code="decoder-crash",
        message=f"{shown_name(path)} made the picture decoder crash.",
        hint="The file is damaged or needs more memory than there is; save it again with an image editor.",
    )


def too_slow(path: Path, limit_s: float) -> Taken:
    """The refusal of a file whose decoding had to be ended.

    Args:
        path: The file.
        limit_s: How long it was given, in seconds.
    """
    return Taken(
        path=path,
        outcome="refused",
        code="too-slow",
        message=f"{shown_name(path)} took longer than {limit_s:g} s to read and decode.",
        hint="The file is damaged, or its disk is slow: save it again with an image editor, or raise ingest.seconds_per_file in project.toml.",
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    path: Path
    data: bytes
    sha256: str
    inspected: Inspected
    caption: str | None
    mask: bytes
    known: bool


def _look(path: Path, blobs: BlobStore, known: Collection[str]) -> Taken | _Seen:
    """Everything that depends on the file alone: what is wrong with it, or what it shows."""
    name = shown_name(path)
    try:
        data = read_unchanging(path)
        sha256 = hashlib.sha256(data).hexdigest()
        caption, mask_file = read_sidecar(path), find_mask(path)
        there = sha256 in known and blobs.has(sha256)
        if there and mask_file is None:
            return Taken(path=path, outcome="known", sha256=sha256, caption=caption)
        inspected, mask = inspect_image(data, name=name, sha256=sha256), b""
        if mask_file is not None:
            mask, size = read_unchanging(mask_file), (inspected.width, inspected.height)
            check_mask(mask, name=shown_name(mask_file), size=size, of=name)
        return _Seen(path, data, sha256, inspected, caption, mask, there)
    except ImageError as error:
        return Taken(path=path, outcome="refused", code=error.code, message=error.message, hint=error.hint)
    except Exception as error:  # noqa: BLE001 - whatever a decoder does with one file, the rest of the batch goes on
        return Taken(
            path=path,
            outcome="refused",
            code="damaged",
            message=f"{name} cannot be decoded ({type(error).__name__}: {error}).",
            hint="Open it in an image editor and save it again.",
        )


def _keep(seen: _Seen, batch: BlobBatch, thumbs: ThumbStore) -> Taken:
    mask = batch.put_bytes(seen.mask) if seen.mask else ""
    if seen.known:
        return Taken(
            path=seen.path,
            outcome="known",
            sha256=seen.sha256,
            caption=seen.caption,
            mask=mask,
            decodes=seen.inspected.decodes,
        )
    batch.put_bytes(seen.data, sha256=seen.sha256)
    thumbs.put(seen.sha256, seen.inspected.thumbnail)
    return Taken(
        path=seen.path,
        outcome="stored",
        sha256=seen.sha256,
        inspected=dataclasses.replace(seen.inspected, thumbnail=b""),
        caption=seen.caption,
        mask=mask,
        decodes=seen.inspected.decodes,
    )


def read_unchanging(path: Path) -> bytes:
    """All bytes of a file that nobody writes to meanwhile.

    Raises:
        ImageError: It is missing, no file, unreadable, larger than :data:`MAX_BYTES`, or changed while it was read; ``code`` is ``missing``,
            ``not-a-file``, ``unreadable``, ``too-large`` or ``changing``.
    """
    name = shown_name(path)
    try:
        # Opening without waiting: a pipe that somebody named like a picture must not hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - an open descriptor
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise ImageError(f"{name} is not a file.", code="not-a-file", hint="Name picture files or folders.")
            if before.st_size > MAX_BYTES:
                raise ImageError(
                    f"{name} is too large ({before.st_size // 1_000_000} MB).",
                    code="too-large",
                    hint=f"References may have up to {MAX_BYTES // 1_000_000} MB; save a smaller copy and add that.",
                )
            data = file.readall()
            after = os.fstat(descriptor)
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist.", code="missing", hint="Check the path.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(
            f"{name} cannot be read: {reason}.", code="unreadable", hint="Check its permissions and the disk."
        ) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(data) != after.st_size:
        raise ImageError(
            f"{name} changed while it was read.", code="changing", hint="Add it again when it is completely copied."
        )
    return data
