"""A CPU's deployed graph in the form that TensorRT is given: the same labels, in other operators.

A CPU transposes bytes faster than floats, so that its graph starts with Transpose, then Cast;
TensorRT transposes no bytes. A CPU computes the head as tiled matrix products, or channels-last
(`artoolkit.deploy.head`); TensorRT is given the Resize and ArgMax that these stand for. Which
Resize they stand for is read from their own constants, so that no other head is taken for one.
A pooling of one position is left out, for it passes values on, and pooled maps that were projected
before they are resized are added before the projection again (`artoolkit.deploy.blocked`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from artoolkit.optional import require

if TYPE_CHECKING:
    import onnx

_PURPOSE = "comparing compiled programs"
CAST_FIRST = "pixels cast before they are transposed"
PLAIN_HEAD = "Resize and ArgMax in place of the CPU's head"
NO_POOLING = "pooling of one position left out"
SUM_FIRST = "pooled maps added before they are projected"
_TILED = ["Reshape", "MatMul", "Gather"] * 2
# Of a position in source pixels; the tiles' weights are float32.
_POSITION_TOLERANCE = 1e-2


@dataclass(frozen=True)
class EngineForm:
    """The ONNX file that TensorRT is given, and in words how it differs from the bundle's."""

    path: Path
    changes: tuple[str, ...] = ()


def engine_form(model: Path, folder: Path) -> EngineForm:
    """`model` itself, or a copy in `folder` where it holds what only a CPU is given."""
    onnx = require("onnx", _PURPOSE)
    loaded = onnx.load(str(model))
    changes = []
    if _cast_first(loaded.graph):
        changes.append(CAST_FIRST)
    if with_plain_head(loaded.graph):
        changes.append(PLAIN_HEAD)
    if _without_pooling(loaded.graph):
        changes.append(NO_POOLING)
    if _sum_first(loaded.graph):
        changes.append(SUM_FIRST)
    if not changes:
        return EngineForm(model)
    changed = folder / model.name
    onnx.save(loaded, str(changed))
    return EngineForm(changed, tuple(changes))


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
    nodes.insert(_place(nodes, transpose), cast)
    _set_nodes(graph, nodes, stale={between})


def with_plain_head(graph: onnx.GraphProto) -> bool:
    """Turn Transpose -> resize -> ArgMax channels-last into Resize and ArgMax channels-first.

    In place; whether there was such a head.
    """
    makers = {name: node for node in graph.node for name in node.output}
    for argmax in graph.node:
        if argmax.op_type != "ArgMax" or _attribute(argmax, "axis").i != 3:
            continue
        steps, transpose = _way_back(makers, argmax)
        if transpose is None or list(_attribute(transpose, "perm").ints) != [0, 2, 3, 1]:
            continue
        resize = _plain_resize(graph, steps, transpose.input[0])
        if resize is None:
            continue
        place = _place(list(graph.node), transpose)
        gone = (transpose, *steps)
        nodes = [node for node in graph.node if not any(node is one for one in gone)]
        nodes.insert(place, resize)
        argmax.input[0] = resize.output[0]
        _attribute(argmax, "axis").i = 1
        _set_nodes(graph, nodes, stale={name for node in gone for name in node.output})
        return True
    return False


def _without_pooling(graph: onnx.GraphProto) -> bool:
    """Take out each MaxPool of one position; whether there was one."""
    makers = {name: node for node in graph.node for name in node.output}
    pools = [
        node
        for node in graph.node
        if node.op_type == "MaxPool"
        and {a.name: list(a.ints) for a in node.attribute} == {"kernel_shape": [1, 1]}
    ]
    for pool in pools:
        maker = makers[pool.input[0]]
        maker.output[list(maker.output).index(pool.input[0])] = pool.output[0]
    if pools:
        stale = {node.input[0] for node in pools}
        kept = [node for node in graph.node if not any(node is one for one in pools)]
        _set_nodes(graph, kept, stale=stale)
    return bool(pools)


def _sum_first(graph: onnx.GraphProto) -> bool:
    """Turn conv(x) + R @ (conv(p) @ C), one 1 x 1 conv, into conv(x + R @ (p @ C)) again."""
    changed = False
    while found := _projected_pyramid(graph):
        _add_first(graph, *found)
        changed = True
    return changed


def _projected_pyramid(graph: onnx.GraphProto) -> tuple[onnx.NodeProto, ...] | None:
    """conv(x), conv(p), both products and the sum; None where the graph has none of this form."""
    makers = {name: node for node in graph.node for name in node.output}
    for total in graph.node:
        if total.op_type != "Add":
            continue
        own, last = (makers.get(name) for name in total.input)
        first = _product_of(makers, last, 1)
        pooled = _product_of(makers, first, 0)
        if own is None or last is None or first is None or pooled is None:
            continue
        if own.op_type == pooled.op_type == "Conv" and own.input[1] == pooled.input[1]:
            return own, pooled, first, last, total
    return None


def _product_of(
    makers: dict[str, onnx.NodeProto], node: onnx.NodeProto | None, side: int
) -> onnx.NodeProto | None:
    return makers.get(node.input[side]) if node is not None and node.op_type == "MatMul" else None


