"""int8 written into the graph: QuantizeLinear and DequantizeLinear around what may compute in it.

ONNX Runtime fuses this one form into integer convolutions, TensorRT too. Which tensors are
quantised depends on the graph, on `float_layers` and on the kind of activations alone; activation
ranges come from a calibration; only weights, biases and the scales of both depend on the
checkpoint.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from artoolkit.deploy.graph import SCORES
from artoolkit.errors import ExportError

Array = NDArray[Any]
Activation = Literal["uint8", "int8"]
Range = tuple[float, float]

# These pass values on, or a convex mean of them: their result takes the range of their input.
_SAME_RANGE = {"MaxPool", "Resize"}
_RECTIFIERS = {"Relu", "Clip"}


def integer_convolutions(
    model: onnx.ModelProto, float_layers: Collection[str] = ()
) -> tuple[str, ...]:
    """Names of the convolutions that compute in int8.

    All but `float_layers` and those between which and the `scores` no other convolution stands:
    255 levels are too few to tell two close classes apart, and a classifier costs next to nothing.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    classifiers = {node.name for node in _last_convolutions(makers)}
    return tuple(
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and node.name not in classifiers | set(float_layers)
    )


def integer_tensors(
    model: onnx.ModelProto, convolutions: Collection[str], activation: Activation
) -> dict[str, str]:
    """Every tensor that is quantised -> the tensor whose range it takes, in the graph's order.

    These are what the `convolutions` read and what they give, after the ReLU where one follows.
    On a CPU (`uint8`) also the sum of two of them, so that ONNX Runtime adds bytes where it would
    go to float and another layout for one operator; TensorRT fuses a sum in float.
    """
    readers = _readers(model.graph)
    found: set[str] = set()
    for node in model.graph.node:
        if node.name in convolutions:
            found |= {node.input[0], _result(node, readers)}
        elif activation == "uint8" and node.op_type == "Add" and found.issuperset(node.input):
            found.add(_result(node, readers))
    range_of = {name: name for name in (i.name for i in model.graph.input) if name in found}
    for node in model.graph.node:
        for name in set(node.output) & found:
            passed_on = node.op_type in _SAME_RANGE and node.input[0] in range_of
            range_of[name] = range_of[node.input[0]] if passed_on else name
    return range_of


def insert_qdq(
    model: onnx.ModelProto,
    trained: Collection[str],
    ranges: Mapping[str, Range],
    *,
    convolutions: Collection[str],
    activation: Activation,
) -> tuple[str, ...]:
    """Quantise `model` in place; returns its trained initialisers, sorted.

    A weight `w` becomes `w.int8` with one scale a channel in `w.scale`. With uint8 activations
    (CPU) a bias `b` becomes `b.int32` and `b.scale`; TensorRT, which wants symmetric int8
    activations, takes it in float. `ranges`: of every tensor that others take their range from.
    """
    graph = model.graph
    _refuse_shared_weights(graph, convolutions)
    range_of = integer_tensors(model, convolutions, activation)
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    names = set(trained)
    nodes: list[onnx.NodeProto] = []
    for name in [i.name for i in graph.input if i.name in range_of]:
        nodes.extend(_activation(graph, name, ranges[range_of[name]], activation))
    for node in graph.node:
        if node.name in convolutions:
            scale = _parameters(ranges[range_of[node.input[0]]], activation)[0]
            nodes.extend(_weights(graph, node, values, scale if activation == "uint8" else None))
            names.update(f"{node.input[1]}{end}" for end in (".int8", ".scale"))
            names.update(f"{name}{end}" for name in node.input[2:] for end in (".int32", ".scale"))
            _read(node, {name: f"{name}.dq" for name in _quantised_inputs(node, activation)})
        _read(node, {name: f"{name}.dq" for name in range_of})
        nodes.append(node)
        for name in [output for output in node.output if output in range_of]:
            nodes.extend(_activation(graph, name, ranges[range_of[name]], activation))
    _set_nodes(graph, nodes)
    return tuple(sorted(names & {i.name for i in graph.initializer}))


