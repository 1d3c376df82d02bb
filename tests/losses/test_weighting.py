"""Which pixels the mean is taken over."""

from __future__ import annotations

import math

import pytest
import torch

from artoolkit.losses.weighting import HardExamples, total_and_count

# Own-class probabilities .9 .8 .5 .1, and a void pixel.
LOSSES = -torch.tensor([[[0.9, 0.8, 0.5, 0.1, 1.0]]]).log()
LABELS = torch.tensor([[[0, 1, 0, 1, 255]]])


def _mean(**options) -> float:
    total, count = total_and_count(LOSSES, LABELS, ignore_index=255, **options)
    return (total / count).item()


def _expected(*probabilities: float) -> float:
    return pytest.approx(-sum(map(math.log, probabilities)) / len(probabilities), rel=1e-6)


def test_labelled_pixels() -> None:
    assert _mean() == _expected(0.9, 0.8, 0.5, 0.1)


@pytest.mark.parametrize(
    ("threshold", "min_kept", "kept"),
    [
        (0.7, 1, (0.5, 0.1)),
        (0.05, 1, (0.1,)),
        (0.05, 3, (0.8, 0.5, 0.1)),
        (0.7, 1000, (0.9, 0.8, 0.5, 0.1)),
        (1.0, 1, (0.9, 0.8, 0.5, 0.1)),
    ],
)
def test_hard_examples(threshold, min_kept, kept) -> None:
    assert _mean(hard_examples=HardExamples(threshold, min_kept)) == _expected(*kept)


def test_hard_examples_with_class_weights() -> None:
    found = _mean(
        hard_examples=HardExamples(0.7, 1), weights=torch.tensor([3.0, 1.0])[LABELS % 255]
    )
    assert found == pytest.approx(-(3 * math.log(0.5) + math.log(0.1)) / 4, rel=1e-6)


@pytest.mark.parametrize(("mean_over", "divisor"), [("weights", 3 + 1), ("kept", 2), ("all", 5)])
def test_what_the_mean_is_over(mean_over, divisor) -> None:
    """Of two pixels kept of five, one of them of a class that weighs 3."""
    found = _mean(
        hard_examples=HardExamples(0.7, 1),
        weights=torch.tensor([3.0, 1.0])[LABELS % 255],
        mean_over=mean_over,
    )
    assert found == pytest.approx(-(3 * math.log(0.5) + math.log(0.1)) / divisor, rel=1e-6)


def test_least_pixels_are_those_of_the_batch_or_of_each_image() -> None:
    assert HardExamples(min_kept=101).least(4, 2) == 51
    assert HardExamples(min_kept=101, per_image=True).least(4, 2) == 404
    two = torch.cat([LOSSES, LOSSES]), torch.cat([LABELS, LABELS])
    for per_image, kept in ((False, 2), (True, 4)):
        hard = HardExamples(0.01, 2, per_image=per_image)
        _, count = total_and_count(*two, ignore_index=255, hard_examples=hard, mean_over="kept")
        assert count == kept


@pytest.mark.parametrize("options", [{"threshold": 0.0}, {"threshold": 1.5}, {"min_kept": 0}])
def test_wrong_options(options) -> None:
    with pytest.raises(ValueError, match="expected 0 < threshold <= 1 and min_kept"):
        HardExamples(**options)
