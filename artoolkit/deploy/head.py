"""The head as ONNX Runtime's CPU kernels compute it fastest; TensorRT keeps the plain one.

Measured on `icnet` at 1024 x 2048 x 19 classes, in processor time over everything before the head:
Resize and ArgMax channels-first 0.33, both channels-last 0.17, the form below 0.08. Bilinear
resizing is `rows @ scores @ columns` with two sparse constant matrices. Cut into tiles, each tile
reads a few neighbouring positions only, and small dense products are what a CPU does best. The
labels are those of Resize and ArgMax wherever two scores do not tie within float rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from artoolkit.deploy.graph import SCORES
from artoolkit.networks.pooling import resize_matrix

# Output positions a tile: the fastest of 64, 128, 256 columns and 8, 16, 32 rows.
_COLUMNS, _ROWS = 128, 16


@dataclass(frozen=True)
class Tiles:
    """Bilinear resizing along one axis, cut into equal tiles.

    Tile t of the output is `weights[t] @ input[positions[t]]`: `positions` int64 tiles x reach,
    `weights` float32 tiles x size x reach.
    """

    positions: NDArray[np.int64]
    weights: NDArray[np.float32]


def tiled_resize(outputs: int, inputs: int, near: int, *, align_corners: bool) -> Tiles | None:
    """From `inputs` to `outputs` positions in tiles of about `near`, or None if none divides.

    A tile's size lies between half and twice `near`; a shorter axis is one tile.
    """
    sizes = [s for s in range(min(near // 2, outputs), 2 * near + 1) if outputs % s == 0]
    if not sizes:
        return None
    size = min(sizes, key=lambda s: (abs(s - near), s))
    matrix = resize_matrix(outputs, inputs, align_corners).reshape(-1, size, inputs)
    used = np.abs(matrix).max(1) > 0
    first, last = used.argmax(1), inputs - 1 - used[:, ::-1].argmax(1)
    reach = int((last - first).max()) + 1
    start = np.minimum(first, inputs - reach)
    positions = start[:, None] + np.arange(reach)
    weights = np.take_along_axis(matrix, positions[:, None, :], 2)
    return Tiles(positions.astype(np.int64), weights.astype(np.float32))


def cpu_head(model: onnx.ModelProto) -> bool:
    """Turn scores -> Resize -> ArgMax into tiled products and ArgMax channels-last, in place.

    Where no tile divides the label's size, or the scores are not float32, both operators stay and
    are only turned channels-last. False, and nothing changed, where there is no such head.
    """
    graph = model.graph
    resize = _only_reader(graph, SCORES, "Resize")
    argmax = _only_reader(graph, resize.output[0], "ArgMax") if resize else None
    if resize is None or argmax is None:
        return False
    sizes = next(i for i in graph.initializer if i.name == resize.input[3])
    n, channels, height, width = map(int, numpy_helper.to_array(sizes))
    nodes = [_node("Transpose", [SCORES], "head.channels_last", perm=[0, 2, 3, 1])]
    tiles = _tiles(graph, resize, (height, width))
    if tiles is None:
        sizes.CopyFrom(_constant(sizes.name, [n, height, width, channels]))
        resize.input[0] = nodes[0].output[0]
        position = list(graph.node).index(resize)
    else:
        position = list(graph.node).index(resize)
        graph.node.remove(resize)
        nodes += _products(graph, *tiles, shape=(n, height, width, channels))
        argmax.input[0] = nodes[-1].output[0]
    for offset, node in enumerate(nodes):
        graph.node.insert(position + offset, node)
    next(a for a in argmax.attribute if a.name == "axis").i = 3
    return True


def _tiles(
    graph: onnx.GraphProto, resize: onnx.NodeProto, labels_hw: tuple[int, int]
) -> tuple[Tiles, Tiles] | None:
    scores = next(v for v in (*graph.value_info, *graph.output) if v.name == SCORES)
    kind = scores.type.tensor_type
    attributes = {a.name: a.s for a in resize.attribute}
    if kind.elem_type != onnx.TensorProto.FLOAT:
        return None
    align_corners = attributes["coordinate_transformation_mode"] == b"align_corners"
    height, width = (d.dim_value for d in kind.shape.dim[2:])
    rows = tiled_resize(labels_hw[0], height, _ROWS, align_corners=align_corners)
    columns = tiled_resize(labels_hw[1], width, _COLUMNS, align_corners=align_corners)
    return (rows, columns) if rows and columns else None


def _products(
    graph: onnx.GraphProto, rows: Tiles, columns: Tiles, *, shape: tuple[int, int, int, int]
) -> list[onnx.NodeProto]:
    """N x h x w x C -> N x H x W x C, the columns first: there are fewer rows to do it for."""
    n, height, width, channels = shape
    constants = {
        "head.columns.positions": columns.positions,
        "head.columns.weights": columns.weights,
        "head.columns.shape": [n, -1, width * channels],
        "head.rows.positions": rows.positions,
        "head.rows.weights": rows.weights,
        "head.rows.shape": [n, height, width, channels],
    }
    graph.initializer.extend(_constant(name, value) for name, value in constants.items())
    nodes, last = [], "head.channels_last"
    for part, axis in (("head.columns", 2), ("head.rows", 1)):
        nodes += [
            _node("Gather", [last, f"{part}.positions"], f"{part}.tiles", axis=axis),
            _node("MatMul", [f"{part}.weights", f"{part}.tiles"], f"{part}.resized"),
            _node("Reshape", [f"{part}.resized", f"{part}.shape"], part),
        ]
        last = part
    return nodes


def _node(operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [name], name, **attributes)


def _constant(name: str, value: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


def _only_reader(graph: onnx.GraphProto, name: str, operator: str) -> onnx.NodeProto | None:
    readers = [node for node in graph.node if name in node.input]
    return readers[0] if len(readers) == 1 and readers[0].op_type == operator else None
