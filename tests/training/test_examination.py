from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from streets import TABLE, Streets

from artoolkit.errors import DataError
from artoolkit.evaluation.boundary import boundary_and_interior
from artoolkit.losses import affinity_regression
from artoolkit.networks import Network
from artoolkit.training.assembly import build_network
from artoolkit.training.engine import evaluate, predictions
from artoolkit.training.examination import Examination, examine
from artoolkit.training.loader import EvaluationImages, evaluation_loader, fetched
from artoolkit.training.recipe import Recipe

CPU = torch.device("cpu")
STREETS = Streets()


def batches() -> object:
    images = EvaluationImages(STREETS, STREETS.samples("val"))
    return fetched(evaluation_loader(images, workers=0))


@pytest.fixture(scope="module")
def network(tiny: Callable[..., Recipe]) -> Network:
    return build_network(tiny(), TABLE, seed=1)


def test_miou_is_that_of_the_evaluation_and_the_parts_add_up(network: Network) -> None:
    found = examine(network, batches(), device=CPU)
    usual = evaluate(network, batches(), ["val_0", "val_1"], device=CPU).matrices.sum(0)
    np.testing.assert_array_equal(found.whole, usual)
    np.testing.assert_array_equal(found.boundary + found.interior, usual)
    assert found.boundary.sum() > 0 and found.interior.sum() > 0
    labelled = [boundary_and_interior(STREETS.read_label(s))[0] for s in STREETS.samples("val")]
    assert found.boundary.sum() == sum((one != 255).sum() for one in labelled)


def test_the_loss_is_that_of_all_points_of_every_image(network: Network) -> None:
    found = examine(network, batches(), device=CPU)
    expected = [
        affinity_regression(
            scores, torch.from_numpy(truth.astype(np.int64))[None], grid="all",
            align_corners=network.align_corners,
        ).item()
        for scores, _, truth in predictions(network, batches(), device=CPU)
    ]  # fmt: skip
    assert found.affinities == pytest.approx(expected)
    summary = found.summary(TABLE)
    assert summary["affinity_regression"] == pytest.approx(np.mean(expected))


def test_an_image_without_labels_counts_nowhere(network: Network) -> None:
    void = (torch.zeros(1, 40, 56, 3, dtype=torch.uint8), torch.full((1, 40, 56), 255).byte())
    seen: list[int] = []
    found = examine(network, [void, *batches()], device=CPU, progress=seen.append)
    assert seen == [1, 2, 3]
    assert len(found.affinities) == 2
    with pytest.raises(DataError, match="no pixel of the validation images is labelled"):
        examine(network, [void], device=CPU).summary(TABLE)


def test_what_is_not_there_is_none_not_a_number() -> None:
    found = Examination(3)
    found.whole[0, 0] = found.interior[0, 0] = 4
    summary = found.summary(TABLE)
    assert (summary["mIoU"], summary["IoU.b"]) == (100.0, None)
    assert (summary["boundary_mIoU"], summary["interior_mIoU"]) == (None, 100.0)
    assert (summary["share.a"], summary["share.b"]) == (100.0, 0.0)
    assert summary["boundary_IoU.a"] is None
    assert summary["affinity_regression"] is None
