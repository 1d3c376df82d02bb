"""One node for cross-entropy and the points of the affinity loss: scores in, what both need out.

`pixel_losses` upsamples, takes the log-softmax and looks up each pixel's own class block by block,
so that neither the upsampled scores nor their probabilities ever exist as a whole. Only the log of
the softmax's denominator is kept, one number a pixel; the gradient follows from it in one pass,
into one buffer, to which the gradient of the points is added.

The floor is memory: forwards the map is read once, backwards read once and written once.

B batch, C classes, h w score pixels, H W label pixels, N points.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from artoolkit.losses.precision import accumulation_dtype, full_precision
from artoolkit.losses.reading import Reading, own_class, reading
from artoolkit.losses.sampling import LabelPixels, add_scores, read_scores


def pixel_losses(
    scores: Tensor,
    labels: Tensor,
    *,
    align_corners: bool,
    ignore_index: int,
    smoothing: float = 0.0,
    pixels: LabelPixels | None = None,
) -> tuple[Tensor, Tensor]:
    """-log p of each pixel's own class (0 where void), and the scores at `pixels`.

    scores: B x C x h x w logits, floating point, brought to H x W by bilinear resizing.
    labels: B x H x W integers in [0, C) or `ignore_index`; not checked here.
    smoothing: the share of a pixel's label that is spread over all classes alike (Szegedy et al.,
        CVPR 2016): (1 - smoothing) * -log p of its own, smoothing * the mean of -log p over all.

    Returns B x H x W and B x C x N, float32 (float64 for float64 scores), also under autocast. Both
    carry gradients; there is no second derivative.
    """
    if pixels is None:
        nowhere = torch.zeros(1, 0, dtype=torch.int64, device=scores.device)
        pixels = LabelPixels(nowhere, nowhere)
    losses, _, values = _forward(
        scores, labels, pixels.rows, pixels.cols, align_corners, ignore_index, smoothing
    )
    return losses, values


# An operator rather than an autograd.Function: torch.compile takes it as one node instead of
# unrolling the loop over blocks.
@torch.library.custom_op(
    "artoolkit::pixel_losses",
    mutates_args=(),
    schema="(Tensor scores, Tensor labels, Tensor rows, Tensor cols, bool align_corners, "
    "int ignore_index, float smoothing) -> (Tensor, Tensor, Tensor)",
)
def _forward(
    scores: Tensor,
    labels: Tensor,
    rows: Tensor,
    cols: Tensor,
    align_corners: bool,
    ignore_index: int,
    smoothing: float,
) -> tuple[Tensor, Tensor, Tensor]:
    label_hw = (labels.shape[1], labels.shape[2])
    losses = scores.new_empty(labels.shape, dtype=accumulation_dtype(scores.dtype))
    normaliser = torch.empty_like(losses)
    with full_precision(scores.device.type):
        read = reading(scores, label_hw, stride=1, align_corners=align_corners)
        for image, label, loss, total in zip(scores, labels, losses, normaliser, strict=True):
            opened = read.open(image)
            void, own = own_class(label, scores.shape[1], ignore_index)
            for i, block in enumerate(read.blocks):
                values = read.read(opened, i)
                _log_sum_exp(values, out=total[block])
                torch.gather(values, 0, own[:, block], out=loss[None, block])
                if smoothing:
                    loss[block].lerp_(values.mean(0), smoothing)
            torch.sub(total, loss, out=loss).masked_fill_(void, 0)
        at_points = read_scores(
            scores, LabelPixels(rows, cols), label_hw=label_hw, align_corners=align_corners
        )
    return losses, normaliser, at_points


@torch.library.custom_op(
    "artoolkit::pixel_losses_backward",
    mutates_args=(),
    schema="(Tensor scores, Tensor labels, Tensor rows, Tensor cols, Tensor normaliser, "
    "Tensor? grad_losses, Tensor? grad_points, bool align_corners, int ignore_index, "
    "float smoothing) -> Tensor",
)
def _backward(
    scores: Tensor,
    labels: Tensor,
    rows: Tensor,
    cols: Tensor,
    normaliser: Tensor,
    grad_losses: Tensor | None,
    grad_points: Tensor | None,
    align_corners: bool,
    ignore_index: int,
    smoothing: float,
) -> Tensor:
    label_hw = (labels.shape[1], labels.shape[2])
    gradient = torch.empty_like(scores, memory_format=torch.contiguous_format)
    with full_precision(scores.device.type):
        if grad_losses is None:
            gradient.zero_()
        else:
            read = reading(scores, label_hw, stride=1, align_corners=align_corners)
            per_image = zip(scores, labels, normaliser, grad_losses, gradient, strict=True)
            for image, label, total, weight, out in per_image:
                void, own = own_class(label, scores.shape[1], ignore_index)
                weight = weight.masked_fill(void, 0)
                _pull_back(read, image, own, total, weight, out, smoothing=smoothing)
        if grad_points is not None:
            pixels = LabelPixels(rows, cols)
            add_scores(
                gradient, grad_points, pixels, label_hw=label_hw, align_corners=align_corners
            )
    return gradient


def _pull_back(
    read: Reading,
    image: Tensor,
    own: Tensor,
    total: Tensor,
    weight: Tensor,
    out: Tensor,
    *,
    smoothing: float,
) -> None:
    """Leaves the gradient of sum(weight * losses) with respect to one image's scores in `out`."""
    opened, sink = read.open(image), read.open_gradient(out)
    removed = (weight * (smoothing - 1))[None]
    safe = _is_safe(total)
    scale = weight * total.neg().exp_() if safe else weight
    for i, block in enumerate(read.blocks):
        values = read.read(opened, i)
        shares = values.exp() if safe else (values - total[block]).exp_()
        shares.mul_(scale[block]).scatter_add_(0, own[:, block], removed[:, block])
        if smoothing:
            shares -= weight[block] * (smoothing / len(shares))
        read.add(sink, i, shares)
    read.close_gradient(sink, out)


