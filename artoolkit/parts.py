"""Short hashes of what is inside a bundle's files, so that a change is named: which tensor, image.

The sha256 of a whole file says that it was changed; these say where. They need no library beyond
numpy, since the device that verifies a bundle has no onnx.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

# Field numbers of onnx.proto: ModelProto.graph, GraphProto.initializer, TensorProto.name.
_GRAPH, _INITIALIZER, _NAME = 7, 5, 8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
SHOWN = 3


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """A base-128 number at `place`, and where the next byte is."""
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def _messages(data: memoryview, number: int) -> Iterator[memoryview]:
    """The contents of every field `number` that has a length (protobuf.dev/programming-guides).

    Raises `ValueError` or `IndexError` where the bytes are no protobuf message.
    """
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        kind = tag & 7
        if kind == _VARINT:
            _, place = _varint(data, place)
        elif kind in (_FIXED64, _FIXED32):
            place += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            length, place = _varint(data, place)
            if place + length > len(data):
                raise ValueError("a field is longer than its message")
            if tag >> 3 == number:
                yield data[place : place + length]
            place += length
        else:
            raise ValueError(f"no protobuf: wire type {kind}")


def onnx_parts(path: Path) -> dict[str, str]:
    """Hash of every initialiser by name; empty where the file is no ONNX that can be read."""
    found: dict[str, str] = {}
    try:
        data = memoryview(path.read_bytes())
        for graph in _messages(data, _GRAPH):
            for tensor in _messages(graph, _INITIALIZER):
                name = b"".join(bytes(part) for part in _messages(tensor, _NAME))
                found[name.decode()] = _digest(tensor)
    except (OSError, ValueError, IndexError):
        return {}
    return found


def npz_parts(path: Path) -> dict[str, str]:
    """Hash of every entry along the first axis, as `images[0]`; empty for what is no .npz."""
    try:
        # numpy leaves the file open where it is no archive, if it opened it itself.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {
                f"{name}[{index}]": _digest(np.ascontiguousarray(entry).tobytes())
                for name in arrays.files
                for index, entry in enumerate(np.atleast_1d(arrays[name]))
            }
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return {}


def parts_of(path: Path) -> dict[str, str]:
    """Hashes of the parts of an .onnx or .npz file by name."""
    return onnx_parts(path) if path.suffix == ".onnx" else npz_parts(path)


def changed_parts(path: Path, expected: Mapping[str, str]) -> str:
    """The parts that differ from `expected` in words, such as `conv.weight and 2 more`.

    Empty where none can be named: the file cannot be read, or the change lies between its parts.
    """
    found = parts_of(path)
    names = [name for name in expected if found.get(name) != expected[name]]
    names += [name for name in found if name not in expected]
    if not found or not expected or not names:
        return ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
