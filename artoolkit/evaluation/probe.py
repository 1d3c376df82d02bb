"""Which conventions a network of others was trained with: those that predict its labels best.

A file of weights says neither the order of the channels nor what was subtracted from them. A few
labelled images do: wrong ones cost most of the mIoU. First every output with every input
convention, then, with the best of them, how scores are resized and at what size.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artoolkit.data import DataSet, Sample, spread
from artoolkit.errors import UsageError
from artoolkit.evaluation.predictor import NetworkPredictor, SizeHW
from artoolkit.evaluation.quality import judged
from artoolkit.metrics import summary
from artoolkit.preprocess import IMAGENET_MEAN, IMAGENET_STD
from artoolkit.spec import RequestedNetwork
from artoolkit.words import CHANNEL_ORDERS

if TYPE_CHECKING:
    from artoolkit.networks.checkpoint import Checkpoint

Three = tuple[float, float, float]
# Mean and standard deviation in RGB, in units of 0-255: torchvision's, Caffe's, and plain scalings.
NORMALISATIONS: dict[str, tuple[Three, Three]] = {
    "ImageNet": (IMAGENET_MEAN, IMAGENET_STD),
    "Caffe": ((122.679, 116.669, 104.008), (1.0, 1.0, 1.0)),
    "0 to 1": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "-1 to 1": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "0 to 255": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
SCALES = (1.0, 0.5, 0.75, 1.5)  # of the images' own size; 1 wins a draw
STRIDE = 32  # sides that most networks take
MOST_OUTPUTS = 8


@dataclass(frozen=True)
class Trial:
    """Options of the network, its input size (None: the image's own), and mIoU in percent."""

    options: Mapping[str, Any]
    normalisation: str
    imgsz: SizeHW | None
    miou: float


def probe(
    path: Path,
    network: RequestedNetwork,
    dataset: DataSet,
    *,
    split: str = "val",
    images: int = 8,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Checkpoint, list[Trial]]:
    """The checkpoint with what fits best, and all trials, the best first.

    Options that `network` has already are kept. Raises what `artoolkit.load` does, and `UsageError`
    for a built-in network, whose conventions are known.
    """
    from artoolkit.networks.factory import is_custom

    if network.name is None or not is_custom(network.name):
        raise UsageError(
            "only a network of your own is probed", got=network.name,
            hint="The conventions of built-in ones are known: artoolkit weights import.",
        )  # fmt: skip
    samples = spread(dataset.samples(split), images)
    given = dict(network.options)
    inputs = [
        {"channel_order": order, "mean": list(mean[::step]), "std": list(std[::step])}
        for order, step in zip(CHANNEL_ORDERS, (1, -1), strict=True)
        for mean, std in NORMALISATIONS.values()
    ]
    names = [*NORMALISATIONS] * len(CHANNEL_ORDERS)
    outputs = _outputs(path, network, dataset)
    trials: list[Trial] = []
    total = len(outputs) * len(inputs) + 2 * len(SCALES) - 1

    def attempt(options: dict[str, Any], name: str, size: SizeHW | None) -> None:
        checkpoint = _opened(path, network, dataset, options | given)
        trials.append(Trial(options | given, name, size, _miou(checkpoint, dataset, samples, size)))
        progress(len(trials), total)

    for main, (name, options) in itertools.product(outputs, zip(names, inputs, strict=True)):
        attempt({**options, **({} if main is None else {"main": main})}, name, None)
    best = max(trials, key=lambda trial: trial.miou)
    own = dataset.read_label(samples[0]).shape
    for scale, aligned in itertools.product(SCALES, (False, True)):
        size = (round(own[0] * scale / STRIDE) * STRIDE, round(own[1] * scale / STRIDE) * STRIDE)
        if (scale, aligned) != (1.0, False) and min(size) > 0:
            attempt({**best.options, "align_corners": aligned}, best.normalisation,
                    None if scale == 1 else size)  # fmt: skip
    trials.sort(key=lambda trial: -trial.miou)
    return _opened(path, network, dataset, dict(trials[0].options)), trials


def _opened(
    path: Path, network: RequestedNetwork, dataset: DataSet, options: dict[str, Any]
) -> Checkpoint:
    from artoolkit.networks.loading import load

    asked = network.model_copy(update={"options": options})
    return load(path, network=asked, labels=dataset.labels)


def _outputs(path: Path, network: RequestedNetwork, dataset: DataSet) -> list[int | None]:
    """The outputs that may hold the scores: None where the network says it, else their places."""
    try:
        _opened(path, network, dataset, dict(network.options))
    except UsageError:
        found: list[int | None] = []
        for main in range(MOST_OUTPUTS):
            try:
                _opened(path, network, dataset, {**network.options, "main": main})
            except UsageError:
                continue
            found.append(main)
        if not found:
            raise
        return found
    return [None]


def _miou(
    checkpoint: Checkpoint, dataset: DataSet, samples: Sequence[Sample], size: SizeHW | None
) -> float:
    classes = dataset.labels.num_classes
    counts = np.zeros((classes, classes + 1), np.int64)
    with NetworkPredictor(checkpoint.network(), dataset.labels, input_hw=size) as predictor:
        for one in judged(predictor, dataset, samples):
            counts += one.counts
    return float(summary(counts, dataset.labels.names)["mIoU"] or 0.0)
