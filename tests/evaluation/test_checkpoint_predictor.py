"""Scales, mirrored images and windows, against the same computed window by window by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from artoolkit.errors import BackendError, UsageError
from artoolkit.evaluation.checkpoint_predictor import checkpoint_predictor
from artoolkit.evaluation.views import Views
from artoolkit.labels import LabelTable
from artoolkit.networks import build
from artoolkit.networks.checkpoint import Checkpoint, CheckpointMeta
from artoolkit.preprocess import fit_image

THREE = LabelTable(name="three", names=tuple("abc"), colors=((1, 2, 3),) * 3, file_ids=(0, 1, 2))
SIZE = (40, 50)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    network = build("own_network:Plain", num_classes=3)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    network.module.head.bias.data.zero_()
    meta = CheckpointMeta(
        network=network.name, num_classes=3, labels=THREE, preprocess=network.preprocess
    )
    return Checkpoint(meta, network.state_dict())


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    coarse = np.random.default_rng(0).integers(0, 256, (8, 10, 3))
    return coarse.repeat(5, 0).repeat(5, 1).astype(np.uint8)


def normalised(image: NDArray[np.uint8]) -> torch.Tensor:
    mean = torch.tensor([123.675, 116.28, 103.53])
    std = torch.tensor([58.395, 57.12, 57.375])
    return ((torch.tensor(image).float() - mean) / std).permute(2, 0, 1)[None]


def probabilities(checkpoint: Checkpoint, window: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        scores = checkpoint.network()(window)
    size = window.shape[2:]
    return functional.interpolate(scores, size, mode="bilinear", align_corners=False).softmax(1)


def by_hand(checkpoint: Checkpoint, pixels: torch.Tensor) -> torch.Tensor:
    """Windows of 32 x 32 every 22 on 40 x 50 pixels: rows from 0 and 8, columns from 0 and 18."""
    total, count = torch.zeros(1, 3, *SIZE), np.zeros(SIZE)
    for top in (0, 8):
        for left in (0, 18):
            window = pixels[:, :, top : top + 32, left : left + 32]
            total[:, :, top : top + 32, left : left + 32] += probabilities(checkpoint, window)
            count[top : top + 32, left : left + 32] += 1
    assert sorted(np.unique(count)) == [1, 2, 4]
    return total / torch.from_numpy(count).float()


def test_windows_are_averaged_where_they_overlap(
    checkpoint: Checkpoint, image: NDArray[np.uint8]
) -> None:
    expected = by_hand(checkpoint, normalised(image)).argmax(1)[0].numpy()
    assert len(np.unique(expected)) > 1
    views = Views(window=(32, 32))
    assert views.steps == (22, 22)
    (labels,) = checkpoint_predictor(checkpoint, views=views)([image])
    assert np.array_equal(labels, expected)
    (whole,) = checkpoint_predictor(checkpoint)([image])
    assert not np.array_equal(labels, whole)


def test_windows_at_two_scales_and_mirrored(
    checkpoint: Checkpoint, image: NDArray[np.uint8]
) -> None:
    """At half the size the image is smaller than a window: filled up with the mean colour."""
    pixels, half = normalised(image), normalised(fit_image(image, (20, 25)))
    total = by_hand(checkpoint, pixels) + by_hand(checkpoint, pixels.flip(3)).flip(3)
    for flipped in (False, True):
        window = torch.zeros(1, 3, 32, 32)
        window[:, :, :20, :25] = half.flip(3) if flipped else half
        found = probabilities(checkpoint, window)[:, :, :20, :25]
        found = functional.interpolate(found, SIZE, mode="bilinear", align_corners=False)
        total += found.flip(3) if flipped else found
    views = Views(window=(32, 32), scales=(1.0, 0.5), flip=True)
    (labels,) = checkpoint_predictor(checkpoint, views=views)([image])
    best = total.topk(2, dim=1).values[0]
    tied = (best[0] - best[1]).numpy() < 1e-5
    assert ((labels == total.argmax(1)[0].numpy()) | tied).all()
    assert tied.mean() < 0.01


def test_a_window_of_the_image_is_the_image(
    checkpoint: Checkpoint, image: NDArray[np.uint8]
) -> None:
    (windowed,) = checkpoint_predictor(checkpoint, views=Views(window=SIZE))([image])
    (whole,) = checkpoint_predictor(checkpoint)([image])
    assert np.array_equal(windowed, whole)


def test_what_the_network_cannot_see_is_said(checkpoint: Checkpoint) -> None:
    with pytest.raises(UsageError, match=r"got 16 x 40; expected at least 32 x 32"):
        checkpoint_predictor(checkpoint, views=Views(window=(16, 40)))
    if not torch.cuda.is_available():
        with pytest.raises(BackendError, match="no GPU here"):
            checkpoint_predictor(checkpoint, device="cuda:0")
