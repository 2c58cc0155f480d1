"""Writing and reading a backup: a folder or an uncompressed tar with every file's hash in a manifest at its end.

backup.json       what it is: film, program, revision, time
project.toml      forge.db      blobs/ab/cdef...      files/...
manifest.jsonl    {path, sha256, size} of every file but itself, written last
"""

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, Protocol, cast

from assetforge.durable import storage_error, sync_folder
from assetforge.errors import NotFoundError, StorageError, UsageError

__all__ = ["ABOUT", "SCHEMA", "HashingReader", "Manifest", "archive_writer", "members", "read_about"]

SCHEMA = "assetforge/backup/1"
ABOUT, MANIFEST = "backup.json", "manifest.jsonl"
_BLOB = re.compile(r"blobs/[0-9a-f]{2}/[0-9a-f]{62}\Z")
_CHUNK = 1 << 20


class HashingReader:
    """Reads a stream and hashes what was read.

    Args:
        stream: An open binary stream.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.size = 0

    def read(self, count: int = -1) -> bytes:
        """The next bytes."""
        data = self._stream.read(count)
        self._digest.update(data)
        self.size += len(data)
        return data

    @property
    def sha256(self) -> str:
        """Hash of what was read so far."""
        return self._digest.hexdigest()


class Manifest:
    """Hash and size of every file of a backup, collected while writing or reading, and compared at the end."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[str, int]] = {}

    def note(self, name: str, sha256: str, size: int) -> None:
        """Remember a file."""
        self.entries[name] = (sha256, size)

    def dump(self) -> bytes:
        """The manifest file."""
        lines = (
            json.dumps({"path": name, "sha256": sha256, "size": size})
            for name, (sha256, size) in sorted(self.entries.items())
        )
        return ("\n".join(lines) + "\n").encode()

    def check(self, written: bytes, source: Path) -> None:
        """Compare what was read with the manifest file.

        Raises:
            StorageError: A file is missing, changed or too many.
        """
        try:
            promised = {
                entry["path"]: (entry["sha256"], entry["size"]) for entry in map(json.loads, written.splitlines())
            }
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"The manifest of {source} is damaged.", hint="Use another backup.") from error
        for name, said in promised.items():
            if name not in self.entries:
                raise StorageError(f"{source} lacks {name}.", hint="Use another backup.")
            if self.entries[name] != said:
                raise StorageError(
                    f"{name} in {source} is damaged: its hash is not the one in the manifest.",
                    hint="Use another backup.",
                )
        extra = sorted(set(self.entries) - set(promised))
        if extra:
            raise StorageError(
                f"{source} holds {extra[0]}, which its manifest does not name.", hint="Use another backup."
            )


class ArchiveWriter(Protocol):
    """What a backup is written through."""

    def add(self, name: str, stream: IO[bytes], size: int) -> None:
        """Add a file of exactly ``size`` bytes."""


@contextmanager
def archive_writer(destination: Path) -> Iterator["_Recorder"]:
    """Write a backup that appears under its name only when it is complete; ``.tar`` makes one file, anything else a folder.

    Raises:
        UsageError: Something is there already.
        StorageError: The disk is full or the place cannot be written; nothing is left then.
    """
    if destination.exists():
        raise UsageError(f"{destination} exists already.", hint="Choose a new name; backups are never overwritten.")
    partial = destination.with_name(destination.name + ".partial")
    _remove(partial)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        if destination.suffix == ".tar":
            with partial.open("wb") as stream:
                with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                    recorder = _Recorder(_TarWriter(tar))
                    yield recorder
                    recorder.finish()
                stream.flush()
                os.fsync(stream.fileno())
        else:
            partial.mkdir()
            recorder = _Recorder(_FolderWriter(partial))
            yield recorder
            recorder.finish()
        partial.rename(destination)
        sync_folder(destination.parent)
    except OSError as error:
        raise storage_error(error, destination, "written") from error
    finally:
        _remove(partial)


