"""An exact head whose work follows the picture: only where neighbouring scores disagree.

Bilinear weights are never negative and sum to 1. So where the four corners of a cell of the
low-resolution map have the same best class, that class is best everywhere in the cell, and nothing
needs to be resized there. In the other cells the scores of every pixel are computed as the dense
head does. The labels are those of the dense head wherever two scores do not tie within float
rounding.

A cell is the square between four neighbouring score positions. Along an axis, most cells have the
same number of pixels; the few with more are listed several times, so that no other pays for them.
The pixels of a cell are the same for every picture, but the number of cells that disagree is not,
and so neither is the time: equal latency can be shown for given pictures only, which is why this
head is asked for (`head = "sparse"`) and never the default. Legend: N images, C classes, h w score
positions, H W pixels, K listed cells that disagree, R S rows and columns of pixels of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from artoolkit.deploy.graph import OUTPUT, SCORES
from artoolkit.deploy.head import plain_head
from artoolkit.errors import ExportError
from artoolkit.networks.pooling import resize_matrix

# Top to bottom: the best class at each position (N x h x w); every pixel takes that of its cell's
# first corner, right where all four agree; the other cells in the lists of both axes (3 x K: image,
# column, row); the scores of their pixels (K x RS x C) from those of their corners (K x 4 x C);
# their classes, put over.
_BODY = """
    <opset_import: ["" : 20], domain: "artoolkit"> sparse_head (scores) => (labels) {
        moved = Transpose <perm = [0, 2, 3, 1]> (scores)
        by_position = Reshape (moved, positions_shape)
        best_of_position = ArgMax <axis = 1, keepdims = 0> (by_position)
        best_index = Reshape (best_of_position, map_shape)

        best = Cast <to = 2> (best_index)
        standing = Transpose <perm = [0, 2, 1]> (best)
        wide_standing = Gather <axis = 1> (standing, columns_cell)
        wide = Transpose <perm = [0, 2, 1]> (wide_standing)
        tall = Gather <axis = 1> (wide, rows_cell)
        agreed = Reshape (tall, flat)

        compared = Cast <to = 6> (best_index)
        upper = Slice (compared, first, before_last, rows_axis)
        lower = Slice (compared, second, end, rows_axis)
        upper_left = Slice (upper, first, before_last, columns_axis)
        upper_right = Slice (upper, second, end, columns_axis)
        across = Equal (upper_left, upper_right)
        down = Equal (upper, lower)
        down_left = Slice (down, first, before_last, columns_axis)
        down_right = Slice (down, second, end, columns_axis)
        down_both = And (down_left, down_right)
        same = And (across, down_both)
        differs = Not (same)
        differs_tall = Gather <axis = 1> (differs, rows_listed)
        differs_standing = Transpose <perm = [0, 2, 1]> (differs_tall)
        differs_listed = Gather <axis = 1> (differs_standing, columns_listed)
        cells = NonZero (differs_listed)
        image, column, row = Split <axis = 0, num_outputs = 3> (cells)
        image_index = Reshape (image, cells_shape)
        map_start = Mul (image_index, image_positions)
        image_start = Mul (image_index, image_pixels)
        row_index = Reshape (row, flat)
        column_index = Reshape (column, flat)

        row_corners = Gather <axis = 0> (rows_corners, row_index)
        column_corners = Gather <axis = 0> (columns_corners, column_index)
        in_map = Add (row_corners, column_corners)
        corner_index = Add (in_map, map_start)
        corner_scores = Gather <axis = 0> (by_position, corner_index)
        row_weights = Gather <axis = 0> (rows_weights, row_index)
        column_weights = Gather <axis = 0> (columns_weights, column_index)
        weights = Mul (row_weights, column_weights)
        pixel_scores = MatMul (weights, corner_scores)
        pixel_best = ArgMax <axis = 2, keepdims = 0> (pixel_scores)
        pixel_labels = Cast <to = 2> (pixel_best)
        updates = Reshape (pixel_labels, flat)

        row_pixels = Gather <axis = 0> (rows_pixels, row_index)
        column_pixels = Gather <axis = 0> (columns_pixels, column_index)
        in_image = Add (row_pixels, column_pixels)
        in_batch = Add (in_image, image_start)
        places = Reshape (in_batch, flat)
        put = ScatterElements <axis = 0> (agreed, places, updates)
        labels = Reshape (put, labels_shape)
    }
