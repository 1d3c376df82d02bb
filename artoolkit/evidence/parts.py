"""Short hashes of what is inside a bundle's files, so that a change is named: which tensor, image.

The sha256 of a whole file says that it was changed; these say where. They need no library beyond
numpy, since the device that verifies a bundle has no onnx.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from artoolkit.errors import BundleError
from artoolkit.files import read_bytes, read_npz
from artoolkit.wire import messages

# Field numbers of onnx.proto: ModelProto.graph, GraphProto.initializer, TensorProto.name,
# TensorProto.external_data.
_GRAPH, _INITIALIZER, _NAME, _EXTERNAL = 7, 5, 8, 13
SHOWN = 3
# Protobuf holds no larger message, and an ONNX file is one.
MOST_MODEL = 2 << 30


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def onnx_parts(path: Path) -> dict[str, str]:
    """Hash of every initialiser by name; empty where the file is no ONNX that can be read."""
    found: dict[str, str] = {}
    try:
        data = memoryview(path.read_bytes())
        for graph in messages(data, _GRAPH):
            for tensor in messages(graph, _INITIALIZER):
                name = b"".join(bytes(part) for part in messages(tensor, _NAME))
                found[name.decode()] = _digest(tensor)
    except Exception:  # whatever a broken file makes of it: nothing can be named
        return {}
    return found


def external_data(path: Path) -> list[str]:
    """Names of the initialisers of an ONNX file whose values lie in another file.

    Empty for what is no such file: its hash is wrong too.
    """
    with contextlib.suppress(Exception):
        content = memoryview(read_bytes(path, BundleError, most=MOST_MODEL))
        return [
            b"".join(map(bytes, messages(tensor, _NAME))).decode()
            for graph in messages(content, _GRAPH)
            for tensor in messages(graph, _INITIALIZER)
            if any(messages(tensor, _EXTERNAL))
        ]
    return []


def npz_parts(path: Path) -> dict[str, str]:
    """Hash of every entry along the first axis, as `images[0]`; empty for what is no .npz."""
    try:
        arrays = read_npz(path, BundleError)
    except BundleError:
        return {}
    return {
        f"{name}[{index}]": _digest(np.ascontiguousarray(entry).tobytes())
        for name, array in arrays.items()
        for index, entry in enumerate(np.atleast_1d(array))
    }


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
