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

from artoolkit.backends import backend_named
from artoolkit.backends.onnxruntime.runner import open_onnxruntime
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
from artoolkit.deploy.sensitivity import Progress, Sensitivity, sensitive_layers
from artoolkit.errors import ExportError
from artoolkit.networks.checkpoint import Checkpoint
from artoolkit.spec import Frozen, Target
from artoolkit.words import AUTO

# Tensors kept in memory at once while ranges are taken.
_TENSORS_AT_ONCE = 12
# ONNX Runtime gathers the inputs of an int8 convolution position by position, all channels at once:
# with 3 of them that takes longer than the convolution in float.
_FEWEST_CHANNELS = 4
# Images on which convolutions are tried one by one.
_TRIAL_IMAGES = 4
FloatLayers = Sequence[str] | Literal["auto"]


class Calibration(Frozen):
    """Ranges and layers that int8 needs beside the weights; stored in the bundle's manifest.

    `ranges`: least and greatest value of each tensor over the calibration images, `method` says
    how. `float_layers` are the convolutions that stay in float: those that were asked for or found,
    as `sensitivity` says, and on a CPU those that read fewer than 4 channels, which are slower in
    int8.
    """

    method: Literal["minmax"]
    images: int
    activation: Activation
    ranges: dict[str, Range]
    float_layers: tuple[str, ...] = ()
    sensitivity: Sensitivity | None = None


def calibrate(
    checkpoint: Checkpoint,
    target: Target,
    images: NDArray[np.uint8],
    *,
    float_layers: FloatLayers = (),
    progress: Progress = lambda what, share: None,
) -> Calibration:
    """Take the ranges of `checkpoint` on `images`, uint8 N x H x W x 3 of the target's size.

    uint8 activations for the CPU, symmetric int8 for TensorRT, which takes nothing else. With
    `float_layers` "auto" the layers that stay in float are found by measuring on the first of the
    images: see `sensitivity.py`. `ExportError` if a name in `float_layers` is no convolution, or a
    value is not finite.
    """
    model, trained = graph_from_checkpoint(checkpoint, target)
    asked = () if float_layers == AUTO else tuple(float_layers)
    convolutions = [n.name for n in model.graph.node if n.op_type == "Conv"]
    if unknown := sorted(set(asked) - set(convolutions)):
        raise ExportError(
            "no such convolution to keep in float",
            got=", ".join(unknown),
            expected=", ".join(convolutions),
        )
    activation: Activation = backend_named(target.backend).int8_activations
    if activation == "uint8":
        asked = tuple(dict.fromkeys((*_reading_few_channels(model), *asked)))
    candidates = integer_convolutions(model, asked)
    tensors = integer_tensors(model, candidates, activation)
    # A pooled tensor needs a range of its own where what it pools stays in float after all.
    named = {*tensors.values(), *(tensors if float_layers == AUTO else ())}
    batches = _batches(images, target.batch)
    found = Calibration(
        method="minmax",
        images=len(images),
        activation=activation,
        ranges=dict(_ranges(model, sorted(named), batches, progress)),
        float_layers=asked,
    )
    if float_layers != AUTO:
        return found

    def quantise(kept: Sequence[str]) -> onnx.ModelProto:
        changed = found.model_copy(update={"float_layers": (*asked, *kept)})
        return quantized(model, trained, target, changed)[0]

    kept, sensitivity = sensitive_layers(
        model,
        quantise,
        candidates,
        batches[: -(-_TRIAL_IMAGES // target.batch)].reshape(-1, *images.shape[1:]),
        bound=target.margins.label_agreement["int8"],
        progress=progress,
    )
    return _narrowed(found, model, (*asked, *kept), sensitivity)


def _narrowed(
    found: Calibration,
    model: onnx.ModelProto,
    float_layers: tuple[str, ...],
    sensitivity: Sensitivity,
) -> Calibration:
    """`found` with these layers in float, and only the ranges that are left."""
    convolutions = integer_convolutions(model, float_layers)
    named = set(integer_tensors(model, convolutions, found.activation).values())
    return found.model_copy(
        update={
            "float_layers": float_layers,
            "sensitivity": sensitivity,
            "ranges": {name: span for name, span in found.ranges.items() if name in named},
        }
    )


def _reading_few_channels(model: onnx.ModelProto) -> Iterator[str]:
    channels = {i.name: i.dims[1] for i in model.graph.initializer if len(i.dims) == 4}
    for node in model.graph.node:
        if node.op_type == "Conv" and channels[node.input[1]] < _FEWEST_CHANNELS:
            groups = next((a.i for a in node.attribute if a.name == "group"), 1)
            if groups == 1:
                yield node.name


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


def _batches(images: NDArray[np.uint8], batch: int) -> NDArray[np.uint8]:
    """M x `batch` x H x W x 3; what the images do not fill is filled with the first ones again."""
    count = -(-len(images) // batch) * batch
    return np.resize(images, (count, *images.shape[1:])).reshape(-1, batch, *images.shape[1:])


def _ranges(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    batches: NDArray[np.uint8],
    progress: Progress,
) -> Iterator[tuple[str, Range]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        onnx.save(model, str(path))
        for start in range(0, len(tensors), _TENSORS_AT_ONCE):
            progress("int8: ranges of the activations", start / len(tensors))
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
