"""Relation of a graph to another that is not the same: its int8 form, or itself in another opset.

A person who compares a published file with its quantised form wants to read that, not a thousand
differences. Read `identity.py` first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
import onnx
from onnx import numpy_helper, version_converter

from artoolkit.graph.identity import Difference, compare_graphs, weights_by_rule

# Operators on int8 -> the plain one, and which of their inputs are its own.
_ON_INT8 = {
    "QLinearConv": ("Conv", (0, 3, 8)),
    "QLinearMatMul": ("MatMul", (0, 3)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearSigmoid": ("Sigmoid", (0,)),
    "QLinearLeakyRelu": ("LeakyRelu", (0,)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
}
_SCALED = ("QuantizeLinear", "DequantizeLinear")
# What a quantiser leaves out where the range of the int8 values says it already.
_CLAMPS = ("Relu", "Clip")
_WEIGHED = ("Conv", "ConvTranspose", "MatMul", "Gemm")


def relation(a: onnx.ModelProto, b: onnx.ModelProto) -> tuple[str, tuple[Difference, ...]]:
    """Relation of `b` to `a` in a few words, "" where it is unknown, and what differs beside it."""
    a, b = _without_constant_nodes(a), _without_constant_nodes(b)
    plain_a, plain_b = _in_floats(a), _in_floats(b)
    if plain_a is None and plain_b is not None:
        return _quantised(a, plain_b, "B is A quantised")
    if plain_b is None and plain_a is not None:
        return _quantised(plain_a, b, "A is B quantised")
    opsets = [{o.domain: o.version for o in m.opset_import}.get("", 0) for m in (a, b)]
    if opsets[0] != opsets[1]:
        older, newer = (a, b) if opsets[0] < opsets[1] else (b, a)
        raised = _raised(older, max(opsets))
        if raised is not None:
            left = _without(_beside(_without_constant_nodes(raised), newer), ("opset",))
            if not left:
                return f"the same program in opset {opsets[1]}, not {opsets[0]}", ()
    return "", ()


def _beside(a: onnx.ModelProto, b: onnx.ModelProto) -> tuple[Difference, ...]:
    return compare_graphs(a, b, weights_by_rule(a), weights_by_rule(b))


def _without(found: Sequence[Difference], kinds: Collection[str]) -> tuple[Difference, ...]:
    return tuple(one for one in found if one.what not in kinds)


def _quantised(
    a: onnx.ModelProto, b: onnx.ModelProto, words: str
) -> tuple[str, tuple[Difference, ...]]:
    """The words with a count, and what differs apart from clamps and opsets.

    Nothing is claimed where the weights have other shapes, or come in another order.
    """
    if _weights(a) != _weights(b):
        return "", ()
    left = _without(_beside(_unclamped(a), _unclamped(b)), ("opset",))
    counts = Counter(node.op_type for node in a.graph.node if node.op_type in _WEIGHED)
    names = {"Conv": "convolutions", "MatMul": "products", "Gemm": "products"}
    listed = [f"{count} {names.get(kind, kind)}" for kind, count in sorted(counts.items())]
    return f"{words}: {', '.join(listed)}", left


def _weights(model: onnx.ModelProto) -> list[tuple[str, tuple[int, ...]]]:
    """Operators that take weights, with the shape of those, in the order of the file."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return [
        (node.op_type, shapes[node.input[1]])
        for node in model.graph.node
        if node.op_type in _WEIGHED and len(node.input) > 1 and node.input[1] in shapes
    ]


def _raised(model: onnx.ModelProto, opset: int) -> onnx.ModelProto | None:
    """The model in a newer opset, where onnx can do it."""
    try:
        raised = version_converter.convert_version(model, opset)
    except Exception:  # the converter raises RuntimeError and its own for what it does not know
        return None
    assert isinstance(raised, onnx.ModelProto), "as it was given"
    return raised


def _in_floats(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """A copy that computes in floats what `model` computes in int8; None where it does not."""
    if not any(node.op_type in (*_SCALED, *_ON_INT8) for node in model.graph.node):
        return None
    plain, kept = _copied(model), []
    stands_for: dict[str, str] = {}  # what Q or DQ made -> what it was made of
    for node in plain.graph.node:
        node.input[:] = [stands_for.get(name, name) for name in node.input]
        if node.op_type in _SCALED:
            stands_for[node.output[0]] = node.input[0]
            continue
        if node.op_type in _ON_INT8:
            kind, inputs = _ON_INT8[node.op_type]
            node.input[:] = [node.input[i] for i in inputs if i < len(node.input)]
            node.op_type, node.domain = kind, ""
        kept.append(node)
    weights = {name for node in kept if node.op_type in _WEIGHED for name in node.input[1:]}
    for tensor in plain.graph.initializer:
        if tensor.name in weights and tensor.data_type != onnx.TensorProto.FLOAT:
            like = numpy_helper.from_array(np.zeros(tuple(tensor.dims), np.float32), tensor.name)
            tensor.CopyFrom(like)
    _keep(plain, kept)
    for value in plain.graph.output:
        _rename(plain, stands_for.get(value.name, value.name), value.name)
    return plain


def _without_constant_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose Constant nodes are initialisers: exporters and converters write either."""
    plain, kept = _copied(model), []
    for node in plain.graph.node:
        value = next((one for one in node.attribute if one.name == "value"), None)
        if node.op_type != "Constant" or value is None:
            kept.append(node)
            continue
        tensor = onnx.TensorProto.FromString(value.t.SerializeToString())
        tensor.name = node.output[0]
        plain.graph.initializer.append(tensor)
    _keep(plain, kept)
    return plain


def _unclamped(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without the operators that a quantiser may leave out."""
    plain, kept = _copied(model), []
    stands_for: dict[str, str] = {}
    for node in plain.graph.node:
        node.input[:] = [stands_for.get(name, name) for name in node.input]
        if node.op_type in _CLAMPS:
            stands_for[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    _keep(plain, kept)
    for value in plain.graph.output:
        _rename(plain, stands_for.get(value.name, value.name), value.name)
    return plain


def _copied(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _keep(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    """These nodes alone, and the initialisers that they read."""
    graph = model.graph
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    used = {name for node in copies for name in node.input}
    unused = [index for index, tensor in enumerate(graph.initializer) if tensor.name not in used]
    for index in reversed(unused):
        del graph.initializer[index]


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