def _log_sum_exp(values: Tensor, *, out: Tensor) -> None:
    """Over the classes: C x R x W -> R x W."""
    if values.device.type == "cpu":
        torch.sum(values.exp(), 0, out=out).log_()
        if _is_safe(out):
            return
    largest = values.amax(0)
    torch.sum((values - largest).exp_(), 0, out=out).log_().add_(largest)


def _is_safe(normaliser: Tensor) -> bool:
    """True if exp may be taken of the scores as they are, which saves a pass over them.

    So where no sum of exponentials overflows, and none is so small that what underflowed to 0
    would have mattered in it. On the CPU only: elsewhere, looking would wait for the device.
    """
    if normaliser.device.type != "cpu":
        return False
    low, high = normaliser.aminmax()
    limits = torch.finfo(normaliser.dtype)
    return math.log(limits.tiny / limits.eps) < low.item() and high.item() < math.log(limits.max)


@_forward.register_fake
def _(
    scores: Tensor,
    labels: Tensor,
    rows: Tensor,
    cols: Tensor,
    align_corners: bool,
    ignore_index: int,
    smoothing: float,
) -> tuple[Tensor, Tensor, Tensor]:
    dtype = accumulation_dtype(scores.dtype)
    losses = scores.new_empty(labels.shape, dtype=dtype)
    at_points = scores.new_empty((*scores.shape[:2], rows.shape[1]), dtype=dtype)
    return losses, torch.empty_like(losses), at_points


@_backward.register_fake
def _(scores: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(scores, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    scores, labels, rows, cols, *ctx.options = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(scores, labels, rows, cols, output[1])


def _differentiate(
    ctx: Any, grad_losses: Tensor | None, _: Tensor | None, grad_points: Tensor | None
) -> tuple[Tensor | None, ...]:
    scores, labels, rows, cols, normaliser = ctx.saved_tensors
    gradient = _backward(
        scores,
        labels,
        rows,
        cols,
        normaliser,
        grad_losses,
        grad_points,
        *ctx.options,
    )
    return gradient, None, None, None, None, None, None


_forward.register_autograd(_differentiate, setup_context=_setup_context)
