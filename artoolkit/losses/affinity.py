"""The affinity-regression (AR) loss: square root affinity regressed to label affinity.

L. Cao, "Use square root affinity to regress label in semantic segmentation", arXiv 2103.04990.
An auxiliary loss for training only; it clusters and does not classify, so cross-entropy stays.
Read `affinity_regression` first; `points.py` says where the points lie.

B batch, C classes, h w score pixels, H W label pixels, N points.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from artoolkit.losses.gram import lattice_losses, point_losses, sqrt_probabilities
from artoolkit.losses.points import Points
from artoolkit.losses.precision import full_precision
from artoolkit.losses.reading import own_class
from artoolkit.losses.sampling import grid_pixels, read_labels, read_scores


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
    scores: Tensor, labels: Tensor, points: Points = Points(), **options: Any
) -> Tensor:
    """Mean over pairs of points of (A_ij - M_ij)^2, then over the images that have any pair.

    scores: B x C x h x w logits, floating point, any size; computed in at least float32, also under
        autocast. Read as if upsampled bilinearly to H x W.
    labels: B x H x W integers in [0, C), or `points.ignore_index` for void. A pair with a void
        member does not count; an image without a labelled point is left out of the mean.
    points: which pixels, and how scores are read there. `options` replace its values:
        `affinity_regression(scores, labels, grid="all", stride=4)`.

    Returns a scalar in [0, 1], float32 (float64 for float64 scores); 0 with a gradient of 0 where
    the batch has no labelled point. Raises ValueError for other shapes, types or values, and (on
    the CPU, where looking costs nothing) for labels out of range.
    """
    losses, counted = image_losses(scores, labels, replace(points, **options))
    return losses.sum() / counted.sum().clamp(min=1)


def image_losses(scores: Tensor, labels: Tensor, points: Points) -> tuple[Tensor, Tensor]:
    """The loss of every image as in `affinity_regression`, and whether it counts (bool): both B."""
    check_inputs(scores, labels)
    label_hw = (labels.shape[1], labels.shape[2])
    if points.grid == "all":
        stride = points.stride or default_stride(label_hw, (scores.shape[2], scores.shape[3]))
        return lattice_losses(scores, labels, points, stride=stride)
    pixels = grid_pixels(label_hw, points, batch=len(scores), device=scores.device)
    at_pixels = read_labels(labels, pixels)
    if not torch.compiler.is_compiling():
        own_class(at_pixels, scores.shape[1], points.ignore_index)
    values = read_scores(scores, pixels, label_hw=label_hw, align_corners=points.align_corners)
    return point_losses(values, at_pixels, points)


def default_stride(label_hw: tuple[int, int], score_hw: tuple[int, int]) -> int:
    """Label pixels per score pixel, rounded: 4 for 1024 over 256, and for 1025 over 257."""
    return max(1, round(label_hw[0] / score_hw[0]))


class AffinityRegression(nn.Module):
    """`affinity_regression` with its points kept: `AffinityRegression(grid="all", stride=4)`.

    `options` are the values of `Points`. Added to cross-entropy in a training loop of one's own:

    >>> import torch
    >>> from torch.nn import functional as F
    >>> from artoolkit import AffinityRegression
    >>> affinity = AffinityRegression()
    >>> scores = torch.randn(2, 19, 32, 64, requires_grad=True)    # before any upsampling
    >>> labels = torch.randint(0, 19, (2, 128, 256))               # train ids, 255 void
    >>> upsampled = F.interpolate(scores, size=(128, 256), mode="bilinear")
    >>> loss = F.cross_entropy(upsampled, labels, ignore_index=255) + 20 * affinity(scores, labels)
    >>> loss.backward()
    """

    def __init__(self, points: Points = Points(), **options: Any) -> None:
        super().__init__()
        self.points = replace(points, **options)

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        return affinity_regression(scores, labels, self.points)

    def extra_repr(self) -> str:
        return repr(self.points)


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
