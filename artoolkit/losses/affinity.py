"""The affinity-regression (AR) loss: square root affinity regressed to label affinity.

L. Cao, "Use square root affinity to regress label in semantic segmentation", arXiv 2103.04990.
An auxiliary loss for training only; it clusters and does not classify, so cross-entropy stays.
Read `affinity_regression` first; `sampling.py` says where the points lie.

B batch, C classes, h w score pixels, H W label pixels, N points.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from artoolkit.losses.gram import lattice_losses, point_losses, sqrt_probabilities
from artoolkit.losses.precision import full_precision
from artoolkit.losses.reading import own_class
from artoolkit.losses.sampling import grid_points, read_labels, read_points
from artoolkit.words import GRIDS


def sqrt_affinity(scores: Tensor) -> Tensor:
    """A_ij = sum_c sqrt(p_ic p_jc) of the points' class probabilities p = softmax(scores).

    Scores are floating point, ... x N x C, any range, -inf included; the result is ... x N x N, at
    least float32, symmetric, in [0, 1], and 1 where two points have the same probabilities
    (the Bhattacharyya coefficient; equation 2 of the paper).
    """
    with full_precision(scores.device.type):
        root = sqrt_probabilities(scores, dim=-1)
        return root @ root.transpose(-1, -2)


def label_affinity(labels: Tensor, *, ignore_index: int = 255) -> Tensor:
    """M_ij = 1 where two points have the same label, else 0; 0 as well where either is void.

    Labels are integers, ... x N; the result is float32, ... x N x N.
    """
    rows, cols = labels.unsqueeze(-1), labels.unsqueeze(-2)
    return ((rows == cols) & (rows != ignore_index)).float()


def affinity_regression(
    scores: Tensor,
    labels: Tensor,
    *,
    grid: str = "center",
    sizes: tuple[int, ...] = (12, 6),
    stride: int | None = None,
    ignore_index: int = 255,
    align_corners: bool,
    include_self: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean over pairs of points of (A_ij - M_ij)^2, then over the images that have any pair.

    scores: B x C x h x w logits, floating point, any size; computed in at least float32, also under
        autocast. Read as if upsampled bilinearly to H x W.
    labels: B x H x W integers in [0, C), or `ignore_index` for void. A pair with a void member does
        not count; an image without a labelled point is left out of the mean.
    grid: `center` (middle of each of n x n cells, for every n of `sizes`), `paper` (first pixel of
        each cell: the nearest-neighbour down-sampling of the paper), `jitter` (a random pixel of
        each cell, another one at every call, from `generator` or torch's global one), `all` (every
        `stride`-th label pixel in both directions, from stride // 2 on).
    stride: for `all` only. By default H / h, rounded: the network's output stride.
    align_corners: that of the network's own upsampling to the label's size.
    include_self: whether the pairs i = i count; they are 0, so that they only scale.

    Returns a scalar in [0, 1], float32 (float64 for float64 scores); 0 with a gradient of 0 where
    the batch has no labelled point. Raises ValueError for other shapes, types or options, and (on
    the CPU, where looking costs nothing) for labels out of range.
    """
    losses, counted = image_losses(
        scores,
        labels,
        grid=grid,
        sizes=sizes,
        stride=stride,
        ignore_index=ignore_index,
        align_corners=align_corners,
        include_self=include_self,
        generator=generator,
    )
    return losses.sum() / counted.sum().clamp(min=1)


def image_losses(
    scores: Tensor,
    labels: Tensor,
    *,
    grid: str,
    sizes: tuple[int, ...],
    stride: int | None,
    ignore_index: int,
    align_corners: bool,
    include_self: bool,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """The terms of `affinity_regression`: the loss of every image, and whether it counts (bool)."""
    check_inputs(scores, labels)
    check_options(grid, sizes, stride)
    label_hw = (labels.shape[1], labels.shape[2])
    if grid == "all":
        return lattice_losses(
            scores,
            labels,
            stride=stride or default_stride(label_hw, (scores.shape[2], scores.shape[3])),
            align_corners=align_corners,
            ignore_index=ignore_index,
            include_self=include_self,
        )
    points = grid_points(
        label_hw,
        grid=grid,
        sizes=sizes,
        batch=len(scores),
        device=scores.device,
        generator=generator,
    )
    at_points = read_labels(labels, points)
    if not torch.compiler.is_compiling():
        own_class(at_points, scores.shape[1], ignore_index)
    values = read_points(scores, points, label_hw=label_hw, align_corners=align_corners)
    return point_losses(values, at_points, ignore_index=ignore_index, include_self=include_self)


def default_stride(label_hw: tuple[int, int], score_hw: tuple[int, int]) -> int:
    """Label pixels per score pixel, rounded: 4 for 1024 over 256, and for 1025 over 257."""
    return max(1, round(label_hw[0] / score_hw[0]))


class AffinityRegression(nn.Module):
    """`affinity_regression` with its options kept."""

    def __init__(
        self,
        *,
        grid: str = "center",
        sizes: tuple[int, ...] = (12, 6),
        stride: int | None = None,
        ignore_index: int = 255,
        align_corners: bool,
        include_self: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_options(grid, sizes, stride)
        self.grid = grid
        self.sizes = tuple(sizes)
        self.stride = stride
        self.ignore_index = ignore_index
        self.align_corners = align_corners
        self.include_self = include_self
        self.generator = generator

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        return affinity_regression(
            scores,
            labels,
            grid=self.grid,
            sizes=self.sizes,
            stride=self.stride,
            ignore_index=self.ignore_index,
            align_corners=self.align_corners,
            include_self=self.include_self,
            generator=self.generator,
        )

    def extra_repr(self) -> str:
        where = f"stride={self.stride}" if self.grid == "all" else f"sizes={self.sizes}"
        return f"grid={self.grid!r}, {where}, align_corners={self.align_corners}"


def check_options(grid: str, sizes: tuple[int, ...], stride: int | None) -> None:
    """ValueError unless the options of a grid are known and fit together."""
    if grid not in GRIDS:
        raise ValueError(f"grid: got {grid!r}; expected one of {', '.join(GRIDS)}")
    if not sizes or any(not isinstance(n, int) or n < 1 for n in sizes):
        raise ValueError(f"sizes: got {sizes!r}; expected one or more integers of at least 1")
    if stride is not None and grid != "all":
        raise ValueError(f"stride: got {stride} with grid {grid!r}; it belongs to grid 'all'")
    if stride is not None and (not isinstance(stride, int) or stride < 1):
        raise ValueError(f"stride: got {stride!r}; expected an integer of at least 1")


def check_inputs(scores: Tensor, labels: Tensor) -> None:
    """ValueError unless scores are floats B x C x h x w and labels integers B x H x W."""
    if scores.ndim != 4 or not scores.is_floating_point() or scores.numel() == 0:
        raise ValueError(
            f"scores: got {_described(scores)}; expected floats of shape B x C x h x w"
        )
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    if labels.ndim != 3 or not whole or labels.numel() == 0:
        raise ValueError(f"labels: got {_described(labels)}; expected integers of shape B x H x W")
    if len(scores) != len(labels):
        raise ValueError(f"batch: got {len(scores)} score maps and {len(labels)} labels")


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
