"""The constants of an ONNX file: which are trained, and which a compiler may merge.

Only `artoolkit.backends.tensorrt.program` needs it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artoolkit.errors import ExportError
from artoolkit.graph.onnx_file import load_onnx
from artoolkit.optional import require

_PURPOSE = "finding the weights in a compiled program"


@dataclass(frozen=True)
class TrainedWeights:
    """The trained parameters of a file, by `names`.

    `merging` names those that a compiler may merge or fold because of their values; `quantised`
    says that the graph holds Q/DQ nodes; `constants` are a hash and a name of all other
    initialisers.
    """

    names: tuple[str, ...]
    merging: tuple[str, ...]
    quantised: bool
    constants: tuple[tuple[str, str], ...] = field(repr=False)

    @property
    def merged(self) -> str:
        """The first reason for merging, "" where there is none."""
        return self.merging[0] if self.merging else ""

    def other_constant(self, other: TrainedWeights) -> str:
        """The name of a constant that only one of the two files has, "" where there is none."""
        own, others = (Counter(digest for digest, _ in w.constants) for w in (self, other))
        only = (own - others) + (others - own)
        return next((n for d, n in (*self.constants, *other.constants) if d in only), "")


def trained_weights(onnx_path: Path, trained: Collection[str]) -> TrainedWeights:
    """Raises `ExportError` where a trained name is no initialiser of the file."""
    model = load_onnx(onnx_path, _PURPOSE)
    arrays = dict(_arrays(model))
    if missing := sorted(set(trained) - set(arrays)):
        raise ExportError(
            f"{onnx_path} lacks the trained parameter {missing[0]} ({len(missing)} in all)",
            hint="The bundle's manifest and its model.onnx do not belong together.",
        )
    return TrainedWeights(
        names=tuple(sorted(trained)),
        merging=tuple(_merging({name: arrays[name] for name in sorted(trained)})),
        quantised=any(node.op_type == "QuantizeLinear" for node in model.graph.node),
        constants=tuple(
            (_digest(array), name) for name, array in arrays.items() if name not in trained
        ),
    )


def _arrays(model: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    numpy_helper = require("onnx.numpy_helper", _PURPOSE)
    for tensor in model.graph.initializer:
        # A copy: arrays of a file are read-only and may lie at odd addresses.
        yield tensor.name, np.array(numpy_helper.to_array(tensor))


def _digest(array: NDArray[Any]) -> str:
    shape = f"{array.dtype.name}{array.shape}".encode()
    return hashlib.sha256(shape + array.tobytes()).hexdigest()


def _merging(arrays: dict[str, NDArray[Any]]) -> Iterator[str]:
    """Compilers drop additions of 0 and products with 1, and store equal constants once."""
    first: dict[str, str] = {}
    for name, array in arrays.items():
        if array.dtype.kind == "f" and np.isnan(array).any():
            yield f"{name} holds NaN"
        elif array.size and (array == array.flat[0]).all():
            yield f"{name} is {array.flat[0]:g} everywhere"
        key = _digest(array)
        if key in first:
            yield f"{name} equals {first[key]}"
        first.setdefault(key, name)
