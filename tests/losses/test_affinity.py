"""Every fact of the affinity-regression loss, and its values from outside this project."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_losses import affinity_at, pair_loss, street, upsampled

from artoolkit.losses import (
    AffinityRegression,
    Points,
    affinity_regression,
    label_affinity,
    sqrt_affinity,
)
from artoolkit.losses.gram import point_losses
from artoolkit.losses.sampling import grid_pixels
from artoolkit.words import GRIDS

REFERENCE = np.load(Path(__file__).parent.parent / "data" / "ar_loss.npz")
CASES = json.loads(str(REFERENCE["cases"]))
SKEWED = [(0.64, 0.36, 0), (0.36, 0.64, 0), (0, 0, 1)]

# Points as probabilities, their labels, the loss with and without self pairs; by hand.
BY_HAND = [
    ([(0.9, 0.1), (0.1, 0.9)], [0, 1], 0.18, 0.36),
    ([(0.9, 0.1), (0.1, 0.9)], [1, 1], 0.08, 0.16),
    ([(0.5, 0.5), (0.5, 0.5)], [0, 1], 0.5, 1.0),
    (SKEWED[:2], [0, 1], 0.4608, 0.9216),
    (SKEWED, [0, 1, 2], 0.2048, 0.3072),
    (SKEWED, [0, 0, 2], 0.8 / 2250, 1.2 / 2250),
    (SKEWED, [0, 0, 255], 0.0008, 0.0016),
    ([(0.81, 0.16, 0.03), (0.25, 0.25, 0.5)], [2, 2], 0.025883929501, 0.051767859002),
    ([(0.25,) * 4] * 180, [i % 4 for i in range(180)], 0.75, 135 / 179),
]


def _as_image(points: list[tuple[float, ...]], labels: list[int]):
    """Points side by side in one row of pixels: logits 1 x C x 1 x N, labels 1 x 1 x N."""
    scores = torch.tensor(points, dtype=torch.float64).log().T[None, :, None]
    return scores.contiguous().requires_grad_(), torch.tensor(labels)[None, None]


@pytest.mark.parametrize(("points", "labels", "with_self", "without"), BY_HAND)
def test_values_by_hand(points, labels, with_self, without) -> None:
    scores, image = _as_image(points, labels)
    for include_self, expected in ((True, with_self), (False, without)):
        loss = affinity_regression(
            scores, image, grid="all", stride=1, align_corners=False, include_self=include_self
        )
        one, counted = point_losses(scores[:, :, 0], image[:, 0], Points(include_self=include_self))
        assert loss.item() == pytest.approx(expected, rel=1e-9)
        assert one.item() == pytest.approx(expected, rel=1e-9)
        assert counted.all()


@pytest.mark.parametrize(
    ("labels", "first"), [([0, 1], (-0.072, 0.072)), ([1, 1], (0.048, -0.048))]
)
def test_gradients_by_hand(labels, first) -> None:
    scores, image = _as_image([(0.9, 0.1), (0.1, 0.9)], labels)
    affinity_regression(scores, image, grid="all", align_corners=True).backward()
    a, b = first
    expected = torch.tensor([[a, b], [b, a]], dtype=torch.float64)
    torch.testing.assert_close(scores.grad[0, :, 0].T, expected)


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(str(v) for v in c.values()))
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_reference_values(case, dtype, rel) -> None:
    scores = torch.from_numpy(REFERENCE[f"score{case['case']}"]).to(dtype)
    labels = torch.from_numpy(REFERENCE[f"label{case['case']}"])
    options = {name: case[name] for name in ("grid", "align_corners", "include_self")}
    stride = 1 if case["grid"] == "all" else None
    loss = affinity_regression(scores, labels, stride=stride, **options)
    assert loss.dtype == dtype
    assert loss.item() == pytest.approx(case["loss"], rel=rel)


def test_sqrt_affinity_is_a_kernel() -> None:
    scores = 5 * torch.randn(3, 40, 6, dtype=torch.float64)
    affinity = sqrt_affinity(scores)
    assert torch.equal(affinity, affinity.transpose(1, 2))
    assert affinity.min() >= 0
    assert affinity.max() <= 1 + 1e-12
    torch.testing.assert_close(affinity.diagonal(dim1=1, dim2=2), torch.ones(3, 40).double())
    assert torch.linalg.eigvalsh(affinity).min() > -1e-12
    p = scores.softmax(-1)
    torch.testing.assert_close(affinity[0, 1, 2], (p[0, 1] * p[0, 2]).sqrt().sum())


def test_label_affinity_leaves_void_out() -> None:
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert label_affinity(torch.tensor([3, 3, 255, 0])).tolist() == expected
    assert label_affinity(torch.tensor([3, 3, 7, 0]), ignore_index=7).tolist() == expected


@pytest.mark.parametrize("grid", GRIDS)
def test_between_zero_and_one_minus_one_nth(grid) -> None:
    scores, labels = street(score_hw=(24, 28))
    labels = labels.where(labels != 255, 0)
    n = 168 if grid == "all" else 180
    stride = 2 if grid == "all" else None
    loss = affinity_regression(30 * scores, labels, grid=grid, stride=stride, align_corners=True)
    assert 0 < loss <= 1 - 1 / n
    perfect = 2e3 * torch.nn.functional.one_hot(labels.long()).permute(0, 3, 1, 2).double()
    perfect = perfect.float().requires_grad_()
    best = affinity_regression(perfect, labels, grid=grid, stride=stride, align_corners=True)
    best.backward()
    assert best == 0
    assert not perfect.grad.any()


def test_invariant_to_a_permutation_of_the_classes() -> None:
    scores, labels = street()
    names = torch.tensor([3, 0, 4, 1, 2])
    renamed = names[labels.long().clamp(max=4)].masked_fill(labels == 255, 255)
    moved = torch.empty_like(scores)
    moved[:, names] = scores
    for grid in ("center", "all"):
        torch.testing.assert_close(
            affinity_regression(moved, renamed, grid=grid, align_corners=False),
            affinity_regression(scores, labels, grid=grid, align_corners=False),
        )


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_gradient_of_one_point_is_at_most_two_nths(scale) -> None:
    scores = (scale * torch.randn(1, 4, 5, 6, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(0, 4, (1, 5, 6))
    affinity_regression(scores, labels, grid="all", align_corners=True).backward()
    assert scores.grad.norm(dim=1).max() <= 2 / 30


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("gap", [17.0, 93.0, 104.0, 1e4])
def test_gradients_are_finite_whatever_the_gap(grid, dtype, gap) -> None:
    signs = torch.randn(2, 3, 6, 7).sign()
    scores = (gap * signs).to(dtype).requires_grad_()
    labels = torch.randint(0, 3, (2, 24, 28))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype != torch.float32):
        loss = affinity_regression(scores, labels, grid=grid, align_corners=False)
    loss.backward()
    assert torch.isfinite(loss)
    assert loss.dtype == torch.float32
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("grid", GRIDS)
def test_minus_infinity_where_points_are_given_directly(grid) -> None:
    scores = torch.randn(1, 3, 12, 12).index_fill(1, torch.tensor(1), -math.inf).requires_grad_()
    labels = torch.randint(0, 3, (1, 12, 12))
    loss = affinity_regression(scores, labels, grid=grid, align_corners=True)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(grid, half) -> None:
    scores, labels = street()
    scores = scores.to(half).requires_grad_()

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(3)
        loss = affinity_regression(
            scores, labels, grid=grid, align_corners=True, generator=generator
        )
        return loss.detach(), torch.autograd.grad(loss, scores)[0]

    expected = run()
    with torch.autocast("cpu", dtype=half):
        found = run()
    assert expected[0].dtype == torch.float32
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize("grid", GRIDS)
def test_images_without_a_label_count_for_nothing(grid) -> None:
    scores, labels = street(batch=2)
    labels[1] = 255
    scores.requires_grad_()
    options = {"grid": grid, "align_corners": True}

    def loss_of(s: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return affinity_regression(s, y, generator=torch.Generator().manual_seed(0), **options)

    loss = loss_of(scores, labels)
    if grid != "jitter":  # whose points depend on the number of images
        torch.testing.assert_close(loss, loss_of(scores[:1], labels[:1]))
    loss.backward()
    assert scores.grad[0].any()
    assert not scores.grad[1].any()
    nothing = loss_of(scores, torch.full_like(labels, 255))
    assert nothing == 0
    assert not torch.autograd.grad(nothing, scores)[0].any()


def test_a_single_point_has_no_pair_but_itself() -> None:
    scores = torch.randn(1, 3, 1, 1, requires_grad=True)
    labels = torch.zeros(1, 1, 1, dtype=torch.uint8)
    for include_self in (True, False):
        loss = affinity_regression(
            scores, labels, grid="all", align_corners=True, include_self=include_self
        )
        assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("score_hw", [(6, 7), (7, 8), (24, 28), (40, 30)])
@pytest.mark.parametrize("grid", ["center", "paper"])
def test_four_taps_equal_upsample_then_sample(grid, score_hw, include_self, align_corners) -> None:
    scores, labels = street(score_hw=score_hw)
    scores.requires_grad_()
    points = grid_pixels((24, 28), Points(grid=grid), batch=2, device=scores.device)
    options = {"align_corners": align_corners, "include_self": include_self}
    rows, cols = points.rows.expand(2, -1), points.cols.expand(2, -1)
    plain = affinity_at(scores, labels, rows, cols, **options)
    loss = affinity_regression(scores, labels, grid=grid, **options)
    torch.testing.assert_close(loss, plain, rtol=1e-12, atol=0)
    found, expected = (torch.autograd.grad(value, scores)[0] for value in (loss, plain))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("score_hw", [(6, 7), (5, 9), (24, 28)])
@pytest.mark.parametrize("stride", [1, 3, 4])
def test_all_points_equal_every_pair(stride, score_hw, include_self, align_corners) -> None:
    scores, labels = street(score_hw=score_hw)
    scores.requires_grad_()
    rows, cols = torch.meshgrid(
        torch.arange(stride // 2, 24, stride), torch.arange(stride // 2, 28, stride), indexing="ij"
    )
    rows, cols = rows.reshape(1, -1).expand(2, -1), cols.reshape(1, -1).expand(2, -1)
    options = {"align_corners": align_corners, "include_self": include_self}
    plain = affinity_at(scores, labels, rows, cols, **options)
    loss = affinity_regression(scores, labels, grid="all", stride=stride, **options)
    torch.testing.assert_close(loss, plain, rtol=1e-12, atol=0)
    found, expected = (torch.autograd.grad(value, scores)[0] for value in (loss, plain))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("include_self", [True, False])
def test_gram_form_equals_pair_form(include_self) -> None:
    scores = 4 * torch.randn(1, 7, 60, dtype=torch.float64)
    for labels in (torch.randint(0, 7, (1, 60)), torch.randint(0, 7, (1, 60))):
        labels[:, ::3] = 255 if labels[0, 0] % 2 else labels[:, ::3]
        loss, _ = point_losses(scores, labels, Points(include_self=include_self))
        plain = pair_loss(scores[0].T, labels[0], include_self=include_self)
        torch.testing.assert_close(loss[0], plain, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("score_hw", "stride"), [((6, 7), 4), ((7, 8), 3), ((24, 28), 1), ((12, 14), 2)]
)
def test_default_stride_is_the_output_stride(score_hw, stride) -> None:
    scores, labels = street(score_hw=score_hw)
    chosen = affinity_regression(scores, labels, grid="all", stride=stride, align_corners=True)
    assert affinity_regression(scores, labels, grid="all", align_corners=True) == chosen
    other = affinity_regression(scores, labels, grid="all", stride=5, align_corners=True)
    assert other != chosen


@pytest.mark.parametrize("score_hw", [(2, 3), (5, 6)])
@pytest.mark.parametrize("grid", GRIDS)
def test_gradcheck(grid, score_hw) -> None:
    scores, labels = street(batch=1, classes=3, score_hw=score_hw, label_hw=(5, 6))
    stride = 2 if grid == "all" else None

    def loss(s: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        return affinity_regression(
            s,
            labels,
            grid=grid,
            sizes=(3, 2),
            stride=stride,
            align_corners=False,
            generator=generator,
        )

    assert torch.autograd.gradcheck(loss, scores.requires_grad_())


def test_module_equals_function() -> None:
    scores, labels = street()
    for options in (
        {"grid": "paper", "sizes": (5, 4), "include_self": False},
        {"grid": "all", "stride": 2, "ignore_index": 1},
    ):
        labels_in = labels.where(labels != 255, 1) if "ignore_index" in options else labels
        module = AffinityRegression(align_corners=True, **options)
        assert module(scores, labels_in) == affinity_regression(
            scores, labels_in, align_corners=True, **options
        )
        points = Points(align_corners=True, **options)
        assert AffinityRegression(points).points == module.points == points
        assert not module.state_dict()
    assert repr(points) in repr(module)


def test_by_default_the_pixels_of_scores_are_not_aligned_at_corners() -> None:
    scores, labels = street()
    default, aligned = (
        affinity_regression(scores, labels, **options) for options in ({}, {"align_corners": True})
    )
    assert default == affinity_regression(scores, labels, align_corners=False)
    assert default != aligned


@pytest.mark.parametrize("void", [-1, 255, 3])
def test_ignore_label_and_label_type(void) -> None:
    scores, labels = street()
    expected = affinity_regression(scores, labels.where(labels != 3, 255), align_corners=True)
    marked = labels.long().where((labels != 255) & (labels != 3), void)
    assert affinity_regression(scores, marked, align_corners=True, ignore_index=void) == expected


def test_upsampled_scores_give_the_same_loss() -> None:
    scores, labels = street()
    for grid in ("center", "all"):
        options = {"grid": grid, "stride": 4 if grid == "all" else None, "align_corners": False}
        torch.testing.assert_close(
            affinity_regression(upsampled(scores, labels, False), labels, **options),
            affinity_regression(scores, labels, **options),
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": "middle"}, "grid: got 'middle'; expected one of center, paper, jitter, all"),
        ({"sizes": ()}, r"sizes: got \(\); expected one or more integers of at least 1"),
        ({"sizes": (12, 0)}, r"sizes: got \(12, 0\)"),
        ({"stride": 4}, "stride: got 4 with grid 'center'; it belongs to the grid 'all'"),
        ({"grid": "all", "stride": 0}, "stride: got 0; expected an integer of at least 1"),
        ({"scores": torch.zeros(5, 6, 7)}, r"scores: got float32 of shape \(5, 6, 7\); expected"),
        ({"scores": torch.zeros(2, 5, 6, 7).long()}, "scores: got int64 of shape"),
        ({"labels": torch.zeros(2, 24, 28)}, r"labels: got float32 of shape \(2, 24, 28\)"),
        ({"labels": torch.zeros(24, 28).long()}, r"labels: got int64 of shape \(24, 28\)"),
        ({"labels": torch.zeros(3, 24, 28).long()}, "batch: got 2 score maps and 3 labels"),
        ({"labels": torch.full((2, 24, 28), 5)}, "labels: got 5; expected 0 to 4, or 255 for void"),
        ({"labels": torch.full((2, 24, 28), -1), "grid": "all"}, "labels: got -1; expected 0 to 4"),
    ],
)
def test_errors_say_what_is_wrong(change, message) -> None:
    scores, labels = street()
    arguments = {"scores": scores, "labels": labels, "align_corners": True, **change}
    with pytest.raises(ValueError, match=message):
        affinity_regression(**arguments)
