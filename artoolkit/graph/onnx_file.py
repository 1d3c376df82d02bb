"""ONNX files: the only place that opens them, with their failures in one line.

torch writes large weights to a file beside the graph ("external data"); both are read, and both are
hashed. Weights that are not finite are refused: any comparison of them would pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from artoolkit.errors import ExportError, UsageError
from artoolkit.evidence.seal import file_sha256
from artoolkit.files import reading
from artoolkit.optional import require
from artoolkit.wire import messages

if TYPE_CHECKING:
    import onnx

Shapes = Mapping[str, tuple[int, ...]]
# ModelProto.graph, GraphProto.initializer, TensorProto.external_data; key and value of an entry.
_GRAPH, _INITIALIZER, _EXTERNAL, _KEY, _VALUE = 7, 5, 13, 1, 2


def load_onnx(path: Path, purpose: str) -> onnx.ModelProto:
    """The ONNX model in `path`, its external data inside; `MissingLibraryError` without onnx.

    `ExportError` if it is no such file, if its external data is not beside it, and if the weight
    of a convolution, product or normalisation is not finite.
    """
    library = require("onnx", purpose)
    missing = [str(file) for file in data_files(path) if not file.is_file()]
    if missing:
        raise ExportError(
            f"the weights of {path} are in a file that is not there",
            got=", ".join(missing),
            hint="Copy it beside the .onnx file, under the name that it was written with.",
        )
    with reading(path, ExportError, what="ONNX file"):
        model: onnx.ModelProto = library.load(str(path))
        if not model.graph.node and not model.graph.output:
            raise ExportError(f"{path} is not an ONNX file that can be read", got="no graph in it")
        if any(isinstance(text, bytes) for text in _texts(model.graph)):
            raise ValueError("a name in it is no text")
        _require_finite(model, path)
    return model


def upsamples_with_corners(path: Path) -> bool:
    """True if the Resize that reads `scores` in an exported graph aligns the corners."""
    for node in load_onnx(path, "the scores of a graph").graph.node:
        if node.op_type == "Resize" and "scores" in node.input[0]:
            return any(a.s == b"align_corners" for a in node.attribute)
    return False


def data_files(path: Path) -> tuple[Path, ...]:
    """The files of external data that the graph in `path` names, found without onnx."""
    with reading(path, ExportError, what="ONNX file"):
        content = memoryview(path.read_bytes())
    try:
        names = {*_locations(content)}
    except (IndexError, ValueError):  # no protobuf at all: whoever parses the file says so
        return ()
    return tuple(path.parent / name for name in sorted(names))


def _locations(content: memoryview) -> Iterator[str]:
    for graph in messages(content, _GRAPH):
        for tensor in messages(graph, _INITIALIZER):
            for entry in messages(tensor, _EXTERNAL):
                if b"".join(messages(entry, _KEY)) == b"location":
                    yield b"".join(messages(entry, _VALUE)).decode()


def onnx_sha256(path: Path) -> str:
    """sha256 of the file; with external data, of the hashes of all its files in order."""
    data = data_files(path)
    if not data:
        return file_sha256(path)
    hashes = [file_sha256(file) for file in (path, *data) if file.is_file()]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def with_shapes(model: onnx.ModelProto, shapes: Shapes) -> onnx.ModelProto:
    """A copy of `model` whose inputs have these static shapes; `UsageError` where they do not fit.

    Shapes of everything behind them are inferred anew.
    """
    import onnx

    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if unknown := sorted(shapes.keys() - {value.name for value in inputs}):
        raise UsageError(
            f"the graph has no input {', '.join(unknown)}",
            expected=", ".join(value.name for value in inputs),
        )
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        if value.name not in shapes:
            continue
        dims, wanted = value.type.tensor_type.shape.dim, shapes[value.name]
        stated = [d.dim_value if d.HasField("dim_value") else None for d in dims]
        if len(stated) != len(wanted) or any(
            a not in (None, b) for a, b in zip(stated, wanted, strict=True)
        ):
            said = " x ".join("?" if size is None else str(size) for size in stated)
            raise UsageError(
                f"input {value.name} does not take this shape",
                got=" x ".join(map(str, wanted)),
                expected=said,
            )
        for dim, size in zip(dims, wanted, strict=True):
            dim.dim_value = size
    del fixed.graph.value_info[:]
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    assert isinstance(inferred, onnx.ModelProto), "as it was given"
    return inferred


def open_inputs(model: onnx.ModelProto) -> tuple[str, ...]:
    """The inputs without a static shape, initialisers aside."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return tuple(
        value.name
        for value in model.graph.input
        if value.name not in weights
        and not all(d.HasField("dim_value") for d in value.type.tensor_type.shape.dim)
    )


def _texts(graph: onnx.GraphProto) -> Iterator[str | bytes]:
    """Every name in a graph; protobuf hands out bytes where one is no UTF-8."""
    for value in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        yield value.name
    for node in graph.node:
        yield from (node.op_type, node.name, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name
            for inner in (attribute.g, *attribute.graphs):
                yield from _texts(inner)


def _require_finite(model: onnx.ModelProto, path: Path) -> None:
    from artoolkit.graph.identity import weights_by_rule

    weights = weights_by_rule(model)
    inner = (a.t for node in model.graph.node for a in node.attribute if a.HasField("t"))
    for tensor in (*model.graph.initializer, *inner):
        values = _floats(tensor)
        if tensor.name in weights and values is not None and not np.isfinite(values).all():
            wrong = int(np.count_nonzero(~np.isfinite(values)))
            raise ExportError(
                f"the weights in {path} are not finite",
                got=f"{wrong} of {values.size} values of {tensor.name} NaN or infinite",
                hint="The training that wrote them failed: take an earlier checkpoint.",
            )


def _floats(tensor: onnx.TensorProto) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
    """The values of a float tensor; None for other kinds, which are looked at all the same."""
    import onnx

    kinds, values = onnx.TensorProto, np.asarray(onnx.numpy_helper.to_array(tensor))
    if tensor.data_type not in (kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE, kinds.BFLOAT16):
        return None
    return values.astype(np.float32)
