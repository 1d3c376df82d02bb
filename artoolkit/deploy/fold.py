"""Batch normalisation folded into the convolution before it, by one rule that every check knows.

`weight * s` keeps the convolution's weight name; the bias `(b - mean) * s + beta`, with
s = gamma / sqrt(var + eps), takes the name of beta. Computed in float64 from the checkpoint's own
float32 numbers and rounded once. The fold depends on the graph only, never on values: the
exporter would leave out a bias that happens to be zero, and two checkpoints would differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]


def fold_batch_norm(model: onnx.ModelProto, state: Mapping[str, Array]) -> None:
    """Fold, in place, every BatchNormalization whose input is a Conv that nothing else reads.

    `state` holds the float32 parameters by initialiser name; what it lacks is read from the
    model. Others stay as they are.
    """
    graph = model.graph
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer} | dict(state)
    types = {i.name: i.data_type for i in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(output.name for output in graph.output)
    makers = {name: node for node in graph.node for name in node.output}
    changed: dict[str, Array] = {}
    for norm in [n for n in graph.node if n.op_type == "BatchNormalization"]:
        conv = makers.get(norm.input[0])
        if conv is None or conv.op_type != "Conv" or readers[norm.input[0]] != 1:
            continue
        weight, bias = _folded(conv, norm, values)
        changed[conv.input[1]], changed[norm.input[2]] = weight, bias
        del conv.input[2:]
        conv.input.append(norm.input[2])
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)
    for initializer in graph.initializer:
        if initializer.name in changed:
            dtype = helper.tensor_dtype_to_np_dtype(types[initializer.name])
            value = np.ascontiguousarray(changed[initializer.name].astype(dtype))
            initializer.CopyFrom(numpy_helper.from_array(value, initializer.name))


def _folded(
    conv: onnx.NodeProto, norm: onnx.NodeProto, values: Mapping[str, Array]
) -> tuple[Array, Array]:
    gamma, beta, mean, variance = (values[name].astype(np.float64) for name in norm.input[1:5])
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
    weight = values[conv.input[1]].astype(np.float64)
    bias = values[conv.input[2]].astype(np.float64) if len(conv.input) > 2 else 0.0
    scale = gamma / np.sqrt(variance + epsilon)
    by_output = (-1, *(1 for _ in weight.shape[1:]))
    return weight * scale.reshape(by_output), (bias - mean) * scale + beta
