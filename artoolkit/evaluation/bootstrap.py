"""The mIoU difference of two networks on the same images, with its bootstrap interval.

N images, C classes, R resamples. mIoU depends on the sum of the images' confusion matrices only,
and per class only on two sums that are linear in them: true positives and the union. So R
resamples are one matrix product: (R x N counts of how often an image was drawn) x (N x 2C).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from artoolkit.metrics import class_iou, mean_iou
from artoolkit.spec import Frozen
from artoolkit.statistics import Interval, normal_cdf, student_quantile

Floats = NDArray[np.float64]
NonInferiorityReading = Literal["better", "not worse", "worse", "undecided"]

RESAMPLES = 10_000
_BLOCK = 500


class ClassChange(Frozen):
    """One class: IoU of both networks and the difference, in percentage points.

    `falls`: the whole 95 % interval lies below 0. With C classes, about C / 40 fall by chance.
    """

    name: str
    baseline: float | None
    candidate: float | None
    difference: Interval | None
    falls: bool


class NonInferiority(Frozen):
    """mIoU of the candidate minus mIoU of the baseline, in points, read against the margin."""

    reading: NonInferiorityReading
    margin_points: float
    difference_points: Interval
    baseline_miou: float
    candidate_miou: float
    images: int
    resamples: int
    seed: int
    classes: tuple[ClassChange, ...]
    left_out: tuple[str, ...]


def _sums(matrices_NCC: NDArray[np.int64]) -> Floats:
    """N x C x (C + 1) counts -> float64 N x 2C: true positives, then unions (exact integers)."""
    classes = matrices_NCC.shape[1]
    true = np.diagonal(matrices_NCC[:, :, :classes], axis1=1, axis2=2)
    union = matrices_NCC.sum(2) + matrices_NCC[:, :, :classes].sum(1) - true
    return np.concatenate([true, union], axis=1).astype(np.float64)


def _iou(sums_R2C: Floats) -> Floats:
    true, union = np.split(sums_R2C, 2, axis=1)
    return np.asarray(np.divide(true, union, out=np.full_like(true, np.nan), where=union > 0))


def _row_mean(values: Floats) -> Floats:
    """Mean of each row without its NaN; NaN where a row has nothing else."""
    known = ~np.isnan(values)
    count = known.sum(1)
    total = np.where(known, values, 0.0).sum(1)
    return np.asarray(np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0))


def resampled_iou(
    baseline: NDArray[np.int64], candidate: NDArray[np.int64], *, resamples: int, seed: int
) -> tuple[Floats, Floats]:
    """IoU per class of both networks on the same R resamples of the images.

    `baseline`, `candidate`: N x C x (C + 1) counts of the same images in the same order. Returns
    two R x C arrays in [0, 1], NaN where a class is neither labelled nor predicted in a resample.
    """
    images, width = len(baseline), 2 * baseline.shape[1]
    both = np.concatenate([_sums(baseline), _sums(candidate)], axis=1)
    random = np.random.default_rng(seed)
    parts = []
    for start in range(0, resamples, _BLOCK):
        rows = min(_BLOCK, resamples - start)
        drawn = random.integers(0, images, (rows, images))
        drawn += np.arange(rows)[:, None] * images
        counts = np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images)
        parts.append(counts.astype(np.float64) @ both)
    sums = np.concatenate(parts)
    return _iou(sums[:, :width]), _iou(sums[:, width:])


def percentile_interval(
    resampled: Floats, estimate: float, *, images: int, level: float = 0.95
) -> Interval | None:
    """Expanded percentile interval of a bootstrap; None if a resample has no value at all.

    With few images the plain percentile interval is too narrow, as a normal interval with the
    biased variance is; the percentiles are moved outwards by the same factor (Hesterberg, "What
    teachers should know about the bootstrap", 2015, section 5.3). At 500 images nothing changes.
    """
    known = resampled[~np.isnan(resampled)]
    if known.size == 0 or images < 2:
        return None
    t = student_quantile(0.5 + level / 2, images - 1) * math.sqrt(images / (images - 1))
    tail = normal_cdf(-t)
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(estimate=estimate, low=float(low), high=float(high), level=level)


def _stack(matrices: Sequence[NDArray[np.int64]] | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack([np.asarray(matrix, np.int64) for matrix in matrices])


def _points(value: float) -> float | None:
    return None if math.isnan(value) else 100 * float(value)


def _class_changes(
    names: Sequence[str], points: tuple[Floats, Floats], resampled: Floats, images: int
) -> tuple[ClassChange, ...]:
    changes = []
    for index, name in enumerate(names):
        before, after = (_points(float(iou[index])) for iou in points)
        interval = None
        if before is not None and after is not None:
            interval = percentile_interval(resampled[:, index], after - before, images=images)
        changes.append(
            ClassChange(
                name=name,
                baseline=before,
                candidate=after,
                difference=interval,
                falls=interval is not None and interval.high < 0,
            )
        )
    return tuple(changes)


def read_non_inferiority(
    baseline: Sequence[NDArray[np.int64]] | NDArray[np.int64],
    candidate: Sequence[NDArray[np.int64]] | NDArray[np.int64],
    *,
    names: Sequence[str],
    margin_points: float,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NonInferiority:
    """Test that the candidate's mIoU is at most `margin_points` below the baseline's.

    Takes one C x (C + 1) confusion matrix per image and network, the images in the same order.
    not worse: the lower end of the 95 % interval of the difference lies above minus the margin,
    better: above 0; worse: the upper end lies below minus the margin; undecided otherwise.
    Raises `ValueError` for fewer than 2 images, other shapes, or other labelled pixels.
    """
    before, after = _stack(baseline), _stack(candidate)
    if before.shape != after.shape or len(before) < 2:
        raise ValueError(
            "two networks need confusion matrices of the same 2 or more images, "
            f"got {before.shape} and {after.shape}"
        )
    if not np.array_equal(before.sum(2), after.sum(2)):
        raise ValueError("the labelled pixels differ between the two networks: not the same images")
    first, second = resampled_iou(before, after, resamples=resamples, seed=seed)
    miou = tuple(100 * mean_iou(matrices.sum(0)) for matrices in (before, after))
    difference = percentile_interval(
        100 * (_row_mean(second) - _row_mean(first)), miou[1] - miou[0], images=len(before)
    )
    assert difference is not None, "some pixel is labelled, so every network has an mIoU"
    points = (class_iou(before.sum(0)), class_iou(after.sum(0)))
    return NonInferiority(
        reading=_reading(difference, margin_points),
        margin_points=margin_points,
        difference_points=difference,
        baseline_miou=miou[0],
        candidate_miou=miou[1],
        images=len(before),
        resamples=resamples,
        seed=seed,
        classes=_class_changes(names, points, 100 * (second - first), len(before)),
        left_out=tuple(
            name
            for name, one, other in zip(names, *points, strict=True)
            if np.isnan(one) and np.isnan(other)
        ),
    )


def _reading(difference: Interval, margin_points: float) -> NonInferiorityReading:
    if difference.low > -margin_points:
        return "better" if difference.low > 0 else "not worse"
    return "worse" if difference.high < -margin_points else "undecided"
