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
    found = _mean(hard_examples=HardExamples(0.7, 1), class_weights=torch.tensor([3.0, 1.0]))
    assert found == pytest.approx(-(3 * math.log(0.5) + math.log(0.1)) / 4, rel=1e-6)


@pytest.mark.parametrize("options", [{"threshold": 0.0}, {"threshold": 1.5}, {"min_kept": 0}])
def test_wrong_options(options) -> None:
    with pytest.raises(ValueError, match="expected 0 < threshold <= 1 and min_kept"):
        HardExamples(**options)
