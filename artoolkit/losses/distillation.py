"""Terms that a teacher's scores are needed for: its probabilities, and its affinities.

Both are read over a lattice of label pixels, void ones among them, block by block as in `gram.py`,
whose Gram form the affinities use with the teacher's square roots in place of missing labels.

B batch, C classes, h w score pixels, H W label pixels, N points.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531; for the
square root affinities Cao, arXiv 2103.04990.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from artoolkit.losses.affinity import default_stride
from artoolkit.losses.gram import as_read, lattice_losses
from artoolkit.losses.points import Points
from artoolkit.losses.precision import accumulation_dtype, full_precision
from artoolkit.losses.reading import Reading, reading
from artoolkit.losses.step import Step

Stride = Annotated[int, Field(ge=1)]
Temperature = Annotated[float, Field(gt=0)]


def distillation(
    step: Step, output: str, *, temperature: Temperature = 1.0, stride: Stride | None = None
) -> tuple[Tensor, Tensor]:
    """T^2 sum_c t_c log(t_c / s_c), mean over every `stride`-th label pixel, void ones too.

    t and s are the softmax of the teacher's and the student's scores over T, the `temperature`;
    the factor keeps gradients alike at any. `stride` is the network's output stride by default.
    """
    scores, teacher = step.scores(output), step.taught
    label_hw = (step.labels.shape[1], step.labels.shape[2])
    losses = _divergence(
        scores,
        as_read(teacher.scores, scores),
        [*label_hw],
        stride or default_stride(label_hw, (scores.shape[2], scores.shape[3])),
        step.align_corners,
        teacher.align_corners,
        temperature,
    )
    return losses.sum(), losses.new_tensor(float(len(losses)))


def affinity_distillation(
    step: Step,
    output: str,
    *,
    stride: Stride | None = None,
    where: Literal["void", "everywhere"] = "void",
) -> tuple[Tensor, Tensor]:
    """(A_ij - B_ij)^2 over all pairs of every `stride`-th label pixel, mean over the images.

    A_ij is the square root affinity of the student. B_ij = u_i . u_j, where u_i is the one-hot
    label of i, or where it is void (or `everywhere`) the square roots of the teacher's
    probabilities: label affinity between labelled pixels, the teacher's between the others.
    """
    scores, teacher = step.scores(output), step.taught
    label_hw = (step.labels.shape[1], step.labels.shape[2])
    points = Points(grid="all", align_corners=step.align_corners, ignore_index=step.ignore_index)
    losses, counted = lattice_losses(
        scores,
        step.labels,
        points,
        stride=stride or default_stride(label_hw, (scores.shape[2], scores.shape[3])),
        teacher=teacher.scores,
        teacher_align_corners=teacher.align_corners,
        everywhere=where == "everywhere",
    )
    return losses.sum(), counted.sum().to(losses.dtype)


@torch.library.custom_op(
    "artoolkit::divergence",
    mutates_args=(),
    schema="(Tensor scores, Tensor teacher, int[] label_hw, int stride, bool align_corners, "
    "bool teacher_align_corners, float temperature) -> Tensor",
)
def _divergence(
    scores: Tensor,
    teacher: Tensor,
    label_hw: list[int],
    stride: int,
    align_corners: bool,
    teacher_align_corners: bool,
    temperature: float,
) -> Tensor:
    """The mean over each image's lattice: B."""
    losses = scores.new_zeros(len(scores), dtype=torch.float64)
    with full_precision(scores.device.type):
        ours, theirs = _both(
            scores, teacher, label_hw, stride, align_corners, teacher_align_corners
        )
        for b in range(len(scores)):
            opened, taught = ours.open(scores[b]), theirs.open(teacher[b])
            for i in range(len(ours.blocks)):
                wanted = torch.log_softmax(theirs.read(taught, i) / temperature, 0)
                off = wanted - torch.log_softmax(ours.read(opened, i) / temperature, 0)
                losses[b] += (wanted.exp_() * off).sum()
        points = len(ours.rows) * len(ours.cols)
    return (losses * (temperature**2 / points)).to(accumulation_dtype(scores.dtype))


@torch.library.custom_op(
    "artoolkit::divergence_backward",
    mutates_args=(),
    schema="(Tensor scores, Tensor teacher, Tensor weights, int[] label_hw, int stride, "
    "bool align_corners, bool teacher_align_corners, float temperature) -> Tensor",
)
def _divergence_backward(
    scores: Tensor,
    teacher: Tensor,
    weights: Tensor,
    label_hw: list[int],
    stride: int,
    align_corners: bool,
    teacher_align_corners: bool,
    temperature: float,
) -> Tensor:
    gradient = torch.empty_like(scores, memory_format=torch.contiguous_format)
    with full_precision(scores.device.type):
        ours, theirs = _both(
            scores, teacher, label_hw, stride, align_corners, teacher_align_corners
        )
        slopes = weights * (temperature / (len(ours.rows) * len(ours.cols)))
        for b, out in enumerate(gradient):
            opened, taught = ours.open(scores[b]), theirs.open(teacher[b])
            sink = ours.open_gradient(out)
            for i in range(len(ours.blocks)):
                slope = torch.softmax(ours.read(opened, i) / temperature, 0)
                slope -= torch.softmax(theirs.read(taught, i) / temperature, 0)
                ours.add(sink, i, slope.mul_(slopes[b]))
            ours.close_gradient(sink, out)
    return gradient


def _both(
    scores: Tensor,
    teacher: Tensor,
    label_hw: list[int],
    stride: int,
    align_corners: bool,
    teacher_align_corners: bool,
) -> tuple[Reading, Reading]:
    """Both maps at the same lattice, in the same blocks."""
    size = (label_hw[0], label_hw[1])
    return (
        reading(scores, size, stride=stride, align_corners=align_corners),
        reading(teacher, size, stride=stride, align_corners=teacher_align_corners),
    )


@_divergence.register_fake
def _(scores: Tensor, *_: Any) -> Tensor:
    return scores.new_empty(len(scores), dtype=accumulation_dtype(scores.dtype))


@_divergence_backward.register_fake
def _(scores: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(scores, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    scores, teacher, *ctx.options = inputs
    ctx.save_for_backward(scores, teacher)


def _differentiate(ctx: Any, weights: Tensor) -> tuple[Tensor | None, ...]:
    gradient = _divergence_backward(*ctx.saved_tensors, weights, *ctx.options)
    return gradient, *(None,) * 6


_divergence.register_autograd(_differentiate, setup_context=_setup_context)
