from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from streets import TABLE, Streets

from artoolkit.data import Sample
from artoolkit.errors import DataError
from artoolkit.evaluation.boundary import boundary_and_interior
from artoolkit.evaluation.predictor import NetworkPredictor
from artoolkit.evaluation.quality import judged
from artoolkit.labels import VOID
from artoolkit.losses import affinity_regression
from artoolkit.metrics import confusion_matrix
from artoolkit.networks import Network
from artoolkit.training.assembly import build_network
from artoolkit.training.examination import Examination, examine
from artoolkit.training.recipe import Recipe

STREETS = Streets()


SAMPLES = STREETS.samples("val")


@pytest.fixture(scope="module")
def network(tiny: Callable[..., Recipe]) -> Network:
    return build_network(tiny(), TABLE, seed=1)


def test_every_part_is_counted_as_by_itself(network: Network) -> None:
    found = examine(network, STREETS, SAMPLES)
    whole, boundary, interior = (np.zeros((3, 4), np.int64) for _ in range(3))
    with NetworkPredictor(network, TABLE) as predictor:
        for one in judged(predictor, STREETS, SAMPLES):
            whole += one.counts
            parts = boundary_and_interior(one.label)
            for matrix, labels in zip((boundary, interior), parts, strict=True):
                matrix += confusion_matrix(one.predicted, labels, num_classes=3)
    np.testing.assert_array_equal(found.whole, whole)
    np.testing.assert_array_equal(found.boundary, boundary)
    np.testing.assert_array_equal(found.interior, interior)
    assert found.boundary.sum() > 0 and found.interior.sum() > 0


def test_the_loss_is_that_of_all_points_of_every_image(network: Network) -> None:
    found = examine(network, STREETS, SAMPLES)
    predictor = NetworkPredictor(network, TABLE)
    expected = [
        affinity_regression(
            predictor.scores(STREETS.read_image(sample)),
            torch.from_numpy(STREETS.read_label(sample).astype(np.int64))[None],
            grid="all",
            align_corners=network.align_corners,
        ).item()
        for sample in SAMPLES
    ]
    assert found.affinities == pytest.approx(expected)
    summary = found.summary(TABLE)
    assert summary["affinity_regression"] == pytest.approx(np.mean(expected))


@dataclass(frozen=True)
class FirstIsVoid(Streets):
    """The first validation image has no label."""

    def read_label(self, sample: Sample) -> NDArray[np.uint8]:
        labels = super().read_label(sample)
        return np.full_like(labels, VOID) if sample.name == "val_0" else labels


def test_an_image_without_labels_counts_nowhere(network: Network) -> None:
    seen: list[int] = []
    found = examine(network, FirstIsVoid(), SAMPLES, progress=seen.append)
    assert seen == [1, 2]
    assert len(found.affinities) == 1
    with pytest.raises(DataError, match="no pixel of the validation images is labelled"):
        examine(network, FirstIsVoid(), SAMPLES[:1]).summary(TABLE)


def test_what_is_not_there_is_none_not_a_number() -> None:
    found = Examination(3)
    found.whole[0, 0] = found.interior[0, 0] = 4
    summary = found.summary(TABLE)
    assert (summary["mIoU"], summary["IoU.b"]) == (100.0, None)
    assert (summary["boundary_mIoU"], summary["interior_mIoU"]) == (None, 100.0)
    assert (summary["share.a"], summary["share.b"]) == (100.0, 0.0)
    assert summary["boundary_IoU.a"] is None
    assert summary["affinity_regression"] is None
