"""Points of the affinity-regression loss, and the lookup of scores there.

A point is a pixel of the label. Its scores are what bilinear upsampling of the score map to the
label's size would give at that pixel, read from the low-resolution map with four taps; nothing is
upsampled. Labels are never resized.

B batch, C classes, h w score pixels, H W label pixels, N points.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from artoolkit.losses.points import Points
from artoolkit.losses.precision import accumulation_dtype


@dataclass(frozen=True)
class LabelPixels:
    """Points in the label, as int64 rows and columns of shape B or 1 x N."""

    rows: Tensor
    cols: Tensor


@dataclass(frozen=True)
class Taps:
    """Two neighbours along one axis and the share of the upper one, in [0, 1)."""

    lower: Tensor
    upper: Tensor
    share: Tensor


def axis_taps(
    positions: Tensor, *, size_in: int, size_out: int, align_corners: bool, dtype: torch.dtype
) -> Taps:
    """Input positions that a bilinear resize from `size_in` to `size_out` reads.

    The same rule as `torch.nn.functional.interpolate`, in integers, so that a position on an input
    pixel has a share of exactly 0.
    """
    if align_corners:
        numerator, denominator = positions * (size_in - 1), max(size_out - 1, 1)
    else:
        numerator = ((2 * positions + 1) * size_in - size_out).clamp(min=0)
        denominator = 2 * size_out
    lower = (numerator // denominator).clamp(max=size_in - 1)
    share = (numerator - lower * denominator).to(dtype) / denominator
    return Taps(lower, (lower + 1).clamp(max=size_in - 1), share)


def grid_pixels(
    label_hw: tuple[int, int], points: Points, *, batch: int, device: torch.device
) -> LabelPixels:
    """The pixels of a grid of cells: B x N for `jitter` (new per image), 1 x N otherwise."""
    height, width = label_hw
    if points.grid == "jitter":
        return _jittered(label_hw, points, batch=batch, device=device)
    offset = 1 if points.grid == "center" else 0
    return _cross(
        [
            (_cells(height, n, offset, device), _cells(width, n, offset, device))
            for n in points.sizes
        ]
    )


def strided(length: int, stride: int, device: torch.device) -> Tensor:
    """Every `stride`-th position from stride // 2 on; the last one where the axis ends before."""
    return torch.arange(min(stride // 2, length - 1), length, stride, device=device)


def read_labels(labels: Tensor, pixels: LabelPixels) -> Tensor:
    """Labels B x H x W at the pixels: B x N."""
    index = pixels.rows * labels.shape[2] + pixels.cols
    return labels.flatten(1).gather(1, index.expand(len(labels), -1))


def read_scores(
    scores: Tensor, pixels: LabelPixels, *, label_hw: tuple[int, int], align_corners: bool
) -> Tensor:
    """Scores B x C x h x w at the pixels of an H x W label: B x C x N, at least float32.

    Where the map has the label's size already, the pixels are read directly, so that a score of
    -inf stays what it is; between pixels, 0 * inf would make NaN of it.
    """
    index, weight = flat_taps(
        pixels,
        score_hw=(scores.shape[2], scores.shape[3]),
        label_hw=label_hw,
        align_corners=align_corners,
        dtype=accumulation_dtype(scores.dtype),
    )
    batch, classes = scores.shape[:2]
    taps, n = index.shape[1:]
    flat = index.flatten(1).unsqueeze(1).expand(batch, classes, -1)
    # One gather for all taps: each gather's gradient is a dense score map.
    values = scores.flatten(2).gather(2, flat).to(weight.dtype)
    if taps == 1:
        return values
    return (values.view(batch, classes, taps, n) * weight.unsqueeze(1)).sum(2)


def add_scores(
    gradient: Tensor,
    grad_values: Tensor,
    pixels: LabelPixels,
    *,
    label_hw: tuple[int, int],
    align_corners: bool,
) -> None:
    """The transpose of `read_scores`: adds B x C x N into a contiguous B x C x h x w, in place."""
    index, weight = flat_taps(
        pixels,
        score_hw=(gradient.shape[2], gradient.shape[3]),
        label_hw=label_hw,
        align_corners=align_corners,
        dtype=grad_values.dtype,
    )
    shares = grad_values.unsqueeze(2) * weight.unsqueeze(1)
    index = index.unsqueeze(1).expand_as(shares)
    gradient.flatten(2).scatter_add_(2, index.flatten(2), shares.flatten(2).to(gradient.dtype))


def flat_taps(
    pixels: LabelPixels,
    *,
    score_hw: tuple[int, int],
    label_hw: tuple[int, int],
    align_corners: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Flat score-map indices and bilinear weights, both (B or 1) x taps x N; taps is 1 or 4."""
    width = score_hw[1]
    if score_hw == label_hw:
        index = (pixels.rows * width + pixels.cols).unsqueeze(1)
        return index, torch.ones_like(index, dtype=dtype)
    y, x = (
        axis_taps(p, size_in=i, size_out=o, align_corners=align_corners, dtype=dtype)
        for p, i, o in zip((pixels.rows, pixels.cols), score_hw, label_hw, strict=True)
    )
    corners = [
        (row * width + col, v * u)
        for row, v in ((y.lower, 1 - y.share), (y.upper, y.share))
        for col, u in ((x.lower, 1 - x.share), (x.upper, x.share))
    ]
    return (
        torch.stack([index for index, _ in corners], 1),
        torch.stack([weight for _, weight in corners], 1),
    )


def _cells(length: int, n: int, offset: int, device: torch.device) -> Tensor:
    return (2 * torch.arange(n, device=device) + offset) * length // (2 * n)


def _cross(grids: list[tuple[Tensor, Tensor]]) -> LabelPixels:
    return LabelPixels(
        torch.cat([rows.repeat_interleave(len(cols)) for rows, cols in grids])[None],
        torch.cat([cols.repeat(len(rows)) for rows, cols in grids])[None],
    )


def _jittered(
    label_hw: tuple[int, int], points: Points, *, batch: int, device: torch.device
) -> LabelPixels:
    """One uniformly random pixel of every cell, independently for every image and cell."""
    axes: list[list[Tensor]] = [[], []]
    for n in points.sizes:
        cell = torch.arange(n * n, device=device)
        cells = (cell // n, cell % n)
        for axis, length, index in zip(axes, label_hw, cells, strict=True):
            first = index * length // n
            # A label with fewer pixels than cells leaves cells without a pixel: take its first.
            extent = ((index + 1) * length // n - first).clamp(min=1)
            axis.append(first + _random_below(extent, batch, points.generator))
    return LabelPixels(torch.cat(axes[0], 1), torch.cat(axes[1], 1))


def _random_below(extent: Tensor, batch: int, generator: torch.Generator | None) -> Tensor:
    """int64 batch x N in [0, extent), drawn on the generator's own device."""
    source = extent.device if generator is None else generator.device
    share = torch.rand(batch, extent.numel(), generator=generator, device=source)
    # float32 rand can be 1 - 2^-24, whose product with a large extent rounds up to the extent.
    return torch.minimum((share.to(extent.device) * extent).long(), extent - 1)
