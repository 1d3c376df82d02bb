"""Cross-entropy per labelled pixel, and which pixels its mean is taken over.

B batch, C classes, h w score pixels, H W label pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from artoolkit.losses.sampling import accumulation_dtype


@dataclass(frozen=True)
class HardExamples:
    """Online hard example mining: train on the pixels that the network finds hard.

    A labelled pixel is kept where the probability of its own class is at most `threshold`, and in
    any case where it is among the `min_kept` least probable of the batch (of this process).
    """

    threshold: float = 0.7
    min_kept: int = 100_000

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1 or self.min_kept < 1:
            raise ValueError(f"{self}: expected 0 < threshold <= 1 and min_kept of at least 1")


def pixel_losses(
    scores: Tensor, labels: Tensor, *, align_corners: bool, ignore_index: int
) -> Tensor:
    """-log p of each pixel's own class: B x C x h x w, B x H x W -> B x H x W, 0 where void.

    The scores are brought to the label's size by bilinear resizing; at least float32.
    """
    scores = scores.to(accumulation_dtype(scores.dtype))
    if scores.shape[2:] != labels.shape[1:]:
        size = (labels.shape[1], labels.shape[2])
        scores = F.interpolate(scores, size=size, mode="bilinear", align_corners=align_corners)
    return F.cross_entropy(scores, labels.long(), ignore_index=ignore_index, reduction="none")


def pixel_weights(
    losses: Tensor,
    labels: Tensor,
    *,
    ignore_index: int,
    class_weights: Tensor | None = None,
    hard_examples: HardExamples | None = None,
) -> Tensor:
    """What each pixel counts in the mean of its losses, B x H x W: 0 where void or left out."""
    labelled = labels != ignore_index
    weights = labelled.to(losses.dtype)
    if class_weights is not None:
        weights = class_weights.to(losses.dtype)[labels.long().where(labelled, 0)] * weights
    if hard_examples is not None:
        weights = weights * _hard(losses.detach(), labelled, hard_examples)
    return weights


def _hard(losses: Tensor, labelled: Tensor, chosen: HardExamples) -> Tensor:
    ranked = losses.where(labelled, -1.0).flatten()
    least = ranked.topk(min(chosen.min_kept, ranked.numel())).values[-1]
    return losses >= least.clamp(max=-math.log(chosen.threshold))
