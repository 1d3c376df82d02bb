"""All pairs of points without the N x N matrix of pairs.

With S the rows s_i = sqrt(p_i) of N points, Y their one-hot labels and n_c the class counts,

    sum_ij (A_ij - M_ij)^2 = |S^T S|^2 + sum_c n_c^2 - 2 |S^T Y|^2

so that C x C sums over the points are all that is needed: O(N C^2) instead of O(N^2 C), and the
points may come block by block. Y may hold any rows of unit length: with a teacher, the square roots
of its probabilities stand in it where labels are missing, and |Y^T Y|^2 takes the place of the
counts. `point_losses` takes the points as a tensor; `lattice_losses` reads them from the score map,
holds one block at a time and reads them again for the gradient, so that memory does not grow with
their number.

B batch, C classes, h w score pixels, H W label pixels, N points, n points of a block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from artoolkit.losses.points import Points
from artoolkit.losses.precision import accumulation_dtype, full_precision
from artoolkit.losses.reading import Reading, own_class, reading
from artoolkit.losses.sampling import LabelPixels, read_scores


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
        torch.diag_embed(one_hot.sum(2)),
        include_self=points.include_self,
    )
    return losses.to(roots.dtype), counted


def lattice_losses(
    scores: Tensor,
    labels: Tensor,
    points: Points,
    *,
    stride: int,
    teacher: Tensor | None = None,
    teacher_align_corners: bool = False,
    everywhere: bool = False,
) -> tuple[Tensor, Tensor]:
    """Loss over every `stride`-th label pixel and whether it counts, both B.

    Scores B x C x h x w, labels B x H x W; the points are at stride // 2 + i * stride in both
    directions. Void points do not count, unless there are scores of a `teacher`, of any size: its
    square roots take the place of one-hot labels there, or `everywhere`.
    """
    taught = None if teacher is None else as_read(teacher, scores)
    sums = _sums(
        scores, labels, taught, stride, points.align_corners, points.ignore_index,
        teacher_align_corners, everywhere,
    )  # fmt: skip
    losses, counted = _losses(*sums, include_self=points.include_self)
    return losses.to(accumulation_dtype(scores.dtype)), counted


def as_read(teacher: Tensor, scores: Tensor) -> Tensor:
    """The teacher's scores in a type that is read in the same blocks as the student's."""
    dtype = accumulation_dtype(scores.dtype)
    return teacher if accumulation_dtype(teacher.dtype) == dtype else teacher.to(dtype)


def _losses(
    overlap: Tensor, agreement: Tensor, target: Tensor, *, include_self: bool
) -> tuple[Tensor, Tensor]:
    """S^T S, S^T Y, Y^T Y (B x C x C, float64) -> loss and whether it counts, both B."""
    # The rows of Y have unit length.
    points = target.diagonal(dim1=1, dim2=2).sum(1).round()
    pairs = points.square() if include_self else points * (points - 1)
    # These nearly cancel once the network is good, hence float64.
    squares = overlap.square().sum((1, 2)) + target.square().sum((1, 2))
    total = squares - 2 * agreement.square().sum((1, 2))
    return total.clamp(min=0) / pairs.clamp(min=1), pairs > 0


# Devices on which void points are counted; elsewhere, looking would wait.
LOOKED_AT = ("cpu",)


class _Targets:
    """Rows of Y for one block of one image after the other, and which points do not count."""

    def __init__(
        self,
        read: Reading,
        labels: Tensor,
        teacher: Tensor | None,
        *,
        classes: int,
        stride: int,
        ignore_index: int,
        align_corners: bool,
        everywhere: bool,
    ) -> None:
        self.labels, self.teacher, self.everywhere = labels, teacher, everywhere
        self.classes, self.ignore_index, self.own = classes, ignore_index, read
        self.align_corners = align_corners
        if teacher is not None:
            label_hw = (labels.shape[1], labels.shape[2])
            self.theirs = reading(teacher, label_hw, stride=stride, align_corners=align_corners)

    def open(self, b: int) -> None:
        self.label, self.image = self.own.labels(self.labels[b]), b
        self.opened: Tensor | None = None

    def block(self, i: int, dtype: torch.dtype) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """C x n rows of unit length, 0 for the points left out; these (None: none); the soft rows.

        Soft rows, C x m, are those that the teacher gave; all others are one-hot.
        """
        void, own = own_class(self.label[self.own.blocks[i]], self.classes, self.ignore_index)
        if self.everywhere and self.teacher is not None:
            rows = _roots(self._taught(i))
            return rows, None, rows
        rows = torch.zeros(self.classes, own.numel(), dtype=dtype, device=own.device)
        rows.scatter_(0, own.flatten(1), (~void).to(dtype).view(1, -1))
        if self.teacher is None:
            return rows, void, None
        if void.device.type in LOOKED_AT:
            missing = void.flatten().nonzero()[:, 0]
            if not missing.numel():
                return rows, None, None
            soft = _roots(self._looked_up(i, missing))
            return rows.index_copy_(1, missing, soft), None, soft
        soft = _roots(self._taught(i)).masked_fill_(~void.view(1, -1), 0)
        return rows + soft, None, soft

    def _looked_up(self, i: int, points: Tensor) -> Tensor:
        """The teacher's scores at some points of a block, C x n, by their taps: mostly few."""
        assert self.teacher is not None, "only a teacher's scores are looked at"
        width, first = len(self.own.cols), self.own.blocks[i].start
        pixels = LabelPixels(
            self.own.rows[first + points // width][None], self.own.cols[points % width][None]
        )
        label_hw = (self.labels.shape[1], self.labels.shape[2])
        image = self.teacher[self.image, None]
        found = read_scores(image, pixels, label_hw=label_hw, align_corners=self.align_corners)
        return found[0]

    def _taught(self, i: int) -> Tensor:
        """The teacher's scores at a block, C x R x c; an image is opened where it is needed."""
        assert self.teacher is not None, "only a teacher's scores are looked at"
        if self.opened is None:
            self.opened = self.theirs.open(self.teacher[self.image])
        return self.theirs.read(self.opened, i)


@torch.library.custom_op(
    "artoolkit::affinity_sums",
    mutates_args=(),
    schema="(Tensor scores, Tensor labels, Tensor? teacher, int stride, bool align_corners, "
    "int ignore_index, bool teacher_align_corners, bool everywhere) -> (Tensor, Tensor, Tensor)",
)
def _sums(
    scores: Tensor,
    labels: Tensor,
    teacher: Tensor | None,
    stride: int,
    align_corners: bool,
    ignore_index: int,
    teacher_align_corners: bool,
    everywhere: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """S^T S, S^T Y and Y^T Y (B x C x C) in float64, over each image's points that count."""
    overlap, agreement, target = _empty_sums(scores)
    label_hw = (labels.shape[1], labels.shape[2])
    with full_precision(scores.device.type):
        read = reading(scores, label_hw, stride=stride, align_corners=align_corners)
        targets = _Targets(
            read, labels, teacher, classes=scores.shape[1], stride=stride,
            ignore_index=ignore_index, align_corners=teacher_align_corners, everywhere=everywhere,
        )  # fmt: skip
        for b, image in enumerate(scores):
            opened = read.open(image)
            targets.open(b)
            for i in range(len(read.blocks)):
                rows, void, soft = targets.block(i, read.dtype)
                roots = _roots(read.read(opened, i), void)
                overlap[b] += roots @ roots.T
                agreement[b] += roots @ rows.T
                if soft is not rows:
                    target[b].diagonal().add_(rows.sum(1))
                if soft is not None:
                    target[b] += soft @ soft.T
                if soft is not None and soft is not rows:
                    target[b].diagonal().sub_(soft.sum(1))
    return overlap, agreement, target


@torch.library.custom_op(
    "artoolkit::affinity_sums_backward",
    mutates_args=(),
    schema="(Tensor scores, Tensor labels, Tensor? teacher, Tensor grad_overlap, "
    "Tensor grad_agreement, int stride, bool align_corners, int ignore_index, "
    "bool teacher_align_corners, bool everywhere) -> Tensor",
)
def _sums_backward(
    scores: Tensor,
    labels: Tensor,
    teacher: Tensor | None,
    grad_overlap: Tensor,
    grad_agreement: Tensor,
    stride: int,
    align_corners: bool,
    ignore_index: int,
    teacher_align_corners: bool,
    everywhere: bool,
) -> Tensor:
    gradient = torch.empty_like(scores, memory_format=torch.contiguous_format)
    label_hw = (labels.shape[1], labels.shape[2])
    dtype = accumulation_dtype(scores.dtype)
    from_overlap = (grad_overlap + grad_overlap.transpose(1, 2)).to(dtype)
    from_agreement = grad_agreement.to(dtype)
    with full_precision(scores.device.type):
        read = reading(scores, label_hw, stride=stride, align_corners=align_corners)
        targets = _Targets(
            read, labels, teacher, classes=scores.shape[1], stride=stride,
            ignore_index=ignore_index, align_corners=teacher_align_corners, everywhere=everywhere,
        )  # fmt: skip
        for b, (image, out) in enumerate(zip(scores, gradient, strict=True)):
            opened, sink = read.open(image), read.open_gradient(out)
            targets.open(b)
            for i in range(len(read.blocks)):
                rows, void, _ = targets.block(i, dtype)
                values = read.read(opened, i)
                roots = _roots(values, void)
                slope = from_overlap[b] @ roots
                slope += from_agreement[b] @ rows
                # Through s = exp(log p / 2) and the log-softmax.
                slope.mul_(roots).mul_(0.5)
                slope -= roots.square_() * slope.sum(0)
                read.add(sink, i, slope.view_as(values))
            read.close_gradient(sink, out)
    return gradient


def _roots(values: Tensor, void: Tensor | None = None) -> Tensor:
    """Square roots of the probabilities of C x ... scores, 0 where void: C x n."""
    roots = torch.log_softmax(values.flatten(1), 0).mul_(0.5).exp_()
    return roots if void is None else roots.masked_fill_(void.flatten(), 0)


def _empty_sums(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    batch, classes = scores.shape[:2]
    overlap = scores.new_zeros(batch, classes, classes, dtype=torch.float64)
    return overlap, torch.zeros_like(overlap), torch.zeros_like(overlap)


@_sums.register_fake
def _(scores: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _empty_sums(scores)


@_sums_backward.register_fake
def _(scores: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(scores, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    scores, labels, teacher, *ctx.options = inputs
    ctx.save_for_backward(scores, labels, teacher)


def _differentiate(
    ctx: Any, grad_overlap: Tensor, grad_agreement: Tensor, _: Tensor
) -> tuple[Tensor | None, ...]:
    gradient = _sums_backward(*ctx.saved_tensors, grad_overlap, grad_agreement, *ctx.options)
    return gradient, *(None,) * 7


_sums.register_autograd(_differentiate, setup_context=_setup_context)
