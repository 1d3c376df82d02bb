"""All pairs of points without the N x N matrix of pairs.

With S the rows s_i = sqrt(p_i) of N points, Y their one-hot labels and n_c the class counts,

    sum_ij (A_ij - M_ij)^2 = |S^T S|^2 + sum_c n_c^2 - 2 |S^T Y|^2

so that C x C sums over the points are all that is needed: O(N C^2) instead of O(N^2 C), and the
points may come block by block. `point_losses` takes the points as a tensor; `lattice_losses` reads
them from the score map, holds one block at a time and reads them again for the gradient, so that
memory does not grow with their number.

B batch, C classes, h w score pixels, H W label pixels, N points, n points of a block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from artoolkit.losses.points import Points
from artoolkit.losses.precision import accumulation_dtype, full_precision
from artoolkit.losses.reading import own_class, reading


def sqrt_probabilities(scores: Tensor, *, dim: int) -> Tensor:
    """sqrt(softmax(scores)), at least float32, with finite gradients for any finite scores."""
    # sqrt(softmax(z)) itself has NaN gradients once a probability underflows.
    return torch.exp(0.5 * torch.log_softmax(scores.to(accumulation_dtype(scores.dtype)), dim))


def point_losses(scores: Tensor, labels: Tensor, points: Points) -> tuple[Tensor, Tensor]:
    """Scores B x C x N and labels B x N of points -> loss and whether it counts, both B."""
    valid = (labels != points.ignore_index).unsqueeze(1)
    # Masked before the softmax, not only after: whatever a void point's scores are, no gradient.
    roots = sqrt_probabilities(torch.where(valid, scores, 0), dim=1) * valid
    ids = torch.arange(scores.shape[1], device=labels.device)
    one_hot = ((labels.unsqueeze(1) == ids.unsqueeze(1)) & valid).double()
    # float64 costs nothing on so few points, and autocast and TF32 leave it alone.
    wide = roots.double()
    losses, counted = _losses(
        wide @ wide.transpose(1, 2),
        wide @ one_hot.transpose(1, 2),
        one_hot.sum(2),
        include_self=points.include_self,
    )
    return losses.to(roots.dtype), counted


def lattice_losses(
    scores: Tensor, labels: Tensor, points: Points, *, stride: int
) -> tuple[Tensor, Tensor]:
    """Loss over every `stride`-th label pixel and whether it counts, both B.

    Scores B x C x h x w, labels B x H x W; the points are at stride // 2 + i * stride in both
    directions.
    """
    sums = _sums(scores, labels, stride, points.align_corners, points.ignore_index)
    losses, counted = _losses(*sums, include_self=points.include_self)
    return losses.to(accumulation_dtype(scores.dtype)), counted


def _losses(
    overlap: Tensor, agreement: Tensor, counts: Tensor, *, include_self: bool
) -> tuple[Tensor, Tensor]:
    """S^T S, S^T Y (B x C x C), n_c (B x C), float64 -> loss and whether it counts, both B."""
    points = counts.sum(1)
    pairs = points.square() if include_self else points * (points - 1)
    # These nearly cancel once the network is good, hence float64.
    squares = overlap.square().sum((1, 2)) + counts.square().sum(1)
    total = squares - 2 * agreement.square().sum((1, 2))
    return total.clamp(min=0) / pairs.clamp(min=1), pairs > 0


@torch.library.custom_op(
    "artoolkit::affinity_sums",
    mutates_args=(),
    schema="(Tensor scores, Tensor labels, int stride, bool align_corners, int ignore_index) -> "
    "(Tensor, Tensor, Tensor)",
)
def _sums(
    scores: Tensor, labels: Tensor, stride: int, align_corners: bool, ignore_index: int
) -> tuple[Tensor, Tensor, Tensor]:
    """S^T S and S^T Y (B x C x C) and n_c (B x C) in float64, over each image's labelled points."""
    overlap, agreement, counts = _empty_sums(scores)
    label_hw = (labels.shape[1], labels.shape[2])
    with full_precision(scores.device.type):
        read = reading(scores, label_hw, stride=stride, align_corners=align_corners)
        for b, image in enumerate(scores):
            opened, label = read.open(image), read.labels(labels[b])
            for i, block in enumerate(read.blocks):
                void, own = own_class(label[block], scores.shape[1], ignore_index)
                roots = _roots(read.read(opened, i), void)
                one_hot = _one_hot(own, void, roots)
                overlap[b] += roots @ roots.T
                agreement[b] += roots @ one_hot.T
                counts[b] += one_hot.sum(1)
    return overlap, agreement, counts


