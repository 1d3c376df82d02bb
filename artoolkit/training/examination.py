"""What an experiment asks of a network after its last epoch, in one pass over the images.

Beside mIoU: mIoU in the band along class borders and away from it (`measure.boundary`), and the
value of the affinity-regression loss, read on the same points for every arm: grid `all` at the
network's output stride.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from artoolkit.errors import DataError
from artoolkit.evaluation.boundary import boundary_and_interior
from artoolkit.labels import VOID, LabelTable
from artoolkit.losses import Points, affinity_regression
from artoolkit.metrics import Matrix, class_iou, confusion_matrix, summary
from artoolkit.networks import Network
from artoolkit.training.engine import predictions
from artoolkit.training.loader import Batch


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
    batches: Iterable[Batch],
    *,
    device: torch.device,
    imgsz: tuple[int, int] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Examination:
    """`batches` and `imgsz` as in `engine.evaluate`; `progress` gets the number of images done."""
    examination = Examination(network.num_classes)
    found = predictions(network, batches, device=device, imgsz=imgsz)
    for done, (scores, predicted, truth) in enumerate(found, start=1):
        boundary, interior = boundary_and_interior(truth)
        for matrix, labels in (
            (examination.whole, truth),
            (examination.boundary, boundary),
            (examination.interior, interior),
        ):
            matrix += confusion_matrix(predicted, labels, num_classes=network.num_classes)
        examination.affinities += _affinity(network, scores, truth)
        progress(done)
    return examination


def _affinity(
    network: Network, scores: torch.Tensor, truth: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
) -> Iterator[float]:
    """The loss of one image; nothing where it has no labelled point."""
    if (truth == VOID).all():
        return
    labels = torch.from_numpy(truth.astype(np.int64))[None].to(scores.device)
    points = Points(grid="all", align_corners=network.align_corners)
    loss = affinity_regression(scores.float(), labels, points)
    yield loss.item()
