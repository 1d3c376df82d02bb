"""Search for the convolutions that lose too much in int8: measured one by one on real images.

The bound is declared before: the share of pixels to which int8 and float32 must give the same class
(`margins.label_agreement` of the target). Where int8 as a whole keeps it, nothing stays in float.
Otherwise each convolution is tried in int8 alone, all others in float, and the most harmful ones
stay in float: as few as the bound needs. Decided once, on the baseline.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from artoolkit.backends.onnxruntime.runner import OnnxRuntimeRunner, open_onnxruntime
from artoolkit.deploy.graph import OUTPUT, SCORES
from artoolkit.deploy.parity import Parity, compare_outputs
from artoolkit.spec import Frozen

Progress = Callable[[str, float], None]
# A quantised form of the graph, given the convolutions that stay in float.
Quantise = Callable[[Sequence[str]], onnx.ModelProto]


class LayerSensitivity(Frozen):
    """Effect of int8 in this convolution alone on the labels and scores of the float32 network.

    `agreement`: share of the pixels that keep their class. `scores_error`: largest difference of a
    score over the largest score.
    """

    layer: str
    agreement: float
    scores_error: float


class Sensitivity(Frozen):
    """Record of the search for layers in float.

    `bound`: the agreement that was asked for. `all_int8` and `chosen`: the agreement on the
    `images` without and with the chosen layers in float. `layers`: every convolution, the most
    harmful first; empty where `all_int8` keeps the bound.
    """

    images: int
    bound: float
    all_int8: float
    chosen: float
    layers: tuple[LayerSensitivity, ...] = ()


def sensitive_layers(
    model: onnx.ModelProto,
    quantise: Quantise,
    candidates: Sequence[str],
    images: NDArray[np.uint8],
    *,
    bound: float,
    progress: Progress = lambda what, share: None,
) -> tuple[tuple[str, ...], Sensitivity]:
    """The convolutions to keep in float, most harmful first, and what was measured.

    `model` is the float32 graph, `quantise` gives its int8 form, `candidates` are the convolutions
    that may become int8, `images` uint8 N x H x W x 3 of the graph's size and batch. Raises
    `BackendError` where scores are not finite.
    """
    with tempfile.TemporaryDirectory() as folder:
        trial = _Trial(Path(folder), model, quantise, images)
        try:
            return _chosen(trial, candidates, bound, progress)
        finally:
            trial.reference.close()


class _Trial:
    """The float32 network, open, and how near an int8 form of it comes."""

    def __init__(
        self,
        folder: Path,
        model: onnx.ModelProto,
        quantise: Quantise,
        images: NDArray[np.uint8],
    ) -> None:
        self._path, self._quantise = folder / "int8.onnx", quantise
        self.reference = _opened(model, folder / "float.onnx")
        batch = self.reference.spec.inputs[0].shape[0]
        self.batches = images.reshape(-1, batch, *images.shape[1:])

    def parity(self, float_layers: Sequence[str]) -> Parity:
        with _opened(self._quantise(float_layers), self._path) as candidate:
            return compare_outputs(self.reference, candidate, ((b, None) for b in self.batches))


def _chosen(
    trial: _Trial, candidates: Sequence[str], bound: float, progress: Progress
) -> tuple[tuple[str, ...], Sensitivity]:
    progress("int8: all layers at once", 0.0)
    images = int(trial.batches.shape[0] * trial.batches.shape[1])
    whole = trial.parity(()).agreement
    if whole >= bound:
        return (), Sensitivity(images=images, bound=bound, all_int8=whole, chosen=whole)
    layers = []
    for done, layer in enumerate(candidates):
        progress("int8: every layer alone", done / len(candidates))
        alone = trial.parity([other for other in candidates if other != layer])
        layers.append(
            LayerSensitivity(
                layer=layer, agreement=alone.agreement, scores_error=alone.scores_max_rel
            )
        )
    layers.sort(key=lambda one: (one.agreement, -one.scores_error))
    names = [one.layer for one in layers]
    # Bisection halves what is left each time.
    steps, tried = max(len(names).bit_length(), 1), 0

    def holds(count: int) -> bool:
        nonlocal tried
        progress("int8: how many layers stay in float", tried / steps)
        tried += 1
        return trial.parity(names[:count]).agreement >= bound

    kept = tuple(names[: _fewest(holds, len(names))])
    return kept, Sensitivity(
        images=images,
        bound=bound,
        all_int8=whole,
        chosen=trial.parity(kept).agreement,
        layers=tuple(layers),
    )


def _fewest(holds: Callable[[int], bool], most: int) -> int:
    """The least of 1 to `most` for which `holds`, by bisection; `most` where none below does."""
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _opened(model: onnx.ModelProto, path: Path) -> OnnxRuntimeRunner:
    onnx.save(model, str(path))
    return open_onnxruntime(path, outputs=(OUTPUT, SCORES))