class _Recorder:
    """Adds files and keeps the manifest."""

    def __init__(self, writer: ArchiveWriter) -> None:
        self._writer = writer
        self._manifest = Manifest()

    def add_bytes(self, name: str, data: bytes) -> None:
        """Add a small file."""
        self._writer.add(name, io.BytesIO(data), len(data))
        self._manifest.note(name, hashlib.sha256(data).hexdigest(), len(data))

    def add_file(self, name: str, path: Path, *, sha256: str = "") -> None:
        """Add a file as it is now.

        Raises:
            StorageError: It cannot be read, changes while it is read, or its bytes are not those of ``sha256``.
        """
        try:
            with path.open("rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                reader = HashingReader(stream)
                self._writer.add(name, cast("BinaryIO", reader), size)
        except FileNotFoundError as error:
            raise storage_error(error, path, "read") from error
        if reader.size != size:
            raise StorageError(
                f"{path} changed while it was copied.", hint="Repeat the backup when nobody writes to it."
            )
        if sha256 and reader.sha256 != sha256:
            raise StorageError(
                f"Blob {path} is damaged; no backup was written.", hint="Run `assetforge fsck --repair`."
            )
        self._manifest.note(name, reader.sha256, size)

    def finish(self) -> None:
        """Write the manifest."""
        data = self._manifest.dump()
        self._writer.add(MANIFEST, io.BytesIO(data), len(data))


class _TarWriter:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, name: str, stream: IO[bytes], size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o644
        try:
            self._tar.addfile(info, stream)
        except OSError as error:
            if error.errno is None:
                raise StorageError(
                    f"{name} became shorter while it was copied.", hint="Repeat the backup when nobody writes to it."
                ) from error
            raise


class _FolderWriter:
    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, name: str, stream: IO[bytes], size: int) -> None:  # noqa: ARG002 - the tar needs it
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(stream, file, _CHUNK)
            file.flush()
            os.fsync(file.fileno())


def members(source: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Every file of a backup with its stream, ``backup.json`` first and the manifest last. A stream is readable until the next one is asked for.

    Raises:
        NotFoundError: There is nothing.
        StorageError: It is no backup, or it is cut off, or a name in it would lead out of its folder.
    """
    if source.is_dir():
        names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
        for name in [ABOUT, *(name for name in names if name not in (ABOUT, MANIFEST)), MANIFEST]:
            path = source / _safe(name, source)
            if not path.is_file():
                raise StorageError(
                    f"{source} is no complete backup: it has no {name}.",
                    hint="Name the folder or .tar that `assetforge backup` wrote.",
                )
            with path.open("rb") as stream:
                yield name, stream
        return
    if not source.is_file():
        raise NotFoundError(f"There is no backup {source}.")
    try:
        with tarfile.open(source, "r|") as tar:
            for info in tar:
                content = tar.extractfile(info) if info.isreg() else None
                if content is None:
                    raise StorageError(
                        f"{source} holds {info.name!r}, which is no plain file.",
                        hint="This is no backup of assetforge.",
                    )
                yield _safe(info.name, source), cast("IO[bytes]", _TarStream(content, source))
    except tarfile.TarError as error:
        raise _cut_off(source, error) from error


class _TarStream:
    """A member of a tar; reading it beyond a cut is said in our words, wherever the reader stands."""

    def __init__(self, stream: IO[bytes], source: Path) -> None:
        self._stream = stream
        self._source = source

    def read(self, count: int = -1) -> bytes:
        try:
            return self._stream.read(count)
        except tarfile.TarError as error:
            raise _cut_off(self._source, error) from error


def _cut_off(source: Path, error: tarfile.TarError) -> StorageError:
    return StorageError(
        f"{source} is no complete tar file: {error}.",
        hint="Copy it again from where it came, or use another backup.",
    )


def read_about(source: Path) -> dict[str, Any]:
    """``backup.json``: what the backup says of itself.

    Raises:
        NotFoundError: There is nothing.
        StorageError: It is no backup, or one of a newer program.
    """
    for name, stream in members(source):
        if name != ABOUT:
            break
        try:
            about = json.loads(stream.read())
        except ValueError as error:
            raise StorageError(f"{ABOUT} in {source} is damaged.", hint="Use another backup.") from error
        if isinstance(about, dict) and about.get("schema") == SCHEMA:
            return about
        raise StorageError(
            f"{source} was written in a form that this program does not know.", hint="Update assetforge."
        )
    raise StorageError(
        f"{source} is no backup of assetforge.", hint="Name the folder or .tar that `assetforge backup` wrote."
    )


def _safe(name: str, source: Path) -> str:
    path = PurePosixPath(name)
    known = (
        name in (ABOUT, MANIFEST, "project.toml", "forge.db")
        or _BLOB.match(name) is not None
        or (path.parts[0] == "files" and len(path.parts) > 1)
    )
    if (
        not known
        or path.is_absolute()
        or ".." in path.parts
        or "\0" in name
        or path.as_posix() != name
        or path.parts[1:2] in ((".assetforge",), ("project.toml",))
    ):
        raise StorageError(f"{source} holds {name!r}, which has no place in a backup.", hint="Nothing of it was used.")
    return name


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
