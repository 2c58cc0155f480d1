"""Read any safetensors file as float32 arrays, bfloat16 included, without a machine-learning framework."""

import json
import struct
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from assetforge.store.weights import read_tensor_table

__all__ = ["Arrays", "read_arrays"]

Arrays: TypeAlias = dict[str, NDArray[np.float32]]

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}


def read_arrays(path: Path) -> Arrays:
    """Every tensor of a file.

    Raises:
        UsageError: It is not a whole safetensors file.
        KeyError: It holds a type that weights do not have.
    """
    table = read_tensor_table(path)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    arrays: Arrays = {}
    for name, (dtype, shape) in table.items():
        begin, end = (8 + length + offset for offset in header[name]["data_offsets"])
        raw = data[begin:end]
        if dtype == "BF16":
            # bfloat16 is the upper half of a float32.
            flat = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            flat = np.frombuffer(raw, _TYPES[dtype]).astype(np.float32)
        arrays[name] = flat.reshape(shape)
    return arrays
