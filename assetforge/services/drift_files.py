"""Whether the files behind a rendering are still what they were: read to the last byte, since what went bad on a disk keeps its size and its date."""

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from assetforge.db.models import BaseModelRecord
from assetforge.domain.drift import FileState
from assetforge.errors import AssetForgeError
from assetforge.services.base_models import locate_base, recorded_base
from assetforge.services.projects import Project
from assetforge.store.blobs import hash_file
from assetforge.store.model_digest import model_files

__all__ = ["base_state", "digest_anew", "lora_state"]

_THREADS = 8
_HERE = "local"


def base_state(base: BaseModelRecord, executor: str) -> FileState | None:
    """The digest of a base model as its files are now, ``None`` when they lie on the machine of another executor.

    Raises:
        StorageError: A file is there and cannot be read.
    """
    known = recorded_base(base)
    path = known.path
    if not base.path or not path.exists():
        if executor != _HERE:
            return None
        # As the job would: a plugin may have moved its model.
        try:
            path = locate_base(base.name)
        except AssetForgeError:
            return FileState(recorded=base.digest, now="")
    if known.config is not None and not known.config.exists():
        return FileState(recorded=base.digest, now="")
    return FileState(recorded=base.digest, now=digest_anew(path, known.config))


def digest_anew(path: Path, config: Path | None = None) -> str:
    """The same as :func:`assetforge.store.model_digest.model_digest`, from the bytes alone: nothing that was remembered about a file counts.

    Raises:
        StorageError: A file cannot be read.
    """
    files: Mapping[str, Path] = {"checkpoint": path} if path.is_file() else model_files(path)
    if config is not None:
        files = {**files, **{f"config/{name}": file for name, file in model_files(config).items()}}
    with ThreadPoolExecutor(max(1, min(_THREADS, os.cpu_count() or 1))) as pool:
        hashes = list(pool.map(lambda file: hash_file(file)[0], files.values()))
    if path.is_file() and config is None:
        return hashes[0]
    lines = (f"{name} {found}" for name, found in zip(files, hashes, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def lora_state(project: Project, sha256: str) -> FileState:
    """The hash of a stored LoRA file as its bytes are now.

    Raises:
        StorageError: It is there and cannot be read.
    """
    there = project.blobs.has(sha256)
    return FileState(recorded=sha256, now=hash_file(project.blobs.path(sha256))[0] if there else "")