def _refuse_shared_weights(graph: onnx.GraphProto, convolutions: Collection[str]) -> None:
    uses = Counter(n for node in graph.node if node.name in convolutions for n in node.input[1:])
    if shared := sorted(name for name, count in uses.items() if count > 1):
        raise ExportError(
            "a weight that several convolutions share has no one int8 form",
            got=", ".join(shared),
            hint="Keep them in float.",
        )


def _last_convolutions(makers: Mapping[str, onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    pending, seen = [SCORES], set()
    while pending:
        node = makers.get(pending.pop())
        if node is None or node.output[0] in seen:
            continue
        seen.add(node.output[0])
        if node.op_type == "Conv":
            yield node
        else:
            pending.extend(node.input)


def _readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    return readers


def _result(node: onnx.NodeProto, readers: Mapping[str, list[onnx.NodeProto]]) -> str:
    """Output of `node`: quantisation to a range from zero on does what a ReLU does, for free."""
    following = readers.get(node.output[0], [])
    rectified = len(following) == 1 and following[0].op_type in _RECTIFIERS
    return str(following[0].output[0] if rectified else node.output[0])


def _parameters(span: Range, activation: Activation) -> tuple[np.float32, Array]:
    """Scale and zero point; zero itself is always exact, as padding needs it."""
    low, high = min(span[0], 0.0), max(span[1], 0.0)
    if activation == "int8":
        return np.float32(max(-low, high) / 127 or 1.0), np.array(0, np.int8)
    scale = np.float32((high - low) / 255 or 1.0)
    return scale, np.array(round(-low / float(scale)), np.uint8)


def _activation(
    graph: onnx.GraphProto, name: str, span: Range, activation: Activation
) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    scale, zero = _parameters(span, activation)
    parameters = _add(graph, f"{name}.scale", np.asarray(scale)), _add(graph, f"{name}.zero", zero)
    return (
        helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}.q"], f"{name}.q"),
        helper.make_node(
            "DequantizeLinear", [f"{name}.q", *parameters], [f"{name}.dq"], f"{name}.dq"
        ),
    )


def _weights(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    values: Mapping[str, Array],
    input_scale: np.float32 | None,
) -> Iterator[onnx.NodeProto]:
    name = node.input[1]
    weight = values[name]
    largest = np.abs(weight).reshape(len(weight), -1).max(1)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    levels = np.rint(weight / scale.reshape(-1, *(1 for _ in weight.shape[1:])))
    integers = np.clip(levels, -127, 127).astype(np.int8)
    yield _dequantised(graph, name, integers, scale)
    if input_scale is not None and len(node.input) > 2:
        bias_scale = scale * input_scale
        bias = np.rint(values[node.input[2]].astype(np.float64) / bias_scale)
        limit = np.iinfo(np.int32).max
        integers = np.clip(bias, -limit, limit).astype(np.int32)
        yield _dequantised(graph, node.input[2], integers, bias_scale)


def _dequantised(
    graph: onnx.GraphProto, name: str, integers: Array, scale: Array
) -> onnx.NodeProto:
    inputs = [
        _add(graph, f"{name}.{integers.dtype}", integers),
        _add(graph, f"{name}.scale", scale),
        _add(graph, f"{name}.zero", np.zeros(len(scale), integers.dtype)),
    ]
    graph.initializer.remove(next(i for i in graph.initializer if i.name == name))
    return helper.make_node("DequantizeLinear", inputs, [f"{name}.dq"], f"{name}.dq", axis=0)


def _quantised_inputs(node: onnx.NodeProto, activation: Activation) -> list[str]:
    return list(node.input[1:] if activation == "uint8" else node.input[1:2])


def _read(node: onnx.NodeProto, renamed: Mapping[str, str]) -> None:
    for index, name in enumerate(node.input):
        node.input[index] = renamed.get(name, name)


def _add(graph: onnx.GraphProto, name: str, value: Array) -> str:
    graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _set_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
