"""int8 decided on one checkpoint: activation ranges, and the layers that stay in float.

Made once, on the baseline, from real images, and reused for every candidate, so that the two graphs
can be equal. `qdq.py` writes it into the graph.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from artoolkit.backends.onnxruntime import open_onnxruntime
from artoolkit.backends.runner import Runner
from artoolkit.deploy.graph import OUTPUT
from artoolkit.deploy.onnx import checked, graph_from_checkpoint
from artoolkit.deploy.qdq import (
    Activation,
    Range,
    insert_qdq,
    integer_convolutions,
    integer_tensors,
)
from artoolkit.errors import ExportError
from artoolkit.networks.checkpoint import Checkpoint
from artoolkit.spec import Frozen, Target

# Tensors kept in memory at once while ranges are taken.
_TENSORS_AT_ONCE = 12


class Calibration(Frozen):
    """What int8 needs beside the weights; stored in the bundle's manifest.

    `ranges`: least and greatest value of each tensor over the calibration images, `method` says
    how. `float_layers` are the convolutions that stay in float.
    """

    method: Literal["minmax"]
    images: int
    activation: Activation
    ranges: dict[str, Range]
    float_layers: tuple[str, ...] = ()


def calibrate(
    checkpoint: Checkpoint,
    target: Target,
    images: NDArray[np.uint8],
    *,
    float_layers: Sequence[str] = (),
) -> Calibration:
    """Take the ranges of `checkpoint` on `images`, uint8 N x H x W x 3 of the target's size.

    uint8 activations for the CPU, symmetric int8 for TensorRT, which takes nothing else.
    `ExportError` if a name in `float_layers` is no convolution, or a value is not finite.
    """
    model, _ = graph_from_checkpoint(checkpoint, target)
    convolutions = [n.name for n in model.graph.node if n.op_type == "Conv"]
    if unknown := sorted(set(float_layers) - set(convolutions)):
        raise ExportError("no such convolution to keep in float", got=", ".join(unknown))
    tensors = integer_tensors(model, integer_convolutions(model, float_layers))
    return Calibration(
        method="minmax",
        images=len(images),
        activation="int8" if target.backend.startswith("tensorrt") else "uint8",
        ranges=dict(_ranges(model, sorted(set(tensors.values())), images, target.batch)),
        float_layers=tuple(float_layers),
    )


def quantized(
    model: onnx.ModelProto, trained: tuple[str, ...], target: Target, calibration: Calibration
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The int8 form of a float32 graph, and its trained initialisers. `model` is left alone."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    names = insert_qdq(
        result,
        trained,
        calibration.ranges,
        convolutions=integer_convolutions(model, calibration.float_layers),
        activation=calibration.activation,
    )
    return checked(result, target), names


def _ranges(
    model: onnx.ModelProto, tensors: Sequence[str], images: NDArray[np.uint8], batch: int
) -> Iterator[tuple[str, Range]]:
    """Batches that the images do not fill are filled with the first ones again."""
    count = -(-len(images) // batch) * batch
    batches = np.resize(images, (count, *images.shape[1:])).reshape(-1, batch, *images.shape[1:])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        onnx.save(model, str(path))
        for start in range(0, len(tensors), _TENSORS_AT_ONCE):
            names = tuple(tensors[start : start + _TENSORS_AT_ONCE])
            with open_onnxruntime(path, outputs=(OUTPUT, *names)) as runner:
                spans = _spans(runner, names, batches)
            for name, (low, high) in spans.items():
                if not np.isfinite([low, high]).all():
                    raise ExportError(f"{name} is not finite on the calibration images")
                yield name, (low, high)


def _spans(runner: Runner, names: Sequence[str], batches: NDArray[np.uint8]) -> dict[str, Range]:
    """Least and greatest value of each tensor, one batch in memory at a time."""
    spans = dict.fromkeys(names, (0.0, 0.0))
    for images_N in batches:
        values = runner.infer(images_N)
        for name, (low, high) in spans.items():
            value = values[name]
            spans[name] = min(low, float(value.min())), max(high, float(value.max()))
    return spans
