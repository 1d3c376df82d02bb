"""Over which pixels the mean of a loss is taken, and with what weights.

B batch, H W label pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

MeanOver = Literal["weights", "kept", "all"]


@dataclass(frozen=True)
class HardExamples:
    """Online hard example mining: train on the pixels that the network finds hard.

    A labelled pixel is kept where the probability of its own class is at most `threshold`, and in
    any case where it is among the `min_kept` least probable of the batch (with `per_image`: that
    many times the images of the batch). Of several processes, each keeps its share of them.
    """

    threshold: float = 0.7
    min_kept: int = 100_000
    per_image: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1 or self.min_kept < 1:
            raise ValueError(f"{self}: expected 0 < threshold <= 1 and min_kept of at least 1")

    def least(self, images: int, processes: int) -> int:
        """Number of pixels of these images that are kept in any case."""
        return self.min_kept * images if self.per_image else math.ceil(self.min_kept / processes)


def total_and_count(
    losses: Tensor,
    labels: Tensor,
    *,
    ignore_index: int,
    weights: Tensor | None = None,
    hard_examples: HardExamples | None = None,
    mean_over: MeanOver = "weights",
    processes: int = 1,
) -> tuple[Tensor, Tensor]:
    """The sum of the losses of pixels, and what to divide it by for their mean.

    Losses, labels and `weights` are B x H x W; void pixels have a loss of 0. A pixel counts 1, or
    its weight, and 0 where `hard_examples` leaves it out. The mean is over the sum of these
    `weights` (as in `torch.nn.functional.cross_entropy`), over the number of pixels that were
    `kept`, or over `all` pixels, void ones too (the last two as mmsegmentation has them).
    """
    kept = labels != ignore_index
    if hard_examples is not None:
        least = hard_examples.least(len(labels), processes)
        kept = kept & _hard(losses.detach(), kept, least, hard_examples.threshold)
    count = kept.sum().to(losses.dtype)
    if weights is not None:
        weights = weights * kept
        losses, count = losses * weights, weights.sum() if mean_over == "weights" else count
    elif hard_examples is not None:
        losses = losses * kept
    if mean_over == "all":
        count = torch.full_like(count, losses.numel())
    return losses.sum(), count


def _hard(losses: Tensor, labelled: Tensor, least: int, threshold: float) -> Tensor:
    ranked = losses.where(labelled, -1.0).flatten()
    last = ranked.topk(min(least, ranked.numel())).values[-1]
    return losses >= last.clamp(max=-math.log(threshold))
