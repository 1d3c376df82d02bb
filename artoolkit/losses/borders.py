"""Terms that teach where classes meet: PIDNet's boundary head and STDC's detail head.

The loader makes their labels from the augmented train ids, `edge_map` and `detail_map`: uint8
H x W, 1 at a border. B batch, C classes, H W label pixels.

Xu et al., "PIDNet", CVPR 2023; Fan et al., "Rethinking BiSeNet For Real-time Semantic
Segmentation", CVPR 2021; both as mmsegmentation 1.2.2 has them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from artoolkit.labels import VOID
from artoolkit.losses.step import EDGES, Step
from artoolkit.losses.weighting import HardExamples, MeanOver, total_and_count

DETAILS = "details"
BOUNDARY, DETAIL = "boundary", "detail"
# The dilating square of PIDNet: a pixel is an edge if one from 2 before to 1 after it is.
_REACH = (2, 1)
# mmsegmentation's Dice adds 1e-3 to each of the two sums of squares.
_DICE_EPS = 2e-3

Pixels = NDArray[np.uint8]


def edge_map(labels: Pixels) -> Pixels:
    """1 near every pixel whose label differs from that above, right, below right or below left.

    Void has no edges. "Near" is the 4 x 4 square around the pixel.
    """
    height, width = labels.shape
    edges: NDArray[np.bool_] = np.zeros(labels.shape, np.bool_)
    here, there = slice(1, None), slice(None, -1)
    # Where the pixel lies, and its neighbour.
    for at, beside in (
        ((here, slice(None)), (there, slice(None))),
        ((slice(None), there), (slice(None), here)),
        ((there, there), (here, here)),
        ((there, here), (here, there)),
    ):
        one, other = labels[at], labels[beside]
        edges[at] |= (one != other) & (one != VOID) & (other != VOID)
    padded = np.pad(edges, _REACH)
    rows = np.logical_or.reduce([padded[i : i + height] for i in range(sum(_REACH) + 1)])
    grown = np.logical_or.reduce([rows[:, i : i + width] for i in range(sum(_REACH) + 1)])
    return np.asarray(grown, np.uint8)


def detail_map(labels: Pixels) -> Pixels:
    """1 where the Laplacian of the ids is positive, on every pixel or on every second one.

    The published pyramid has every fourth pixel too, with a weight that never decides. The border
    belongs to the larger id, void is 255, and what lies outside of the image counts as 0.
    """
    fine = _laplacian(labels)
    coarse = fine[::2, ::2]
    rows, columns = (np.arange(n) * m // n for n, m in zip(fine.shape, coarse.shape, strict=True))
    return np.asarray((fine > 0) | (coarse > 0)[rows[:, None], columns], np.uint8)


def _laplacian(labels: Pixels) -> NDArray[np.int32]:
    padded = np.pad(labels.astype(np.int32), 1)
    height, width = labels.shape
    rows = padded[:height] + padded[1:-1] + padded[2:]
    around = rows[:, :width] + rows[:, 1:-1] + rows[:, 2:]
    difference: NDArray[np.int32] = 9 * labels.astype(np.int32) - around
    return difference


def boundary_cross_entropy(step: Step, output: str) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of a B x 1 logit with the edge map, mean over all pixels.

    An edge pixel weighs the share of the others in the batch, another one the share of the edges.
    """
    logits, edges = step.upsampled(output)[:, 0], step.maps[EDGES] != 0
    count = torch.tensor(float(edges.numel()), device=logits.device)
    share = step.mean_count(edges.sum().float()) / step.mean_count(count)
    weights = torch.where(edges, 1 - share, share)
    losses = binary_cross_entropy_with_logits(logits, edges.to(logits.dtype), reduction="none")
    return (losses * weights).sum(), count


def border_cross_entropy(
    step: Step,
    output: str,
    *,
    threshold: float = 0.8,
    ohem: HardExamples | None = None,
    mean_over: MeanOver = "weights",
) -> tuple[Tensor, Tensor]:
    """Cross-entropy where the boundary head is surer of a border than `threshold`."""
    with torch.no_grad():
        sure = step.upsampled(BOUNDARY)[:, 0].sigmoid() > threshold
    losses = step.pixel_losses(output)
    return total_and_count(
        losses.where(sure, 0),
        step.labels.where(sure, step.ignore_index),
        ignore_index=step.ignore_index,
        weights=step.pixel_weights,
        hard_examples=ohem,
        mean_over=mean_over,
        processes=step.share[1],
    )


def detail_cross_entropy(step: Step, output: str) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of both planes of a B x 2 logit (no border, border), mean over both."""
    logits, truth = _details(step, output)
    losses = binary_cross_entropy_with_logits(logits, truth, reduction="sum")
    return losses, torch.tensor(float(truth.numel()), device=logits.device)


def detail_dice(step: Step, output: str) -> tuple[Tensor, Tensor]:
    """1 - 2 sum(pt) / (sum(p^2) + sum(t^2)) over both planes of an image, mean over images."""
    logits, truth = (x.flatten(1) for x in _details(step, output))
    shares = logits.sigmoid()
    overlap = 2 * (shares * truth).sum(1)
    losses = 1 - overlap / (shares.square().sum(1) + truth.square().sum(1) + _DICE_EPS)
    return losses.sum(), torch.tensor(float(len(losses)), device=logits.device)


def _details(step: Step, output: str) -> tuple[Tensor, Tensor]:
    """The logits B x 2 x H x W, and the two planes that they should be."""
    logits, border = step.upsampled(output), step.maps[DETAILS] != 0
    return logits, torch.stack([~border, border], 1).to(logits.dtype)


def sigmoid_cross_entropy(step: Step, output: str) -> tuple[Tensor, Tensor]:
    """One binary cross-entropy per class, mean over all pixels and classes; void ones count 0."""
    scores, labelled = step.upsampled(output), step.labels != step.ignore_index
    own = step.labels.long().where(labelled, 0)[:, None]
    losses = softplus(scores).sum(1) - scores.gather(1, own)[:, 0]
    return losses.where(labelled, 0).sum(), torch.tensor(
        float(scores.numel()), device=scores.device
    )
