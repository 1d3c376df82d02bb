"""Constant folding, by rules that every check knows.

Batch normalisation goes into the convolution before it: `weight * s` keeps the convolution's weight
name; the bias `(b - mean) * s + beta`, with s = gamma / sqrt(var + eps), takes the name of beta. It
goes into the convolution after it where that is exact: where nothing is padded and nothing else
reads it. Computed in float64 from the checkpoint's own float32 numbers and rounded once. A linear
layer's matrix is stored as the product reads it, and zeros that a convolution reads are its own
padding. The rules depend on the graph only, never on
values: the exporter would leave out a bias that happens to be zero, and two checkpoints would
differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]


def fold_batch_norm(model: onnx.ModelProto, state: Mapping[str, Array]) -> None:
    """Fold, in place, every BatchNormalization that a Conv beside it can take up.

    `state` holds the float32 parameters by initialiser name; what it lacks is read from the
    model. Others stay as they are.
    """
    graph = model.graph
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer} | dict(state)
    outputs = {output.name for output in graph.output}
    changed: set[str] = set()
    for norm in [n for n in graph.node if n.op_type == "BatchNormalization"]:
        makers = {name: node for node in graph.node for name in node.output}
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        before = makers.get(norm.input[0])
        (after, *others) = readers.get(norm.output[0], [None])
        # A parameter of two nodes (one module called twice), or a computed one, is not theirs.
        own = {name for name in values if len(readers.get(name, ())) == 1}
        if before is not None and before.op_type == "Conv" and len(readers[norm.input[0]]) == 1:
            mine = own.issuperset((*before.input[1:], *norm.input[1:5]))
            if norm.input[0] in outputs or not mine:
                continue
            conv, weight, bias = before, *_scaled_outputs(before, norm, values)
            conv.output[0] = norm.output[0]
        elif _takes_up(after, norm, state) and not others and norm.output[0] not in outputs:
            assert after is not None, "there is a convolution that takes it up"
            if not own.issuperset((*after.input[1:], *norm.input[1:5])):
                continue
            conv, weight, bias = after, *_scaled_inputs(after, norm, values)
            conv.input[0] = norm.input[0]
        else:
            continue
        del conv.input[2:]
        conv.input.append(norm.input[2])
        values[conv.input[1]], values[norm.input[2]] = weight, bias
        changed |= {conv.input[1], norm.input[2]}
        graph.node.remove(norm)
    for initializer in graph.initializer:
        if initializer.name in changed:
            dtype = helper.tensor_dtype_to_np_dtype(initializer.data_type)
            value = np.ascontiguousarray(values[initializer.name].astype(dtype))
            initializer.CopyFrom(numpy_helper.from_array(value, initializer.name))


def _takes_up(
    conv: onnx.NodeProto | None, norm: onnx.NodeProto, state: Mapping[str, Array]
) -> bool:
    """True if `conv` can take up the trained `norm` before it: padding would not be normalised."""
    if conv is None or conv.op_type != "Conv" or norm.input[1] not in state:
        return False
    attributes = {a.name: list(a.ints) or [a.i] for a in conv.attribute if a.name != "auto_pad"}
    return not any(attributes.get("pads", [0])) and attributes.get("group", [1]) == [1]


def _affine(norm: onnx.NodeProto, values: Mapping[str, Array]) -> tuple[Array, Array]:
    """The norm as a scale and a shift."""
    gamma, beta, mean, variance = (values[name].astype(np.float64) for name in norm.input[1:5])
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
    scale = gamma / np.sqrt(variance + epsilon)
    return scale, beta - mean * scale


def _parameters(conv: onnx.NodeProto, values: Mapping[str, Array]) -> tuple[Array, Array | float]:
    bias = values[conv.input[2]].astype(np.float64) if len(conv.input) > 2 else 0.0
    return values[conv.input[1]].astype(np.float64), bias


def _scaled_outputs(
    conv: onnx.NodeProto, norm: onnx.NodeProto, values: Mapping[str, Array]
) -> tuple[Array, Array]:
    (weight, bias), (scale, shift) = _parameters(conv, values), _affine(norm, values)
    return weight * scale.reshape(-1, *(1 for _ in weight.shape[1:])), bias * scale + shift


def _scaled_inputs(
    conv: onnx.NodeProto, norm: onnx.NodeProto, values: Mapping[str, Array]
) -> tuple[Array, Array]:
    (weight, bias), (scale, shift) = _parameters(conv, values), _affine(norm, values)
    by_input = (1, -1, *(1 for _ in weight.shape[2:]))
    positions = tuple(range(1, weight.ndim))
    return weight * scale.reshape(by_input), bias + (weight * shift.reshape(by_input)).sum(
        positions
    )


def store_transposed(model: onnx.ModelProto, trained: Collection[str]) -> None:
    """Store, in place, every `trained` matrix transposed that nothing but a Transpose reads."""
    graph = model.graph
    readers = Counter(name for node in graph.node for name in node.input)
    matrices = {i.name: i for i in graph.initializer if i.name in trained}
    renamed: dict[str, str] = {}
    for node in [n for n in graph.node if n.op_type == "Transpose"]:
        matrix = matrices.get(node.input[0])
        if matrix is None or readers[matrix.name] != 1:
            continue
        order = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
        value = np.ascontiguousarray(numpy_helper.to_array(matrix).transpose(order))
        matrix.CopyFrom(numpy_helper.from_array(value, matrix.name))
        renamed[node.output[0]] = matrix.name
        graph.node.remove(node)
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)


def fold_padding(model: onnx.ModelProto) -> None:
    """Make, in place, zeros that a Pad puts around a map the padding of the one Conv it is for."""
    graph = model.graph
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    makers = {name: node for node in graph.node for name in node.output}
    for conv in [n for n in graph.node if n.op_type == "Conv"]:
        pad = makers.get(conv.input[0])
        if pad is None or pad.op_type != "Pad" or readers[pad.output[0]] != 1:
            continue
        mode = next((a.s for a in pad.attribute if a.name == "mode"), b"constant")
        sides = values.get(pad.input[1])
        filled = pad.input[2] if len(pad.input) > 2 else ""
        zeros = not filled or (filled in values and not values[filled].any())
        # Batch and channels, before and behind, come first in each half.
        if mode != b"constant" or len(pad.input) > 3 or not zeros or sides is None:
            continue
        before, behind = sides.reshape(2, -1).tolist()
        if any((*before[:2], *behind[:2])) or min((*before, *behind)) < 0:
            continue
        own = next(a for a in conv.attribute if a.name == "pads")
        added = (*before[2:], *behind[2:])
        own.ints[:] = [one + other for one, other in zip(own.ints, added, strict=True)]
        conv.input[0] = pad.input[0]
        graph.node.remove(pad)
