"""Thumbnails: a cache by blob hash and size that may be deleted at any time."""

import os
import tempfile
from pathlib import Path

from assetforge.durable import storage_error
from assetforge.store.blobs import BlobStore
from assetforge.store.imaging import THUMBNAIL_SIDE, encode_thumbnail, load_srgb

__all__ = ["ThumbStore"]


class ThumbStore:
    """The thumbnails of one film; safe to use from several processes at once.

    Args:
        root: Folder of the cache; made when something is put into it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str, size: int = THUMBNAIL_SIDE) -> Path:
        """Where the thumbnail of a blob lies, whether it is there or not; ``size`` is its longer side in pixels."""
        return self.root / sha256[:2] / f"{sha256[2:]}-{size}.jpg"

    def put(self, sha256: str, data: bytes) -> Path:
        """Keep a thumbnail.

        Raises:
            StorageError: The disk is full or the folder cannot be written.
        """
        target = self.path(sha256)
        folder = target.parent
        try:
            try:
                descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=folder)
            except FileNotFoundError:
                folder.mkdir(parents=True, exist_ok=True)
                descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                # No fsync: a thumbnail that a power cut took is made again.
                Path(temporary).replace(target)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise storage_error(error, target, "written") from error
        return target

    def ensure(self, sha256: str, blobs: BlobStore) -> Path:
        """The thumbnail, made anew when it is missing.

        Raises:
            StorageError: The blob is missing or the folder cannot be written.
            ImageError: The blob is not a readable picture.
        """
        target = self.path(sha256)
        if target.is_file() and target.stat().st_size > 0:
            return target
        picture = load_srgb(blobs.read_bytes(sha256), name=f"blob {sha256[:12]}", longest=THUMBNAIL_SIDE)
        return self.put(sha256, encode_thumbnail(picture))
