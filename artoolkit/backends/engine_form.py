"""A CPU's deployed graph in the form that TensorRT takes: the same arithmetic, in another order.

A CPU transposes bytes faster than floats, so that its graph starts with Transpose, then Cast;
TensorRT transposes no bytes. Exchanging the two changes no value.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from artoolkit.optional import require

if TYPE_CHECKING:
    import onnx


def engine_form(model: Path, folder: Path) -> Path:
    """`model`, or where it transposes bytes first, a copy in `folder` that casts first."""
    onnx = require("onnx", "comparing compiled programs")
    graph = onnx.load(str(model))
    if not _cast_first(graph.graph):
        return model
    changed = folder / model.name
    onnx.save(graph, str(changed))
    return changed


def _cast_first(graph: onnx.GraphProto) -> bool:
    """Exchange a Transpose of the input and the Cast after it; whether there was such a pair."""
    inputs = {value.name for value in graph.input}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for transpose in graph.node:
        if transpose.op_type != "Transpose" or transpose.input[0] not in inputs:
            continue
        casts = users.get(transpose.output[0], [])
        if len(casts) == 1 and casts[0].op_type == "Cast":
            _exchange(graph, transpose, casts[0])
            return True
    return False


def _exchange(graph: onnx.GraphProto, transpose: onnx.NodeProto, cast: onnx.NodeProto) -> None:
    image, between, after = transpose.input[0], transpose.output[0], cast.output[0]
    cast.input[0], cast.output[0] = image, between
    transpose.input[0], transpose.output[0] = between, after
    nodes = [node for node in graph.node if node is not cast]
    place = next(i for i, node in enumerate(nodes) if node is transpose)
    nodes.insert(place, cast)
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    stale = [value for value in graph.value_info if value.name == between]
    for value in stale:
        graph.value_info.remove(value)
