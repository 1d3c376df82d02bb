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
from numpy.typing import NDArray

from artoolkit.errors import ExportError, UsageError
from artoolkit.evidence.seal import file_sha256
from artoolkit.files import faults_of, reading
from artoolkit.optional import require
from artoolkit.wire import messages

if TYPE_CHECKING:
    import onnx

Shapes = Mapping[str, tuple[int, ...]]
# ModelProto.graph, GraphProto.initializer, TensorProto.external_data; key and value of an entry.
_GRAPH, _INITIALIZER, _EXTERNAL, _KEY, _VALUE = 7, 5, 13, 1, 2
# GraphProto.node, NodeProto.attribute, AttributeProto.t and .g.
_NODE, _ATTRIBUTE, _TENSOR, _INNER = 1, 5, 5, 6
# What hands on the values that it is given first, and DequantizeLinear, which scales them.
_HANDING_ON = frozenset({"Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze",
                         "DequantizeLinear"})  # fmt: skip


def load_onnx(path: Path, purpose: str) -> onnx.ModelProto:
    """The ONNX model in `path`, its external data inside; `MissingLibraryError` without onnx.

    `ExportError` if it is no such file, if its external data is not beside it, if the weight of a
    convolution, product or normalisation is not finite, and for NaN anywhere.
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
        names = {name for graph in messages(content, _GRAPH) for name in _locations(graph)}
    except (IndexError, ValueError):  # no protobuf at all: whoever parses the file says so
        return ()
    return tuple(path.parent / name for name in sorted(names))


def _locations(graph: memoryview) -> Iterator[str]:
    """The file of every tensor in a graph, its nodes and its inner graphs that lies in another."""
    attributes = [a for node in messages(graph, _NODE) for a in messages(node, _ATTRIBUTE)]
    tensors = (tensor for attribute in attributes for tensor in messages(attribute, _TENSOR))
    for tensor in (*messages(graph, _INITIALIZER), *tensors):
        for entry in messages(tensor, _EXTERNAL):
            if b"".join(messages(entry, _KEY)) == b"location":
                yield b"".join(messages(entry, _VALUE)).decode()
    for attribute in attributes:
        for inner in messages(attribute, _INNER):
            yield from _locations(inner)


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
        kind, wanted = value.type.tensor_type, shapes[value.name]
        if not kind.HasField("shape"):  # a shape of any rank
            for _ in wanted:
                kind.shape.dim.add()
        dims = kind.shape.dim
        stated = [d.dim_value if d.HasField("dim_value") else None for d in dims]
        if len(stated) != len(wanted) or any(
            b < 1 or a not in (None, b) for a, b in zip(stated, wanted, strict=True)
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
    return with_inferred_shapes(fixed)


def with_inferred_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with the shapes of what nodes make; `ExportError` for operators unknown to onnx."""
    import onnx

    with faults_of("the graph's operators", ExportError):
        inferred: onnx.ModelProto = onnx.shape_inference.infer_shapes(model, data_prop=True)
    return inferred


def open_inputs(model: onnx.ModelProto) -> tuple[str, ...]:
    """The inputs without a static shape, initialisers aside."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return tuple(
        value.name
        for value in model.graph.input
        if value.name not in weights
        and not (
            value.type.tensor_type.HasField("shape")
            and all(d.HasField("dim_value") for d in value.type.tensor_type.shape.dim)
        )
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
    weights, variances = _weights(model)
    for name, values in _numbers(model.graph):
        # An infinite constant may be meant, as of a mask; NaN never is.
        wrong = ~np.isfinite(values) if name in weights else np.isnan(values)
        if name in variances:
            wrong |= values < 0
        if count := int(np.count_nonzero(wrong)):
            kind = "NaN, infinite or below 0" if name in variances else "NaN or infinite"
            raise ExportError(
                f"the weights in {path} are not finite",
                got=f"{count} of {values.size} values of {name} {kind}",
                hint="The training that wrote them failed: take an earlier checkpoint.",
            )


def _weights(model: onnx.ModelProto) -> tuple[set[str], set[str]]:
    """Names of what becomes weights, wherever that begins, and of variances among them."""
    from artoolkit.graph.identity import WEIGHT_INPUTS, weights_by_rule

    nodes = model.graph.node
    makers = {node.output[0]: node for node in nodes if node.op_type in _HANDING_ON}
    taken = {
        node.input[index]
        for node in nodes
        for index in WEIGHT_INPUTS.get(node.op_type, ())
        if index < len(node.input)
    }
    found = taken | weights_by_rule(model)
    for name in taken:
        while name in makers:
            name = makers[name].input[0]
            found.add(name)
    batch_norms = (node for node in nodes if node.op_type == "BatchNormalization")
    return found, {node.input[4] for node in batch_norms if len(node.input) > 4}


def _numbers(graph: onnx.GraphProto) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Every float in a graph, its nodes and its inner graphs, by the name it has there."""
    for tensor in graph.initializer:
        yield tensor.name, _floats(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            yield (f"{attribute.name} of {node.name or node.op_type}",
                   np.array(attribute.floats or [attribute.f], np.float32))  # fmt: skip
            if attribute.HasField("t"):
                yield (*node.output, "")[0], _floats(attribute.t)
            for inner in (attribute.g, *attribute.graphs):
                yield from _numbers(inner)


def _floats(tensor: onnx.TensorProto) -> NDArray[np.float32]:
    """The values of a float tensor; none for other kinds, which are looked at all the same."""
    import onnx

    kinds, values = onnx.TensorProto, np.asarray(onnx.numpy_helper.to_array(tensor))
    if tensor.data_type not in (kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE, kinds.BFLOAT16):
        return np.empty(0, np.float32)
    return values.astype(np.float32)