def _add_first(
    graph: onnx.GraphProto,
    own: onnx.NodeProto,
    pooled: onnx.NodeProto,
    first: onnx.NodeProto,
    last: onnx.NodeProto,
    total: onnx.NodeProto,
) -> None:
    """The products read the pooled maps, the sum reads what `own` read, and `own` the sum."""
    summed, out = own.output[0], total.output[0]
    first.input[0] = pooled.input[0]
    total.input[0], total.output[0] = own.input[0], summed
    own.input[0], own.output[0] = summed, out
    nodes = [node for node in graph.node if node is not own and node is not pooled]
    nodes.insert(_place(nodes, total) + 1, own)
    _set_nodes(graph, nodes, stale={summed, *pooled.output, *first.output, *last.output})


def _way_back(
    makers: dict[str, onnx.NodeProto], argmax: onnx.NodeProto
) -> tuple[list[onnx.NodeProto], onnx.NodeProto | None]:
    """The nodes from the ArgMax back to a Transpose, the last one first, and the Transpose."""
    steps: list[onnx.NodeProto] = []
    node = makers.get(argmax.input[0])
    while node is not None and node.op_type in {*_TILED, "Resize"}:
        steps.append(node)
        node = makers.get(node.input[1 if node.op_type == "MatMul" else 0])
    return steps, node if node is not None and node.op_type == "Transpose" else None


def _plain_resize(
    graph: onnx.GraphProto, steps: Sequence[onnx.NodeProto], scores: str
) -> onnx.NodeProto | None:
    """The Resize that `steps` stand for, its sizes added to the graph; None where they are none."""
    operators = [node.op_type for node in steps]
    if operators == ["Resize"]:
        n, height, width, channels = _constant(graph, steps[0].input[3])
        mode = _attribute(steps[0], "coordinate_transformation_mode").s.decode()
    elif operators == _TILED:
        n, height, width, channels = _constant(graph, steps[0].input[1])
        rows, columns = (_centres(graph, *steps[i + 1 : i + 3]) for i in (0, 3))
        modes = {
            _mode(centres, inputs)
            for centres, inputs in zip((rows, columns), _size_hw(graph, scores), strict=True)
        }
        if len(modes) != 1 or (mode := modes.pop() or "") == "":
            return None
    else:
        return None
    numpy_helper = require("onnx.numpy_helper", _PURPOSE)
    sizes = np.array([n, channels, height, width], np.int64)
    graph.initializer.append(numpy_helper.from_array(sizes, "head.sizes"))
    made: onnx.NodeProto = require("onnx.helper", _PURPOSE).make_node(
        "Resize", [scores, "", "", "head.sizes"], ["head.resized"], "head.resize",
        mode="linear", coordinate_transformation_mode=mode,
    )  # fmt: skip
    return made


def _centres(
    graph: onnx.GraphProto, product: onnx.NodeProto, gather: onnx.NodeProto
) -> NDArray[np.float64]:
    """Where each output position of tiled products takes its value, in source positions."""
    weights = _constant(graph, product.input[0]).astype(np.float64)
    positions = _constant(graph, gather.input[1])
    return np.asarray((weights * positions[:, None, :]).sum(2).ravel())


def _mode(centres: NDArray[np.float64], inputs: int) -> str | None:
    """ONNX's name of the bilinear resize from `inputs` positions to those of `centres`, if any."""
    outputs = len(centres)
    steps = np.arange(outputs)
    known = {
        "align_corners": steps * (inputs - 1) / max(outputs - 1, 1),
        "pytorch_half_pixel": np.clip((steps + 0.5) * inputs / outputs - 0.5, 0, inputs - 1),
    }
    return next(
        (m for m, c in known.items() if np.abs(c - centres).max() < _POSITION_TOLERANCE), None
    )


def _size_hw(graph: onnx.GraphProto, name: str) -> tuple[int, int]:
    value = next(v for v in (*graph.value_info, *graph.output) if v.name == name)
    height, width = (dim.dim_value for dim in value.type.tensor_type.shape.dim[2:])
    return height, width


def _constant(graph: onnx.GraphProto, name: str) -> NDArray[Any]:
    numpy_helper = require("onnx.numpy_helper", _PURPOSE)
    array: NDArray[Any] = numpy_helper.to_array(
        next(i for i in graph.initializer if i.name == name)
    )
    return array


def _attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto:
    found: onnx.AttributeProto = next(a for a in node.attribute if a.name == name)
    return found


def _place(nodes: Sequence[onnx.NodeProto], wanted: onnx.NodeProto) -> int:
    return next(i for i, node in enumerate(nodes) if node is wanted)


def _set_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto], *, stale: set[str]) -> None:
    """Give the graph these nodes; forget the shapes of `stale` and constants that nobody reads."""
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    for value in [v for v in graph.value_info if v.name in stale]:
        graph.value_info.remove(value)
    read = {name for node in copies for name in node.input}
    for tensor in [i for i in graph.initializer if i.name not in read]:
        graph.initializer.remove(tensor)