@torch.library.custom_op(
    "artoolkit::affinity_sums_backward",
    mutates_args=(),
    schema="(Tensor scores, Tensor labels, Tensor grad_overlap, Tensor grad_agreement, int stride, "
    "bool align_corners, int ignore_index) -> Tensor",
)
def _sums_backward(
    scores: Tensor,
    labels: Tensor,
    grad_overlap: Tensor,
    grad_agreement: Tensor,
    stride: int,
    align_corners: bool,
    ignore_index: int,
) -> Tensor:
    gradient = torch.empty_like(scores, memory_format=torch.contiguous_format)
    label_hw = (labels.shape[1], labels.shape[2])
    dtype = accumulation_dtype(scores.dtype)
    from_overlap = (grad_overlap + grad_overlap.transpose(1, 2)).to(dtype)
    from_agreement = grad_agreement.to(dtype)
    with full_precision(scores.device.type):
        read = reading(scores, label_hw, stride=stride, align_corners=align_corners)
        for b, (image, out) in enumerate(zip(scores, gradient, strict=True)):
            opened, sink = read.open(image), read.open_gradient(out)
            label = read.labels(labels[b])
            for i, block in enumerate(read.blocks):
                void, own = own_class(label[block], scores.shape[1], ignore_index)
                values = read.read(opened, i)
                roots = _roots(values, void)
                slope = from_overlap[b] @ roots
                slope += from_agreement[b] @ _one_hot(own, void, roots)
                # Through s = exp(log p / 2) and the log-softmax.
                slope.mul_(roots).mul_(0.5)
                slope -= roots.square_() * slope.sum(0)
                read.add(sink, i, slope.view_as(values))
            read.close_gradient(sink, out)
    return gradient


def _roots(values: Tensor, void: Tensor) -> Tensor:
    """Square roots of the probabilities of C x R x c scores, 0 where void: C x n."""
    logs = torch.log_softmax(values.flatten(1), 0)
    return logs.mul_(0.5).exp_().masked_fill_(void.flatten(), 0)


def _one_hot(own: Tensor, void: Tensor, like: Tensor) -> Tensor:
    """Classes 1 x R x c -> their columns, as `like`, 0 where void: C x n."""
    return torch.zeros_like(like).scatter_(0, own.flatten(1), (~void).to(like.dtype).view(1, -1))


def _empty_sums(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    batch, classes = scores.shape[:2]
    overlap = scores.new_zeros(batch, classes, classes, dtype=torch.float64)
    return overlap, torch.zeros_like(overlap), torch.zeros_like(overlap[..., 0])


@_sums.register_fake
def _(scores: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _empty_sums(scores)


@_sums_backward.register_fake
def _(scores: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(scores, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    scores, labels, *ctx.options = inputs
    ctx.save_for_backward(scores, labels)


def _differentiate(
    ctx: Any, grad_overlap: Tensor, grad_agreement: Tensor, _: Tensor
) -> tuple[Tensor | None, ...]:
    gradient = _sums_backward(*ctx.saved_tensors, grad_overlap, grad_agreement, *ctx.options)
    return gradient, None, None, None, None


_sums.register_autograd(_differentiate, setup_context=_setup_context)
