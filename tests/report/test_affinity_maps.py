"""The maps of Figure 4 are those of the loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from artoolkit import losses
from artoolkit.report.affinity_maps import center_pixels, label_affinity, scores_at, sqrt_affinity


def test_grid_rows_are_the_papers_at_cell_centres() -> None:
    points = center_pixels((1024, 2048), losses.Points())
    assert points.shape == (180, 2)
    assert sorted(set(points[:144, 0])) == [
        42, 128, 213, 298, 384, 469, 554, 640, 725, 810, 896, 981
    ]  # fmt: skip
    assert sorted(set(points[144:, 0])) == [85, 256, 426, 597, 768, 938]


@pytest.mark.parametrize("align_corners", [True, False])
def test_four_taps_are_torchs_upsampling(align_corners: bool) -> None:
    scores = np.random.default_rng(0).normal(size=(5, 7, 9))
    points = losses.Points(align_corners=align_corners)
    pixels = center_pixels((28, 40), points)
    full = torch.nn.functional.interpolate(
        torch.from_numpy(scores)[None], (28, 40), mode="bilinear", align_corners=align_corners
    )[0].numpy()
    found = scores_at(scores, pixels, (28, 40), points)
    assert found == pytest.approx(full[:, pixels[:, 0], pixels[:, 1]].T, abs=1e-12)


def test_affinities_by_hand_and_as_the_loss_has_them() -> None:
    scores = np.log(np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]]))
    found = sqrt_affinity(scores)
    assert found[0, 1] == pytest.approx(0.6)
    assert np.diag(found) == pytest.approx(np.ones(3))
    theirs = losses.sqrt_affinity(torch.from_numpy(scores)).numpy()
    assert found == pytest.approx(theirs, abs=1e-12)


def test_void_points_have_no_label_affinity() -> None:
    labels = np.array([[0, 1], [255, 0]], np.uint8)
    points = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    found = label_affinity(labels, points)
    assert np.isnan(found[2]).all()
    assert np.isnan(found[:, 2]).all()
    assert found[0, [0, 1, 3]].tolist() == [1, 0, 1]
