"""Writes small ONNX files without the package `onnx`: the few protobuf fields that a model needs.

Source: onnx/onnx.proto (field numbers). Files written here pass onnx.checker of onnx 1.23.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["node", "save_model"]

_FLOAT, _UINT8, _INT64 = 1, 2, 7
_KINDS = {np.dtype(np.float32): _FLOAT, np.dtype(np.uint8): _UINT8, np.dtype(np.int64): _INT64}


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str, array: np.ndarray, location: str | None) -> bytes:
    head = b"".join(_field(1, side) for side in array.shape) + _field(2, _KINDS[array.dtype]) + _field(8, name)
    if location is None:
        return head + _field(9, array.tobytes())
    pairs = {"location": location, "offset": "0", "length": str(array.nbytes)}
    return head + b"".join(_field(13, _field(1, k) + _field(2, v)) for k, v in pairs.items()) + _field(14, 1)


def _value(name: str, shape: Sequence[int | str], kind: int) -> bytes:
    sides = b"".join(_field(1, _field(1, side) if isinstance(side, int) else _field(2, side)) for side in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, sides)))


def node(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> bytes:
    """Return one operation; attributes are integers or lists of them."""
    data = b"".join(_field(1, name) for name in inputs) + _field(2, output) + _field(4, operator)
    for name, value in attributes.items():
        if isinstance(value, int):
            data += _field(5, _field(1, name) + _field(3, value) + _field(20, 2))
        else:
            data += _field(5, _field(1, name) + b"".join(_field(8, one) for one in value) + _field(20, 7))
    return data


def save_model(
    path: Path,
    nodes: Sequence[bytes],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str]],
    arrays: Mapping[str, np.ndarray],
    input_kind: type = np.float32,
    location: str | None = None,
) -> Path:
    """Write a model.

    Args:
        path: the file.
        nodes: its operations in order, each from `node`.
        inputs, outputs: name → shape; a text is a dynamic side.
        arrays: its constants by name.
        input_kind: float32 or uint8.
        location: a file beside it that its first constant is kept in.
    """
    graph = b"".join(_field(1, one) for one in nodes) + _field(2, "graph")
    for at, (name, array) in enumerate(arrays.items()):
        outside = location if at == 0 else None
        graph += _field(5, _tensor(name, array, outside))
        if outside:
            (path.parent / outside).write_bytes(array.tobytes())
    graph += b"".join(_field(11, _value(n, shape, _KINDS[np.dtype(input_kind)])) for n, shape in inputs.items())
    graph += b"".join(_field(12, _value(name, shape, _FLOAT)) for name, shape in outputs.items())
    path.write_bytes(_field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 17)))
    return path
