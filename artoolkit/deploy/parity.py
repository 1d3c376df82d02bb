"""Parity of the exported and the trained network: scores, labels, first layer that differs.

Legend: N images, C classes, H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.runner import Runner
from artoolkit.errors import BackendError
from artoolkit.graph.onnx_file import load_onnx
from artoolkit.labels import VOID

# Outputs kept in memory at once in a layer-by-layer comparison.
_LAYERS_AT_ONCE = 12


@dataclass(frozen=True)
class Parity:
    """Distance of a candidate runner from its reference, over all images.

    `scores_max_abs` is in the unit of the scores; `scores_max_rel` is that divided by the largest
    score of the reference, `scores_spread` how far the highest of its scores is above the lowest.
    `agreement` is the share of the `pixels` compared (labelled ones, where
    labels were given) on which both say the same class.
    """

    images: int
    pixels: int
    scores_max_abs: float
    scores_max_rel: float
    scores_spread: float
    agreement: float

    def holds(self, *, atol: float, agreement: float) -> bool:
        """True if scores and labels are within a target's margins."""
        return self.scores_max_abs <= atol and self.agreement >= agreement


@dataclass(frozen=True)
class LayerError:
    """The error of one tensor: root of the mean squared difference over that of the reference."""

    layer: str
    operator: str
    tensor: str
    relative: float
    max_abs: float


def compare_outputs(
    reference: Runner,
    candidate: Runner,
    images: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8] | None]],
) -> Parity:
    """Run both on `images`, pairs of uint8 N x H x W x 3 and uint8 labels N x H x W or None.

    Both runners must be open with the outputs `labels` and `scores`. `BackendError` where there
    is nothing to compare, or a score is not finite: a difference of NaN would pass any test.
    """
    count = pixels = agreeing = 0
    largest = scale = 0.0
    low, high = np.inf, -np.inf
    for image, labelled in images:
        ours, theirs = reference.infer(image), candidate.infer(image)
        a, b = (np.asarray(o["scores"], np.float32) for o in (ours, theirs))
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise BackendError(f"scores of image {count} are not finite")
        largest = max(largest, float(np.abs(a - b).max()))
        low, high = min(low, float(a.min())), max(high, float(a.max()))
        scale = max(abs(low), abs(high))
        same = ours["labels"] == theirs["labels"]
        counted = np.ones_like(same) if labelled is None else labelled != VOID
        agreeing += int(np.count_nonzero(same & counted))
        pixels += int(np.count_nonzero(counted))
        count += len(image)
    if not pixels:
        raise BackendError("nothing to compare", got=f"{count} images, no labelled pixel")
    relative = largest / (scale or 1.0)
    return Parity(count, pixels, largest, relative, high - low, agreeing / pixels)


def layer_errors(
    reference: Path, candidate: Path, images: NDArray[np.uint8]
) -> tuple[LayerError, ...]:
    """The error of every tensor that both files compute under one name, in the reference's order.

    `images`: uint8 N x H x W x 3. Both run in ONNX Runtime on the CPU. Errors add up along the
    network: the first large step, not the last large value, is the layer to blame; see
    `first_difference`.
    """
    a, b = (load_onnx(path, "comparing layers") for path in (reference, candidate))
    shared = _shared_tensors(a, b)
    return tuple(_errors(reference, candidate, shared, images))


def first_difference(errors: Iterable[LayerError], *, relative: float) -> LayerError | None:
    """The first layer whose error is above `relative`, or None."""
    return next((error for error in errors if error.relative > relative), None)


def largest_errors(errors: Iterable[LayerError], count: int = 5) -> tuple[LayerError, ...]:
    """The `count` layers with the largest relative error, largest first."""
    return tuple(sorted(errors, key=lambda error: -error.relative)[:count])


def _shared_tensors(a: onnx.ModelProto, b: onnx.ModelProto) -> dict[str, tuple[str, str]]:
    """Tensor -> (layer, operator) of the float tensors that both graphs compute."""
    shapes_a, shapes_b = _float_shapes(a), _float_shapes(b)
    return {
        name: (node.name, node.op_type)
        for node in a.graph.node
        for name in node.output
        if name in shapes_a and shapes_a[name] == shapes_b.get(name)
    }


def _float_shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.value_info, *model.graph.output)
        if value.type.tensor_type.elem_type in floats
    }


def _errors(
    reference: Path,
    candidate: Path,
    shared: dict[str, tuple[str, str]],
    images: NDArray[np.uint8],
) -> Iterator[LayerError]:
    names = iter(shared)
    while batch := tuple(islice(names, _LAYERS_AT_ONCE)):
        with (
            open_onnxruntime(reference, outputs=batch) as ours,
            open_onnxruntime(candidate, outputs=batch) as theirs,
        ):
            a, b = ours.infer(images), theirs.infer(images)
        for name in batch:
            layer, operator = shared[name]
            yield LayerError(layer, operator, name, *_error(a[name], b[name]))


def _error(a: NDArray[Any], b: NDArray[Any]) -> tuple[float, float]:
    exact = a.astype(np.float64)
    difference = b.astype(np.float64) - exact
    scale = float(np.sqrt(np.mean(exact**2)))
    return float(np.sqrt(np.mean(difference**2))) / (scale or 1.0), float(np.abs(difference).max())
