"""Removal of what the exporter leaves behind: constants computed at run time, no-ops, dead nodes.

Decided by shapes and operators alone, never by the value of a trained parameter, so that two
checkpoints of one network always take the same path. The exporter's own optimiser does not keep
that rule (it drops a bias that is zero and merges initialisers that are equal), so it is not used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Array = NDArray[Any]


def fold_constants(model: onnx.ModelProto, trained: Collection[str]) -> None:
    """Compute, in place, every node that depends on constants and static shapes only.

    Initialisers in `trained` are no constants, apart from their shapes.
    """
    graph = model.graph
    shapes, types = dict(_static_shapes(graph)), _types(graph)
    known = {i.name: numpy_helper.to_array(i) for i in graph.initializer if i.name not in trained}
    kept = []
    for node in graph.node:
        if node.op_type == "Shape" and node.input[0] in shapes:
            values = [_shape_of(node, shapes[node.input[0]])]
        elif node.op_type == "CastLike" and node.input[0] in known and node.input[1] in types:
            dtype = helper.tensor_dtype_to_np_dtype(types[node.input[1]])
            values = [known[node.input[0]].astype(dtype)]
        elif all(name in known for name in node.input if name) and not _has_graph(node):
            values = _evaluate(node, known, model)
        else:
            kept.append(node)
            continue
        known.update(zip(node.output, values, strict=True))
    _replace(graph.node, kept)
    used = {name for node in kept for name in node.input} | {o.name for o in graph.output}
    present = {i.name for i in graph.initializer}
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value), name)
        for name, value in known.items()
        if name in used and name not in present
    )


def remove_no_ops(model: onnx.ModelProto) -> None:
    """Take out, in place, every Identity and every Cast to the type that a value has already."""
    graph = model.graph
    types = _types(graph)
    outputs = {o.name for o in graph.output}
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        same = node.op_type == "Identity" or (
            node.op_type == "Cast"
            and types.get(node.input[0]) == helper.get_node_attr_value(node, "to")
        )
        if same and node.output[0] not in outputs:
            renamed[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    _replace(graph.node, kept)


def remove_unused(model: onnx.ModelProto) -> None:
    """Drop, in place, nodes and initialisers that no output depends on."""
    graph = model.graph
    needed = {o.name for o in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    _replace(graph.node, kept[::-1])
    _replace(graph.initializer, [i for i in graph.initializer if i.name in needed])
    _replace(graph.value_info, [])


def _static_shapes(graph: onnx.GraphProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    for initializer in graph.initializer:
        yield initializer.name, tuple(initializer.dims)
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            yield value.name, tuple(d.dim_value for d in dims)


def _types(graph: onnx.GraphProto) -> dict[str, int]:
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input)}
    return types | {i.name: i.data_type for i in graph.initializer}


def _shape_of(node: onnx.NodeProto, shape: tuple[int, ...]) -> Array:
    bounds = {a.name: a.i for a in node.attribute}
    return np.asarray(shape[bounds.get("start", 0) : bounds.get("end")], np.int64)


def _has_graph(node: onnx.NodeProto) -> bool:
    return any(a.type in (a.GRAPH, a.GRAPHS) for a in node.attribute)


def _evaluate(node: onnx.NodeProto, known: dict[str, Array], model: onnx.ModelProto) -> list[Array]:
    names = [name for name in node.input if name]
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(known[name].dtype), known[name].shape
        )
        for name in names
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    single = helper.make_model(
        helper.make_graph([node], "constant", inputs, outputs), opset_imports=model.opset_import
    )
    values = ReferenceEvaluator(single).run(None, {name: known[name] for name in names})
    return [np.asarray(value) for value in values]


def _replace(field: Any, items: list[Any]) -> None:
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]
    field.extend(copies)
