"""The node that computes cross-entropy and reads the points of the affinity loss."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from plain_losses import cross_entropy, street, upsampled

from artoolkit.losses import Points, pixelwise, reading
from artoolkit.losses.pixelwise import pixel_losses
from artoolkit.losses.sampling import grid_pixels

SIZES = [(6, 7), (7, 9), (24, 28), (30, 20)]


def _losses(scores, labels, align_corners=False, **options):
    return pixel_losses(scores, labels, align_corners=align_corners, ignore_index=255, **options)


@pytest.fixture(params=[1, 1 << 20], ids=["row-by-row", "one-block"])
def block_bytes(request, monkeypatch) -> int:
    monkeypatch.setitem(reading.BLOCK_BYTES, "cpu", request.param)
    return request.param


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("score_hw", SIZES)
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_equal_to_two_branches(score_hw, align_corners, scale) -> None:
    scores, labels = street(score_hw=score_hw)
    scores = (scale * scores).requires_grad_()
    points = grid_pixels((24, 28), Points(), batch=2, device=scores.device)
    per_pixel, at_points = _losses(scores, labels, align_corners, pixels=points)
    full = upsampled(scores, labels, align_corners)
    plain = F.cross_entropy(full, labels.long(), ignore_index=255, reduction="none")
    torch.testing.assert_close(per_pixel, plain, rtol=1e-12, atol=1e-12 * scale)
    sampled = full[:, :, points.rows[0], points.cols[0]]
    torch.testing.assert_close(at_points, sampled, rtol=1e-12, atol=1e-12 * scale)

    def gradient(losses, values):
        pull = torch.linspace(-1, 1, values.numel(), dtype=torch.float64).view_as(values)
        total = (losses * losses.detach().sin()).sum() + (values * pull).sum()
        return torch.autograd.grad(total, scores)[0]

    expected = gradient(plain, sampled)
    found = gradient(per_pixel, at_points)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12 * scale)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("score_hw", [(2, 3), (5, 6)])
def test_gradcheck(score_hw, smoothing) -> None:
    scores, labels = street(batch=1, classes=3, score_hw=score_hw, label_hw=(5, 6))
    points = grid_pixels((5, 6), Points(grid="jitter", sizes=(2,)), batch=1, device=scores.device)
    assert torch.autograd.gradcheck(
        lambda s: _losses(s, labels, pixels=points, smoothing=smoothing), scores.requires_grad_()
    )


@pytest.mark.parametrize("score_hw", SIZES)
def test_smoothed_labels_are_those_of_torch(score_hw) -> None:
    scores, labels = street(score_hw=score_hw)
    scores.requires_grad_()
    found = _losses(scores, labels, True, smoothing=0.1)[0]
    plain = F.cross_entropy(
        upsampled(scores, labels, True), labels.long(), ignore_index=255, reduction="none",
        label_smoothing=0.1,
    )  # fmt: skip
    torch.testing.assert_close(found, plain, rtol=1e-12, atol=1e-12)
    one, other = (torch.autograd.grad(loss.sum(), scores)[0] for loss in (found, plain))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("score_hw", [(6, 7), (24, 28)])
def test_either_output_alone_has_its_gradient(score_hw) -> None:
    scores, labels = street(score_hw=score_hw)
    scores.requires_grad_()
    points = grid_pixels((24, 28), Points(sizes=(3,)), batch=2, device=scores.device)
    losses, values = _losses(scores, labels, pixels=points)
    both = torch.autograd.grad(losses.sum() + values.sum(), scores, retain_graph=True)[0]
    one = torch.autograd.grad(losses.sum(), scores, retain_graph=True)[0]
    other = torch.autograd.grad(values.sum(), scores, retain_graph=True)[0]
    torch.testing.assert_close(one + other, both)
    again = torch.autograd.grad(losses.sum() + values.sum(), scores)[0]
    assert torch.equal(again, both)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("score_hw", [(6, 7), (24, 28)])
def test_half_precision_scores_are_computed_in_float32(score_hw, dtype) -> None:
    scores, labels = street(score_hw=score_hw)
    scores = scores.to(dtype).requires_grad_()
    expected = cross_entropy(scores.detach().float(), labels, align_corners=False)
    with torch.autocast("cpu", dtype=dtype):
        losses, _ = _losses(scores, labels)
    losses.sum().backward()
    assert losses.dtype == torch.float32
    assert scores.grad.dtype == dtype
    torch.testing.assert_close(losses.sum() / (labels != 255).sum(), expected)


@pytest.mark.parametrize("level", [-1e4, -200.0, 200.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_common_offset_of_the_scores_changes_nothing(level, dtype) -> None:
    """Scores far from 0 leave the range where exp may be taken of them as they are."""
    scores, labels = street(score_hw=(24, 28))
    base = scores.to(dtype)
    moved = (base + level).requires_grad_()
    losses, _ = _losses(moved, labels)
    losses.sum().backward()
    base.requires_grad_()
    expected, _ = _losses(base, labels)
    expected.sum().backward()
    tolerance = 4 * abs(level) * torch.finfo(dtype).eps
    torch.testing.assert_close(losses, expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(moved.grad, base.grad, rtol=0, atol=tolerance)


def test_an_impossible_class_costs_infinitely_much_and_has_a_gradient() -> None:
    scores = torch.zeros(1, 3, 2, 2).index_fill(1, torch.tensor(2), -math.inf).requires_grad_()
    losses, _ = _losses(scores, torch.tensor([[[0, 2], [1, 255]]]))
    assert losses[0, 0, 1] == math.inf
    assert losses[0, 1, 1] == 0
    losses.sum().backward()
    assert torch.isfinite(scores.grad).all()
    assert not scores.grad[..., 1, 1].any()


def test_no_second_derivative_is_claimed() -> None:
    scores, labels = street()
    losses, _ = _losses(scores.requires_grad_(), labels)
    (first,) = torch.autograd.grad(losses.sum(), scores, create_graph=True)
    with pytest.raises(RuntimeError, match="pixel_losses_backward"):
        torch.autograd.grad(first.sum(), scores)


def test_memory_layout_does_not_matter() -> None:
    scores, labels = street()
    last = scores.to(memory_format=torch.channels_last)
    torch.testing.assert_close(_losses(last, labels)[0], _losses(scores, labels)[0])


@pytest.mark.slow
@pytest.mark.parametrize("score_hw", [(2, 3), (5, 6)])
def test_operators_are_described_rightly_to_the_compiler(score_hw) -> None:
    scores, labels = street(batch=1, classes=3, score_hw=score_hw, label_hw=(5, 6))
    points = grid_pixels((5, 6), Points(sizes=(2,)), batch=1, device=scores.device)
    arguments = (scores.requires_grad_(), labels, points.rows, points.cols, False, 255, 0.1)
    found = torch.library.opcheck(pixelwise._forward, arguments)
    assert set(found.values()) == {"SUCCESS"}