"""


@dataclass(frozen=True)
class CellAxis:
    """The pixels of the cells along one axis.

    `cell_of` int64 pixels: the cell that a pixel lies in. `listed` int64 L: every cell, one of more
    than R pixels as often as it takes to hold them all. `pixels` int64 L x R: the pixels of each,
    the last one repeated where they are fewer than R. `weights` float32 L x R x 2: of the score
    positions at the cell's start and end.
    """

    cell_of: NDArray[np.int64]
    listed: NDArray[np.int64]
    pixels: NDArray[np.int64]
    weights: NDArray[np.float32]


def cell_axis(pixels: int, positions: int, *, align_corners: bool) -> CellAxis:
    """The cells between `positions` scores that are resized to `pixels`.

    Raises `ExportError` unless 2 <= positions <= pixels: below, there are no cells, or empty ones.
    """
    if not 2 <= positions <= pixels:
        raise ExportError(
            "the sparse head cannot resize this",
            got=f"{positions} score positions for {pixels} pixels",
            expected="at least 2 positions and as many pixels",
            hint='Use head = "argmax".',
        )
    matrix = resize_matrix(pixels, positions, align_corners)
    cell_of = np.minimum((matrix > 0).argmax(1), positions - 2)
    start = np.searchsorted(cell_of, np.arange(positions - 1))
    size = np.bincount(cell_of, minlength=positions - 1)
    at_once = 1 + int(np.bincount(size)[1:].argmax())
    parts = -(-size // at_once)
    listed = np.repeat(np.arange(positions - 1), parts)
    part = np.arange(len(listed)) - np.repeat(parts.cumsum() - parts, parts)
    steps = part[:, None] * at_once + np.arange(at_once)
    members = start[listed, None] + np.minimum(steps, size[listed, None] - 1)
    weights = matrix[members[:, :, None], listed[:, None, None] + np.arange(2)]
    return CellAxis(
        cell_of.astype(np.int64),
        listed.astype(np.int64),
        members.astype(np.int64),
        weights.astype(np.float32),
    )


def sparse_head(model: onnx.ModelProto) -> None:
    """Put this head in the place of scores -> Resize -> ArgMax -> Cast, in place.

    Raises `ExportError` where the graph has no such head in float32, or where the map of scores is
    smaller than 2 x 2 or larger than the labels.
    """
    graph = model.graph
    plain = plain_head(graph)
    if plain is None or not plain.is_float32:
        raise ExportError(
            "the sparse head cannot replace this one",
            got="no float32 scores that are resized" if plain is None else "float16 scores",
            expected="float32 scores below the size of the labels",
            hint='Use head = "argmax".',
        )
    nodes, constants = sparse_nodes(
        plain.shape, labels_hw=plain.labels_hw, align_corners=plain.align_corners
    )
    last = next(node for node in graph.node if OUTPUT in node.output)
    for node in (plain.resize, plain.argmax, last):
        graph.node.remove(node)
    graph.node.extend(nodes)
    graph.initializer.extend(constants)


def sparse_nodes(
    shape: tuple[int, int, int, int], *, labels_hw: tuple[int, int], align_corners: bool
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """From `scores`, float32 N x C x h x w (`shape`), to `labels`, uint8 N x H x W.

    Raises `ExportError` where the map is too small, or larger than the labels.
    """
    n, channels, height, width = shape
    rows = cell_axis(labels_hw[0], height, align_corners=align_corners)
    columns = cell_axis(labels_hw[1], width, align_corners=align_corners)
    # Written out for each pair: operators that broadcast over a few numbers are slow.
    down, across = rows.pixels.shape[1], columns.pixels.shape[1]
    constants = {
        "rows_cell": rows.cell_of,
        "rows_listed": rows.listed,
        "rows_corners": (rows.listed[:, None] + [0, 0, 1, 1]) * width,
        "rows_pixels": rows.pixels.repeat(across, 1) * labels_hw[1],
        "rows_weights": rows.weights.repeat(across, 1).repeat(2, 2),
        "columns_cell": columns.cell_of,
        "columns_listed": columns.listed,
        "columns_corners": columns.listed[:, None] + [0, 1, 0, 1],
        "columns_pixels": np.tile(columns.pixels, down),
        "columns_weights": np.tile(columns.weights, (1, down, 2)),
        "image_pixels": [labels_hw[0] * labels_hw[1]],
        "image_positions": [height * width],
        "positions_shape": [-1, channels],
        "map_shape": [n, height, width],
        "cells_shape": [-1, 1],
        "labels_shape": [n, *labels_hw],
        "flat": [-1],
        "first": [0],
        "second": [1],
        "before_last": [-1],
        "end": [np.iinfo(np.int64).max],
        "rows_axis": [1],
        "columns_axis": [2],
    }
    return _named(_body(n)), [
        numpy_helper.from_array(np.asarray(value), f"head.{key}")
        for key, value in constants.items()
    ]


def _body(images: int) -> list[onnx.NodeProto]:
    """The nodes; where there is one image, without what would add the place of the first: zero."""
    nodes = list(parser.parse_function(_BODY).node)
    if images > 1:
        return nodes
    zero = {"image_index", "map_start", "image_start"}
    same = {n.output[0]: n.input[0] for n in nodes if n.op_type == "Add" and n.input[1] in zero}
    kept = [n for n in nodes if n.output[0] not in zero | set(same)]
    for node in kept:
        node.input[:] = [same.get(name, name) for name in node.input]
    return kept


def _named(nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes with every name but the graph's own two put under `head.`."""
    named = list(nodes)
    for node in named:
        for names in (node.input, node.output):
            names[:] = [n if n in (SCORES, OUTPUT) else f"head.{n}" for n in names]
        node.name = node.output[0]
    return named
