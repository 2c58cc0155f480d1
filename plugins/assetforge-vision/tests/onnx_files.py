"""Writes small ONNX files without the package onnx: a few messages of its protobuf, enough for a straight line of operators."""

import struct
from pathlib import Path

import numpy as np

_FLOAT, _INT64 = 1, 7


def _varint(number):
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _field(number, value):
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _tensor(name, array):
    kind = _INT64 if array.dtype == np.int64 else _FLOAT
    dims = b"".join(_field(1, size) for size in array.shape)
    return dims + _field(2, kind) + _field(8, name) + _field(9, np.ascontiguousarray(array).tobytes())


def _attribute(name, value):
    if isinstance(value, float):
        return _field(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _field(20, 1)
    if isinstance(value, int):
        return _field(1, name) + _field(3, value) + _field(20, 2)
    return _field(1, name) + b"".join(_field(8, one) for one in value) + _field(20, 7)


def _value(name, shape):
    dims = b"".join(_field(1, _field(1, size) if isinstance(size, int) else _field(2, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, _FLOAT) + _field(2, dims)))


def node(operator, inputs, outputs, **attributes):
    """One operator."""
    names = b"".join(_field(1, name) for name in inputs) + b"".join(_field(2, name) for name in outputs)
    return names + _field(4, operator) + b"".join(_field(5, _attribute(*one)) for one in attributes.items())


def write_onnx(file: Path, nodes, shape, outputs, constants=None) -> Path:
    """A model with the input ``input`` of that shape; outputs are names with shapes, a word in a shape is open."""
    graph = b"".join(_field(1, one) for one in nodes) + _field(2, "tiny")
    graph += b"".join(_field(5, _tensor(name, array)) for name, array in (constants or {}).items())
    graph += _field(11, _value("input", shape)) + b"".join(_field(12, _value(*one)) for one in outputs.items())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_field(1, 8) + _field(8, _field(2, 13)) + _field(7, graph))
    return file


def pooling_model(file: Path, side: int, kernel: int, batch: int | str = "n") -> Path:
    """Turns a picture into the mean colours of its ``kernel`` x ``kernel`` squares."""
    nodes = [
        node("AveragePool", ["input"], ["pooled"], kernel_shape=[kernel, kernel], strides=[kernel, kernel]),
        node("Flatten", ["pooled"], ["output"]),
    ]
    return write_onnx(file, nodes, [batch, 3, side, side], {"output": [batch, 3 * (side // kernel) ** 2]})


def detector_model(file: Path, arrays, side: int = 640) -> Path:
    """Gives these nine arrays, the scores times the brightness of the picture: black pictures show nobody.

    Args:
        file: Where to.
        arrays: Scores, boxes and points, each for three strides.
        side: Of the picture.
    """
    nodes = [
        node("ReduceMean", ["input"], ["mean"], keepdims=0),
        node("Relu", ["mean"], ["light"]),
    ]
    constants, outputs = {}, {}
    for number, array in enumerate(arrays):
        constants[f"given{number}"], outputs[f"out{number}"] = array.astype(np.float32), list(array.shape)
        inputs = [f"given{number}", "light"] if number < 3 else [f"given{number}"]
        nodes.append(node("Mul" if number < 3 else "Identity", inputs, [f"out{number}"]))
    return write_onnx(file, nodes, [1, 3, side, side], outputs, constants)
