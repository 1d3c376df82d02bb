"""Intersection over union from confusion matrices: the only mIoU in artoolkit.

One C x (C + 1) matrix is kept per image: row = label, column = prediction, the last column counts
labelled pixels that were predicted as no class at all. Void pixels of the label are left out. The
rules are those of cityscapesScripts (evalPixelLevelSemanticLabeling): sum the matrices over the
data set, then take each class's IoU; a class that is neither labelled nor predicted is left out of
the mean, one that is predicted but never labelled counts as 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from artoolkit.labels import VOID

Matrix = NDArray[np.int64]

# With shorter runs than this, on average, finding them costs more than it saves (measured).
_PIXELS_A_RUN = 8


def confusion_matrix(
    predicted: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    *,
    num_classes: int,
    ignore_index: int = VOID,
) -> Matrix:
    """int64 C x (C + 1) counts of two uint8 train-id maps of the same shape.

    Raises `ValueError` if the shapes differ or a label is neither below `num_classes` nor void.
    """
    if predicted.shape != labels.shape:
        raise ValueError(f"predicted {predicted.shape} and labels {labels.shape} differ in shape")
    width = num_classes + 1
    counts = _pair_counts(predicted.ravel(), labels.ravel())
    present = np.flatnonzero(counts.sum(1)).tolist()
    foreign = [i for i in present if i >= num_classes and i != ignore_index]
    if foreign:
        raise ValueError(f"label ids {foreign} are neither below {num_classes} nor {ignore_index}")
    counts[ignore_index] = 0  # it may be one of the classes
    matrix = np.zeros((num_classes, width), np.int64)
    matrix[:, :num_classes] = counts[:num_classes, :num_classes]
    matrix[:, num_classes] = counts[:num_classes, num_classes:].sum(1)
    return matrix


def _pair_counts(predicted_N: NDArray[np.uint8], labels_N: NDArray[np.uint8]) -> Matrix:
    """int64 256 x 256 counts of every (label, prediction) byte pair.

    Label maps are smooth: counting runs of one pair takes half the time of counting pixels. Noise
    is counted pixel by pixel.
    """
    changes = labels_N[1:] != labels_N[:-1]
    changes |= predicted_N[1:] != predicted_N[:-1]
    lengths = None
    if np.count_nonzero(changes) * _PIXELS_A_RUN < labels_N.size:
        ends = np.append(np.flatnonzero(changes), labels_N.size - 1)
        lengths = np.diff(ends, prepend=-1)
        labels_N, predicted_N = labels_N[ends], predicted_N[ends]
    pairs = labels_N.astype(np.uint16) << 8 | predicted_N
    # Weighted counts are floats, exact up to 2**53.
    counts = np.bincount(pairs, lengths, minlength=1 << 16)
    return counts.astype(np.int64, copy=False).reshape(256, 256)


def class_iou(matrix: Matrix) -> NDArray[np.float64]:
    """IoU in [0, 1] per class, NaN for a class that is neither labelled nor predicted.

    `matrix`: ... x C x (C + 1) (or C x C) counts.
    """
    classes = matrix.shape[-2]
    true = np.diagonal(matrix[..., :classes], axis1=-2, axis2=-1).astype(np.float64)
    labelled = matrix.sum(-1)
    predicted = matrix[..., :classes].sum(-2)
    union = labelled + predicted - true
    return np.asarray(np.divide(true, union, out=np.full_like(true, np.nan), where=union > 0))


def mean_iou(matrix: Matrix) -> float:
    """mIoU in [0, 1] over the classes that are labelled or predicted.

    Raises `ValueError` if there is none: no labelled pixel was counted.
    """
    iou = class_iou(matrix)
    if np.isnan(iou).all():
        raise ValueError("no labelled pixel was counted, so there is no mIoU")
    return float(np.nanmean(iou))


def pixel_accuracy(matrix: Matrix) -> float:
    """Share of labelled pixels that are predicted right, in [0, 1]."""
    total = int(matrix.sum())
    if total == 0:
        raise ValueError("no labelled pixel was counted, so there is no accuracy")
    return float(np.trace(matrix[:, : matrix.shape[0]]) / total)


def summary(matrix: Matrix, names: Sequence[str]) -> dict[str, float | None]:
    """mIoU, aAcc and IoU.<class> in percent (mmsegmentation's keys); None where undefined."""
    scores: dict[str, float | None] = {
        "mIoU": 100 * mean_iou(matrix),
        "aAcc": 100 * pixel_accuracy(matrix),
    }
    for name, iou in zip(names, class_iou(matrix), strict=True):
        scores[f"IoU.{name}"] = None if np.isnan(iou) else 100 * float(iou)
    return scores
