"""LoRA files as bytes: read, check, stamp."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from assetforge.errors import UsageError
from assetforge.store.weights import read_metadata, read_tensor_table, stamp, tensor_hash


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    path = tmp_path / "a[b]\n.safetensors"
    save_file(
        {"up": np.ones((4, 2), np.float32), "down": np.zeros((2, 4), np.float16)},
        path,
        metadata={"ss_output_name": "mara-run1"},
    )
    return path


def test_stamp_changes_metadata_and_no_tensor(lora: Path, tmp_path: Path) -> None:
    stamped = tmp_path / "stamped.safetensors"
    stamp(lora, stamped, {"ss_output_name": "mara-v002", "note": "ünï [code]"})
    assert read_metadata(stamped) == {"ss_output_name": "mara-v002", "note": "ünï [code]"}
    assert tensor_hash(stamped) == tensor_hash(lora)
    assert {name: tensor.tobytes() for name, tensor in load_file(stamped).items()} == {
        name: tensor.tobytes() for name, tensor in load_file(lora).items()
    }


def test_tensor_table_names_dtype_and_shape(lora: Path) -> None:
    assert read_tensor_table(lora) == {"up": ("F32", (4, 2)), "down": ("F16", (2, 4))}


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data[:-3],
        lambda data: data + b"more",
        lambda data: b"\x80\x04\x95" + data,
        lambda data: struct.pack("<Q", 10**12) + data[8:],
        lambda data: struct.pack("<Q", 4) + b"[1] " + data,
    ],
)
def test_damaged_files_are_refused_by_name(lora: Path, damage) -> None:
    lora.write_bytes(damage(lora.read_bytes()))
    with pytest.raises(UsageError, match="safetensors"):
        read_tensor_table(lora)


def test_header_entry_without_offsets_is_refused(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1]}}).encode()
    path = tmp_path / "odd.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(UsageError, match="damaged header entry"):
        read_tensor_table(path)
