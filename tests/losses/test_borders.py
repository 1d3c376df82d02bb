"""Boundary and detail terms against their published definitions, written out with other means."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from plain_losses import street, upsampled
from torch import Tensor
from torch.nn import functional as F

from artoolkit.losses import Objective, WeightedTerm
from artoolkit.losses.borders import detail_map, edge_map

PLAIN = [
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 1, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 255],
]


def labels_of(seed: int = 0, label_hw: tuple[int, int] = (24, 28)) -> np.ndarray:
    return street(seed=seed, label_hw=label_hw)[1].numpy()[0]


def edges_by_shifts(labels: np.ndarray) -> np.ndarray:
    """The same definition pixel by pixel, and OpenCV's dilation."""
    height, width = labels.shape
    edges = np.zeros(labels.shape, np.uint8)
    for y, x in np.ndindex(height, width):
        for dy, dx in ((-1, 0), (0, 1), (1, 1), (1, -1)):
            if 0 <= y + dy < height and 0 <= x + dx < width:
                one, other = labels[y, x], labels[y + dy, x + dx]
                edges[y, x] |= one != other and 255 not in (one, other)
    return cv2.dilate(edges, np.ones((4, 4), np.uint8))


@pytest.mark.parametrize("seed", [0, 1])
def test_edges_are_where_neighbours_differ_grown_by_four(seed: int) -> None:
    labels = labels_of(seed)
    found = edge_map(labels)
    assert found.dtype == np.uint8
    assert 0 < found.mean() < 1
    np.testing.assert_array_equal(found, edges_by_shifts(labels))


def test_void_has_no_edges() -> None:
    labels = np.array(PLAIN, np.uint8)
    found = edge_map(labels)
    np.testing.assert_array_equal(found, edges_by_shifts(labels))
    assert not edge_map(np.where(labels == 1, 255, labels)).any()


def details_by_convolution(labels: np.ndarray) -> np.ndarray:
    """The published pyramid with its three strides and weights."""
    kernel = -torch.ones(1, 1, 3, 3)
    kernel[0, 0, 1, 1] = 8
    image = torch.from_numpy(labels.astype(np.float32))[None, None]
    maps = []
    for stride in (1, 2, 4):
        borders = (F.conv2d(image, kernel, stride=stride, padding=1) > 0.1).float()
        maps.append(F.interpolate(borders, labels.shape, mode="nearest"))
    weights = torch.tensor([0.6, 0.3, 0.1]).reshape(3, 1, 1, 1, 1)
    return ((torch.stack(maps) * weights).sum(0)[0, 0] > 0.1).numpy().astype(np.uint8)


@pytest.mark.parametrize("label_hw", [(24, 28), (25, 27)])
def test_details_are_the_published_pyramid(label_hw: tuple[int, int]) -> None:
    for seed in range(3):
        labels = labels_of(seed, label_hw)
        found = detail_map(labels)
        assert 0 < found.mean() < 1
        np.testing.assert_array_equal(found, details_by_convolution(labels))
    np.testing.assert_array_equal(
        detail_map(np.array(PLAIN, np.uint8)), details_by_convolution(np.array(PLAIN))
    )


def term(kind: str, outputs: dict[str, Tensor], labels: Tensor, **use) -> Tensor:
    weights = use.pop("class_weights", None)
    objective = Objective(
        {kind: WeightedTerm(kind=kind, **use)}, align_corners=True, class_weights=weights
    )
    maps = {
        name: torch.from_numpy(np.stack([make(image) for image in labels.numpy()]))
        for name, make in objective.maps.items()
    }
    return objective(outputs, labels, maps)[kind]


