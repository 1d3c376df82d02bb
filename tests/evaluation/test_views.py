"""Views that cannot be, and those that can against the same computed by hand, window by window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from artoolkit.errors import UsageError
from artoolkit.evaluation.opening import open_predictor, predict
from artoolkit.evaluation.views import Views, window_starts
from artoolkit.labels import LabelTable
from artoolkit.networks import build
from artoolkit.networks.checkpoint import Checkpoint, CheckpointMeta
from artoolkit.preprocess import Preprocess, fill_color, fit_image

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
    (labels,) = predict(checkpoint, [image], views=views)
    assert np.array_equal(labels, expected)
    (whole,) = predict(checkpoint, [image])
    assert not np.array_equal(labels, whole)


def test_windows_at_two_scales_and_mirrored(
    checkpoint: Checkpoint, image: NDArray[np.uint8]
) -> None:
    """At half the size the image is smaller than a window: filled up with the mean color."""
    pixels, half = normalised(image), normalised(fit_image(image, (20, 25)))
    total = by_hand(checkpoint, pixels) + by_hand(checkpoint, pixels.flip(3)).flip(3)
    for flipped in (False, True):
        window = normalised(np.full((32, 32, 3), fill_color(Preprocess()), np.uint8))
        window[:, :, :20, :25] = half.flip(3) if flipped else half
        found = probabilities(checkpoint, window)[:, :, :20, :25]
        found = functional.interpolate(found, SIZE, mode="bilinear", align_corners=False)
        total += found.flip(3) if flipped else found
    views = Views(window=(32, 32), scales=(1.0, 0.5), flip=True)
    (labels,) = predict(checkpoint, [image], views=views)
    best = total.topk(2, dim=1).values[0]
    tied = (best[0] - best[1]).numpy() < 1e-5
    assert ((labels == total.argmax(1)[0].numpy()) | tied).all()
    assert tied.mean() < 0.01


def test_a_window_of_the_image_is_the_image(
    checkpoint: Checkpoint, image: NDArray[np.uint8]
) -> None:
    (windowed,) = predict(checkpoint, [image], views=Views(window=SIZE))
    (whole,) = predict(checkpoint, [image])
    assert np.array_equal(windowed, whole)


def test_mirroring_makes_the_prediction_mirror(checkpoint: Checkpoint) -> None:
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    views = Views(flip=True, scales=(0.75, 1.0))
    labels, mirrored = predict(checkpoint, [image, image[:, ::-1]], views=views)
    assert (labels == mirrored[:, ::-1]).mean() > 0.999


def test_a_window_that_the_network_cannot_see_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(UsageError) as refused:
        open_predictor(checkpoint, views=Views(window=(16, 40)))
    assert (refused.value.got, refused.value.expected) == ("16 x 40", "at least 32 x 32")


def test_pspnets_windows_on_cityscapes() -> None:
    """713 pixels, overlap of a third: the positions of the published evaluation."""
    views = Views(window=(713, 713))
    assert views.steps == (476, 476)
    assert list(window_starts(1024, 713, 476)) == [0, 311]
    assert list(window_starts(2048, 713, 476)) == [0, 476, 952, 1335]


@pytest.mark.parametrize("size", range(1, 40, 3))
@pytest.mark.parametrize(("window", "step"), [(8, 8), (8, 5), (9, 1)])
def test_every_pixel_is_seen_and_no_window_leaves_the_image(
    size: int, window: int, step: int
) -> None:
    seen = np.zeros(max(size, window), int)
    for start in window_starts(size, window, step):
        assert 0 <= start <= max(size - window, 0)
        seen[start : start + window] += 1
    assert seen.all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scales": ()}, "scales must be positive"),
        ({"scales": (0.0,)}, "scales must be positive"),
        ({"stride": (8, 8)}, "a window stride belongs to a window"),
        ({"window": (8, 8), "stride": (8, 9)}, "leaves pixels out"),
        ({"window": (0, 8)}, "leaves pixels out"),
    ],
)
def test_views_that_cannot_be(values: dict[str, tuple[float, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Views(**values)
