"""Over which pixels the mean of cross-entropy is taken, and with what weights.

B batch, H W label pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


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


def total_and_count(
    losses: Tensor,
    labels: Tensor,
    *,
    ignore_index: int,
    class_weights: Tensor | None = None,
    hard_examples: HardExamples | None = None,
) -> tuple[Tensor, Tensor]:
    """The sum of the losses of pixels, and what to divide it by for their (weighted) mean.

    Losses and labels are B x H x W; void pixels have a loss of 0. A pixel counts 1, or the weight
    of its class, and 0 where `hard_examples` leaves it out.
    """
    labelled = labels != ignore_index
    if class_weights is None and hard_examples is None:
        return losses.sum(), labelled.sum().to(losses.dtype)
    weights = labelled.to(losses.dtype)
    if class_weights is not None:
        weights *= class_weights.to(losses.dtype)[labels.long().where(labelled, 0)]
    if hard_examples is not None:
        weights *= _hard(losses.detach(), labelled, hard_examples)
    return (losses * weights).sum(), weights.sum()


def _hard(losses: Tensor, labelled: Tensor, chosen: HardExamples) -> Tensor:
    ranked = losses.where(labelled, -1.0).flatten()
    least = ranked.topk(min(chosen.min_kept, ranked.numel())).values[-1]
    return losses >= least.clamp(max=-math.log(chosen.threshold))
