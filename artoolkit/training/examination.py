"""Metrics of a network after the last epoch of an experiment, in one pass over the images.

Beside mIoU: mIoU in the band along class borders and away from it (`evaluation.boundary`), and the
value of the affinity-regression loss, read on the same points for every arm: grid `all` at the
network's output stride.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from artoolkit.data import DataSet, Sample
from artoolkit.errors import DataError
from artoolkit.evaluation.boundary import boundary_and_interior
from artoolkit.evaluation.predictor import NetworkPredictor, Pixels, SizeHW
from artoolkit.evaluation.quality import judged
from artoolkit.labels import VOID, LabelTable
from artoolkit.losses import Points, affinity_regression
from artoolkit.metrics import Matrix, class_iou, confusion_matrix, summary
from artoolkit.networks import Network


@dataclass
class Examination:
    """Sums over the images: int64 C x (C + 1) confusion matrices, and the loss of each image."""

    num_classes: int
    whole: Matrix = field(init=False)
    boundary: Matrix = field(init=False)
    interior: Matrix = field(init=False)
    affinities: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        shape = (self.num_classes, self.num_classes + 1)
        self.whole, self.boundary, self.interior = (np.zeros(shape, np.int64) for _ in range(3))

    def summary(self, table: LabelTable) -> dict[str, float | None]:
        """mIoU, aAcc, `IoU.<class>`, the same for `boundary_` and `interior_`, in percent; the AR.

        `share.<class>`: how much of the labelled pixels is the class's, in percent. None where a
        class is neither labelled nor predicted. Raises `DataError` where no pixel is labelled.
        """
        if not self.whole.any():
            raise DataError("no pixel of the validation images is labelled, so there is no mIoU")
        found = summary(self.whole, table.names)
        for part, matrix in (("boundary", self.boundary), ("interior", self.interior)):
            iou = 100 * class_iou(matrix)
            found[f"{part}_mIoU"] = None if np.isnan(iou).all() else float(np.nanmean(iou))
            for name, value in zip(table.names, iou, strict=True):
                found[f"{part}_IoU.{name}"] = None if np.isnan(value) else float(value)
        shares = 100 * self.whole.sum(1) / self.whole.sum()
        found.update({f"share.{n}": float(s) for n, s in zip(table.names, shares, strict=True)})
        found["affinity_regression"] = float(np.mean(self.affinities)) if self.affinities else None
        return found


def examine(
    network: Network,
    dataset: DataSet,
    samples: Sequence[Sample],
    *,
    device: str = "cpu",
    imgsz: SizeHW | None = None,
    threads: int = 1,
    progress: Callable[[int], None] = lambda done: None,
) -> Examination:
    """`network` on `samples`, fitted to `imgsz` (None: each at its own size).

    Other `threads` read ahead; `progress` gets the number of images done.
    """
    table = dataset.labels
    examination = Examination(table.num_classes)
    with NetworkPredictor(network, table, device=device, input_hw=imgsz) as predictor:
        found = judged(predictor, dataset, samples, threads=threads)
        for done, one in enumerate(found, start=1):
            band, _ = boundary_and_interior(one.label)
            boundary = confusion_matrix(one.predicted, band, num_classes=table.num_classes)
            examination.whole += one.counts
            examination.boundary += boundary
            examination.interior += one.counts - boundary
            assert predictor.last_scores is not None, "an image was predicted"
            examination.affinities += _affinity(network, predictor.last_scores, one.label)
            progress(done)
    return examination


def _affinity(network: Network, scores: torch.Tensor, truth: Pixels) -> Iterator[float]:
    """The loss of one image; nothing where it has no labelled point."""
    if (truth == VOID).all():
        return
    labels = torch.from_numpy(truth.astype(np.int64))[None].to(scores.device)
    points = Points(grid="all", align_corners=network.align_corners)
    loss = affinity_regression(scores.float(), labels, points)
    yield loss.item()
