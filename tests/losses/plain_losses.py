"""The losses by their definitions: every pair, the whole upsampled map, float64, no cleverness."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pair_loss(
    scores_NC: Tensor, labels_N: Tensor, *, ignore_index: int = 255, include_self: bool = True
) -> Tensor | None:
    """Mean of (A_ij - M_ij)^2 over the valid pairs of one image, None where there is none."""
    kept = labels_N != ignore_index
    scores, labels = scores_NC[kept], labels_N[kept]
    root = torch.exp(0.5 * torch.log_softmax(scores, 1))
    squares = (root @ root.T - (labels[:, None] == labels).to(root.dtype)) ** 2
    if not include_self:
        squares = squares[~torch.eye(len(labels), dtype=torch.bool)]
    return squares.mean() if squares.numel() else None


def upsampled(scores: Tensor, labels: Tensor, align_corners: bool) -> Tensor:
    size = tuple(labels.shape[1:])
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=align_corners)


def affinity_at(
    scores: Tensor, labels: Tensor, rows: Tensor, cols: Tensor, *, align_corners: bool, **options
) -> Tensor:
    """Upsample everything, take the points (B x N), form every pair, average over images."""
    full = upsampled(scores, labels, align_corners)
    losses = [
        pair_loss(full[b][:, rows[b], cols[b]].T, labels[b][rows[b], cols[b]], **options)
        for b in range(len(scores))
    ]
    counted = [loss for loss in losses if loss is not None]
    return torch.stack(counted).mean() if counted else 0 * scores.sum()


def cross_entropy(scores: Tensor, labels: Tensor, *, align_corners: bool, **options) -> Tensor:
    full = upsampled(scores, labels, align_corners)
    return F.cross_entropy(full, labels.long(), ignore_index=255, **options)


def street(
    *, batch: int = 2, classes: int = 5, score_hw=(6, 7), label_hw=(24, 28), seed: int = 0
) -> tuple[Tensor, Tensor]:
    """float64 scores and uint8 labels in patches, a fifth of them void."""
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(batch, classes, *score_hw, generator=generator, dtype=torch.float64)
    coarse = torch.randint(0, classes + 1, (batch, 1, 6, 7), generator=generator)
    labels = F.interpolate(coarse.float(), size=label_hw).squeeze(1).to(torch.uint8)
    return scores, labels.masked_fill(labels == classes, 255)
