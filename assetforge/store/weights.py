"""LoRA files as bytes: safetensors headers read, checked and stamped without loading tensors."""

import hashlib
import json
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assetforge.durable import storage_error
from assetforge.errors import UsageError

__all__ = ["read_metadata", "read_tensor_table", "stamp", "tensor_hash"]

_MAX_HEADER = 100_000_000
_CHUNK = 1 << 20


def _header(path: Path) -> tuple[dict[str, Any], int]:
    with path.open("rb") as stream:
        prefix = stream.read(8)
        if len(prefix) < 8:
            raise UsageError(f"{path} is not a safetensors file: it is too short.", hint="Only safetensors are loaded.")
        (length,) = struct.unpack("<Q", prefix)
        if not 2 <= length <= min(_MAX_HEADER, path.stat().st_size - 8):
            raise UsageError(
                f"{path} is not a safetensors file: its header does not fit the file.",
                hint="Only safetensors are loaded, never pickles (.ckpt, .pt, .bin).",
            )
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise UsageError(
                f"{path} is not a safetensors file: its header is not JSON.",
                hint="Only safetensors are loaded, never pickles (.ckpt, .pt, .bin).",
            ) from error
    if not isinstance(header, dict):
        raise UsageError(f"{path} is not a safetensors file: its header is not an object.")
    return header, 8 + length


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file.

    Raises:
        UsageError: It is not a safetensors file.
    """
    header, _ = _header(path)
    return {str(key): str(value) for key, value in header.get("__metadata__", {}).items()}


def read_tensor_table(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name to (dtype, shape) of every tensor, after checking that the data section has exactly the bytes it promises.

    Raises:
        UsageError: It is not a safetensors file, or it is cut off.
    """
    header, start = _header(path)
    table: dict[str, tuple[str, tuple[int, ...]]] = {}
    end = 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            table[name] = (str(entry["dtype"]), tuple(int(size) for size in entry["shape"]))
            end = max(end, int(entry["data_offsets"][1]))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UsageError(f"{path} has a damaged header entry for the tensor {name!r}.") from error
    if path.stat().st_size != start + end:
        raise UsageError(
            f"{path} is cut off or has bytes too many: {path.stat().st_size} instead of {start + end}.",
            hint="Copy it again from where it came.",
        )
    return table


def tensor_hash(path: Path) -> str:
    """SHA-256 of the data section: identity of the weights whatever the metadata (``sshs_model_hash``, Civitai's AutoV3).

    Raises:
        UsageError: It is not a safetensors file.
    """
    _, start = _header(path)
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        stream.seek(start)
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def stamp(source: Path, destination: Path, metadata: Mapping[str, str]) -> None:
    """Copy a safetensors file with some metadata set; tensors, their order and their bytes stay as they are.

    Raises:
        UsageError: ``source`` is not a safetensors file.
        StorageError: ``destination`` cannot be written.
    """
    header, start = _header(source)
    header["__metadata__"] = {**header.get("__metadata__", {}), **metadata}
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    # The data section of a safetensors file starts on a multiple of eight; spaces are the padding the format allows.
    encoded += b" " * (-len(encoded) % 8)
    try:
        with source.open("rb") as reading, destination.open("wb") as writing:
            reading.seek(start)
            writing.write(struct.pack("<Q", len(encoded)) + encoded)
            shutil.copyfileobj(reading, writing, _CHUNK)
    except OSError as error:
        destination.unlink(missing_ok=True)
        raise storage_error(error, destination, "written") from error
