"""The head in a form made for ONNX Runtime's CPU kernels; TensorRT keeps the plain one.

What the plain forms, channels first and channels last, cost beside it is measured by
`benchmarks/cpu_parts.py` and stands in `docs/speed.md`. Bilinear resizing
is `rows @ scores @ columns` with two sparse constant matrices. Cut into tiles, each tile reads a
few neighbouring positions only, and small dense products are what a CPU does best. The labels are
those of Resize and ArgMax wherever two scores do not tie within float rounding.
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


@dataclass(frozen=True)
class PlainHead:
    """scores -> Resize -> ArgMax in a graph: `shape` is N, C, h, w of the scores."""

    resize: onnx.NodeProto
    argmax: onnx.NodeProto
    shape: tuple[int, int, int, int]
    labels_hw: tuple[int, int]
    align_corners: bool
    is_float32: bool


def plain_head(graph: onnx.GraphProto) -> PlainHead | None:
    """The head as the exporter writes it, or None where the graph ends otherwise."""
    resize = _only_reader(graph, SCORES, "Resize")
    argmax = _only_reader(graph, resize.output[0], "ArgMax") if resize else None
    if resize is None or argmax is None:
        return None
    scores = next(v for v in (*graph.value_info, *graph.output) if v.name == SCORES)
    kind = scores.type.tensor_type
    n, channels, height, width = (d.dim_value for d in kind.shape.dim)
    sizes = next(i for i in graph.initializer if i.name == resize.input[3])
    mode = next(a.s for a in resize.attribute if a.name == "coordinate_transformation_mode")
    label_height, label_width = map(int, numpy_helper.to_array(sizes)[2:])
    return PlainHead(
        resize,
        argmax,
        shape=(n, channels, height, width),
        labels_hw=(label_height, label_width),
        align_corners=mode == b"align_corners",
        is_float32=kind.elem_type == onnx.TensorProto.FLOAT,
    )


def cpu_head(model: onnx.ModelProto, *, tiled: bool = True) -> bool:
    """Turn scores -> Resize -> ArgMax into tiled products and ArgMax channels-last, in place.

    Where no tile divides the label's size, the scores are not float32, or `tiled` is false, both
    operators stay and are only turned channels-last. False, and nothing changed, where there is no
    such head.
    """
    graph = model.graph
    plain = plain_head(graph)
    if plain is None:
        return False
    moved = [_node("Transpose", [SCORES], "head.channels_last", perm=[0, 2, 3, 1])]
    position = list(graph.node).index(plain.resize)
    tiles = _tiles(plain) if tiled else None
    if tiles is None:
        n, channels, *_ = plain.shape
        sizes = next(i for i in graph.initializer if i.name == plain.resize.input[3])
        sizes.CopyFrom(_constant(sizes.name, [n, *plain.labels_hw, channels]))
        plain.resize.input[0] = moved[0].output[0]
    else:
        graph.node.remove(plain.resize)
        moved += _products(graph, *tiles, plain=plain)
        plain.argmax.input[0] = moved[-1].output[0]
    for offset, node in enumerate(moved):
        graph.node.insert(position + offset, node)
    next(a for a in plain.argmax.attribute if a.name == "axis").i = 3
    return True


def _tiles(plain: PlainHead) -> tuple[Tiles, Tiles] | None:
    if not plain.is_float32:
        return None
    sizes = zip(plain.labels_hw, plain.shape[2:], (_ROWS, _COLUMNS), strict=True)
    rows, columns = (
        tiled_resize(pixels, positions, near, align_corners=plain.align_corners)
        for pixels, positions, near in sizes
    )
    return (rows, columns) if rows and columns else None


def _products(
    graph: onnx.GraphProto, rows: Tiles, columns: Tiles, *, plain: PlainHead
) -> list[onnx.NodeProto]:
    """N x h x w x C -> N x H x W x C, the columns first: there are fewer rows to do it for."""
    n, channels, *_ = plain.shape
    height, width = plain.labels_hw
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