def heads(channels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    _, labels = street(seed=seed)
    return torch.randn(2, channels, 6, 7, dtype=torch.float64, requires_grad=True), labels


def test_boundary_cross_entropy_weighs_edges_against_the_rest() -> None:
    logits, labels = heads(1)
    edges = torch.from_numpy(np.stack([edge_map(image) for image in labels.numpy()])).double()
    share = edges.mean()
    expected = F.binary_cross_entropy_with_logits(
        upsampled(logits, labels, True)[:, 0],
        edges,
        weight=torch.where(edges == 1, 1 - share, share),
    )
    found = term("boundary_cross_entropy", {"boundary": logits}, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    found.backward()
    assert logits.grad.abs().sum() > 0


def test_border_cross_entropy_keeps_hard_pixels_of_sure_borders() -> None:
    scores, labels = street()
    scores.requires_grad_()
    logits = 3 * heads(1)[0].detach()
    class_weights = torch.linspace(0.5, 1.5, 5)
    full = upsampled(scores, labels, True)
    sure = upsampled(logits, labels, True)[:, 0].sigmoid() > 0.8
    kept = sure & (labels != 255)
    assert 50 < kept.sum() < kept.numel() / 2
    target = labels.long().where(kept, 255)
    losses = F.cross_entropy(full, target, reduction="none", ignore_index=255)
    own = (-losses).exp().where(kept, 2)
    limit = max(0.5, own.flatten().sort().values[20].item())
    hard = own < limit
    weighted = losses * class_weights.double()[target.where(kept, 0)]
    found = term(
        "border_cross_entropy",
        {"main": scores, "boundary": logits},
        labels,
        class_weights=class_weights,
        options={"ohem": {"threshold": 0.5, "min_kept": 20}, "mean_over": "kept"},
    )
    assert found.item() == pytest.approx(weighted[hard].mean().item(), rel=1e-6)
    found.backward()
    assert scores.grad.abs().sum() > 0
    plain = term("border_cross_entropy", {"main": scores, "boundary": logits}, labels)
    assert plain.item() == pytest.approx(losses[kept].mean().item(), rel=1e-6)
    nowhere = {"main": scores, "boundary": torch.full_like(logits, -9)}
    assert term("border_cross_entropy", nowhere, labels).item() == 0


def test_detail_terms_compare_both_planes() -> None:
    logits, labels = heads(2)
    border = torch.from_numpy(np.stack([detail_map(image) for image in labels.numpy()])).long()
    truth = F.one_hot(border, 2).permute(0, 3, 1, 2).double()
    full = upsampled(logits, labels, True)
    found = term("detail_cross_entropy", {"detail": logits}, labels)
    expected = F.binary_cross_entropy_with_logits(full, truth)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    dice = []
    for p, t in zip(full.sigmoid(), truth, strict=True):
        dice.append(1 - 2 * (p * t).sum() / ((p * p).sum() + 1e-3 + (t * t).sum() + 1e-3))
    found = term("detail_dice", {"detail": logits}, labels)
    assert found.item() == pytest.approx((sum(dice) / 2).item(), rel=1e-6)
    found.backward()
    assert logits.grad.abs().sum() > 0


def test_sigmoid_cross_entropy_is_one_binary_per_class() -> None:
    scores, labels = street()
    labelled = labels != 255
    truth = F.one_hot(labels.long().where(labelled, 0), 5).permute(0, 3, 1, 2).double()
    losses = F.binary_cross_entropy_with_logits(
        upsampled(scores, labels, True), truth, reduction="none"
    )
    expected = (losses * labelled[:, None]).mean()
    found = term("sigmoid_cross_entropy", {"main": scores}, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_gradients_of_the_new_terms() -> None:
    _, labels = street(batch=1, label_hw=(12, 14))
    for kind, output, channels in (
        ("boundary_cross_entropy", "boundary", 1),
        ("detail_dice", "detail", 2),
        ("sigmoid_cross_entropy", "main", 5),
    ):
        logits = torch.randn(1, channels, 3, 4, dtype=torch.float64, requires_grad=True)

        def loss(x: Tensor, kind: str = kind, output: str = output) -> Tensor:
            return term(kind, {output: x}, labels).double()

        assert torch.autograd.gradcheck(loss, (logits,)), kind
