"""The trained parameters of an ONNX file: how many bytes they are, and the same file with them all
flipped.

A flipped file computes nonsense, but its program is the original's: what differs between the two
plans is where the weights lie. Only `artoolkit.backends.tensorrt.program` needs it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artoolkit.errors import ExportError
from artoolkit.graph.onnx_file import load_onnx
from artoolkit.optional import require

_PURPOSE = "finding the weights in a compiled program"
# Every byte changes and every value stays finite: exponents change in their lowest bit at most.
_FLIPS: dict[str, np.generic] = {
    "float32": np.uint32(0x80FFFFFF),
    "float16": np.uint16(0x80FF),
    "int8": np.uint8(0xFF),
    "uint8": np.uint8(0xFF),
}


@dataclass(frozen=True)
class TrainedWeights:
    """`bytes` of all trained parameters; `merging` names those that a compiler may merge or fold
    because of their values; `quantised` says that the graph holds Q/DQ nodes.
    """

    bytes: int
    merging: tuple[str, ...]
    quantised: bool


def trained_weights(onnx_path: Path, trained: Collection[str]) -> TrainedWeights:
    """Raises `ExportError` where a trained name is no initialiser of the file."""
    model = load_onnx(onnx_path, _PURPOSE)
    arrays = dict(_arrays(model, trained, onnx_path))
    return TrainedWeights(
        bytes=sum(array.nbytes for array in arrays.values()),
        merging=tuple(_merging(arrays)),
        quantised=any(node.op_type == "QuantizeLinear" for node in model.graph.node),
    )


def write_flipped(onnx_path: Path, trained: Collection[str], out: Path) -> None:
    """`onnx_path` with every byte of every trained parameter changed, at `out`."""
    onnx = require("onnx", _PURPOSE)
    model = load_onnx(onnx_path, _PURPOSE)
    flipped = {name: flip(array) for name, array in _arrays(model, trained, onnx_path)}
    for tensor in model.graph.initializer:
        if tensor.name in flipped:
            tensor.CopyFrom(onnx.numpy_helper.from_array(flipped[tensor.name], tensor.name))
    onnx.save(model, out)


def flip(array: NDArray[Any]) -> NDArray[Any]:
    """The array with every byte changed; raises `ExportError` for a type that no weight has."""
    mask = _FLIPS.get(array.dtype.name)
    if mask is None:
        raise ExportError(
            "trained parameters of this type are not known", got=array.dtype, expected=list(_FLIPS)
        )
    flipped: NDArray[Any] = (array.view(mask.dtype) ^ mask).view(array.dtype)
    return flipped


def _arrays(model: Any, trained: Collection[str], path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    numpy_helper = require("onnx.numpy_helper", _PURPOSE)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    if missing := sorted(set(trained) - set(tensors)):
        raise ExportError(
            f"{path} lacks the trained parameter {missing[0]} ({len(missing)} in all)",
            hint="The bundle's manifest and its model.onnx do not belong together.",
        )
    for name in sorted(trained):
        # A copy: arrays of a file are read-only and may lie at odd addresses.
        yield name, np.array(numpy_helper.to_array(tensors[name]))


def _merging(arrays: dict[str, NDArray[Any]]) -> Iterator[str]:
    """Compilers drop additions of 0 and products with 1, and store equal constants once."""
    first: dict[bytes, str] = {}
    for name, array in arrays.items():
        if array.dtype.kind == "f" and np.isnan(array).any():
            yield f"{name} holds NaN"
        elif array.size and (array == array.flat[0]).all():
            yield f"{name} is {array.flat[0]:g} everywhere"
        key = array.dtype.name.encode() + str(array.shape).encode() + array.tobytes()
        if key in first:
            yield f"{name} equals {first[key]}"
        first.setdefault(key, name)
