"""The bootstrap of the mIoU difference: values by hand, definition, rules for absent classes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from artoolkit.evaluation.bootstrap import (
    percentile_interval,
    read_non_inferiority,
    resampled_iou,
)
from artoolkit.metrics import class_iou

Counts = NDArray[np.int64]


def counts(images: int, accuracy: float, *, seed: int = 0, classes: int = 3) -> Counts:
    """Matrices of images with 1000 pixels of each class, `accuracy` of them right on average."""
    random = np.random.default_rng(seed)
    matrices = np.zeros((images, classes, classes + 1), np.int64)
    for matrix in matrices:
        for label in range(classes):
            right = random.binomial(1000, np.clip(random.normal(accuracy, 0.05), 0, 1))
            matrix[label, label] = right
            matrix[label, (label + 1) % classes] = 1000 - right
    return matrices


def test_resampled_iou_is_the_iou_of_the_drawn_images() -> None:
    baseline, candidate = counts(5, 0.8), counts(5, 0.9, seed=1)
    first, second = resampled_iou(baseline, candidate, resamples=3, seed=7)
    drawn = np.random.default_rng(7).integers(0, 5, (3, 5))
    for row, images in enumerate(drawn):
        assert first[row] == pytest.approx(class_iou(baseline[images].sum(0)))
        assert second[row] == pytest.approx(class_iou(candidate[images].sum(0)))


def test_resamples_across_blocks_are_all_there_and_repeat_by_seed() -> None:
    matrices = counts(4, 0.8)
    first, _ = resampled_iou(matrices, matrices, resamples=1234, seed=3)
    again, _ = resampled_iou(matrices, matrices, resamples=1234, seed=3)
    other, _ = resampled_iou(matrices, matrices, resamples=1234, seed=4)
    assert first.shape == (1234, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_same_network_is_not_worse_by_exactly_nothing() -> None:
    matrices = counts(20, 0.8)
    result = read_non_inferiority(matrices, matrices, names="abc", margin_points=0.5)
    assert result.reading == "not worse"
    assert (result.difference_points.low, result.difference_points.high) == (0, 0)
    assert result.images == 20
    assert result.resamples == 10_000


@pytest.mark.parametrize(
    ("before", "after", "reading"), [(0.8, 0.9, "better"), (0.9, 0.8, "worse")]
)
def test_clear_differences_are_read(before: float, after: float, reading: str) -> None:
    result = read_non_inferiority(
        counts(40, before), counts(40, after, seed=1), names="abc", margin_points=0.5
    )
    assert result.reading == reading
    d = result.difference_points
    assert d.low < d.estimate < d.high
    assert d.estimate == pytest.approx(result.candidate_miou - result.baseline_miou)


def test_few_noisy_images_are_undecided() -> None:
    result = read_non_inferiority(
        counts(4, 0.8), counts(4, 0.8, seed=5), names="abc", margin_points=0.1
    )
    assert result.reading == "undecided"


def test_a_falling_class_is_named_and_an_absent_one_left_out() -> None:
    before = np.zeros((30, 4, 5), np.int64)
    after = np.zeros((30, 4, 5), np.int64)
    before[:, :3, :4], after[:, :3, :4] = counts(30, 0.8), counts(30, 0.8, seed=1)
    before[:, 1], after[:, 1] = [0, 900, 100, 0, 0], [0, 700, 300, 0, 0]
    result = read_non_inferiority(before, after, names="abcd", margin_points=0.5)
    assert "b" in [change.name for change in result.classes if change.falls]
    assert result.left_out == ("d",)
    assert result.classes[3].baseline is None
    assert result.classes[3].difference is None


def test_a_class_that_only_the_candidate_invents_counts_as_zero_for_it() -> None:
    before = np.array([[[100, 0, 0], [0, 0, 0]]] * 3)
    after = np.array([[[90, 10, 0], [0, 0, 0]]] * 3)
    result = read_non_inferiority(before, after, names="ab", margin_points=0.5)
    assert result.baseline_miou == 100
    assert result.candidate_miou == pytest.approx(45)
    assert result.classes[1].baseline is None
    assert result.classes[1].candidate == 0


def test_few_images_widen_the_interval_as_t_does() -> None:
    normal = np.random.default_rng(0).normal(0, 1, 200_000)
    many = percentile_interval(normal, 0.0, images=500)
    few = percentile_interval(normal, 0.0, images=10)
    assert many is not None
    assert few is not None
    assert many.high == pytest.approx(1.967, abs=0.03)
    assert few.high == pytest.approx(2.262 * np.sqrt(10 / 9), abs=0.05)
    assert percentile_interval(np.array([np.nan]), 0.0, images=10) is None


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (counts(3, 0.8), counts(4, 0.8), "the same 2 or more images"),
        (counts(1, 0.8), counts(1, 0.8), "the same 2 or more images"),
        (counts(3, 0.8), 2 * counts(3, 0.8), "labelled pixels differ"),
    ],
)
def test_what_cannot_be_paired_is_refused(before: Counts, after: Counts, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_non_inferiority(before, after, names="abc", margin_points=0.5)
