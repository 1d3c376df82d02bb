"""Pyramid pooling as constant matrix products: exact, and the same in every backend.

Average pooling into b x b bins is `P X Q^T` with small constant matrices, and so is the bilinear
resize back. All bins are stacked, so one pair of products pools every level at once. Adaptive
pooling whose bins do not divide the map does not survive the exporters; this does.
Legend: B batch, C channels, h w the map, N the bins of all levels together (12 for 1, 2, 3, 6).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from artoolkit.networks.blocks import ConvNorm, NormConv, global_mean, resize

Windows = Literal["adaptive", "caffe"]
Matrix = NDArray[np.float64]
BINS = (1, 2, 3, 6)


def adaptive_windows(size: int, bins: int) -> list[tuple[int, int]]:
    """First and past-the-last index of every bin, as `adaptive_avg_pool2d` takes them."""
    return [(i * size // bins, -(-(i + 1) * size // bins)) for i in range(bins)]


def caffe_windows(size: int, bins: int) -> list[tuple[int, int]]:
    """Bins of equal length with a fixed stride, as in the published Caffe networks.

    Their prototxt gives numbers for one size only (kernels 33, 17, 13, 8 with strides 33, 16, 10, 5
    on 33 positions; 65, 33, 25, 15 with 65, 32, 20, 10 on 65). This rule returns exactly those, and
    PSPNet's on 90 positions, and continues them to other sizes.
    """
    stride = size // 2 if bins == 2 else size // 6 * (6 // bins)
    length = size - (bins - 1) * stride
    return [(i * stride, i * stride + length) for i in range(bins)]


@lru_cache(maxsize=256)
def averaging_matrix(size: int, bins: int, windows: Windows = "adaptive") -> Matrix:
    """The bins x size matrix that averages `size` positions into `bins`."""
    matrix = np.zeros((bins, size))
    spans = adaptive_windows(size, bins) if windows == "adaptive" else caffe_windows(size, bins)
    for row, (start, stop) in zip(matrix, spans, strict=True):
        row[start:stop] = 1 / (stop - start)
    return matrix


@lru_cache(maxsize=256)
def resize_matrix(size: int, bins: int, align_corners: bool) -> Matrix:
    """The size x bins matrix of the bilinear resize of `bins` values to `size`."""
    positions = np.arange(size, dtype=np.float64)
    if align_corners:
        source = positions * (bins - 1) / max(size - 1, 1)
    else:
        source = np.maximum((positions + 0.5) * bins / size - 0.5, 0)
    low = np.minimum(source.astype(int), bins - 1)
    high = np.minimum(low + 1, bins - 1)
    matrix = np.zeros((size, bins))
    np.add.at(matrix, (np.arange(size), low), 1 - (source - low))
    np.add.at(matrix, (np.arange(size), high), source - low)
    return matrix


def _constant(matrix: Matrix, like: Tensor) -> Tensor:
    return torch.tensor(matrix.tolist(), dtype=like.dtype, device=like.device)


def _full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Leaves autocast: rounded averaging weights would no longer sum to 1."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def _pooled(x: Tensor, bins: tuple[int, ...], windows: Windows) -> Tensor:
    """B x C x h x w -> B x C x N x N; the blocks on the diagonal are the levels' pooled maps."""
    height, width = x.shape[-2:]
    rows = np.concatenate([averaging_matrix(height, n, windows) for n in bins])
    columns = np.concatenate([averaging_matrix(width, n, windows) for n in bins])
    return _constant(rows, x) @ (x @ _constant(columns.T, x))


def pooled_levels(
    x: Tensor, bins: tuple[int, ...] = BINS, windows: Windows = "adaptive"
) -> list[Tensor]:
    """The average-pooled maps B x C x b x b of B x C x h x w, one per b of `bins`."""
    with _full_precision(x):
        pooled = _pooled(x.float() if x.dtype is torch.bfloat16 else x, bins, windows).to(x.dtype)
    ends = np.cumsum(bins).tolist()
    return [pooled[..., end - n : end, end - n : end] for n, end in zip(bins, ends, strict=True)]


class PyramidSum(nn.Module):
    """x plus its average-pooled maps of every level, each resized back (ICNet's pyramid).

    B x C x h x w -> the same shape and dtype. No parameters.
    """

    def __init__(
        self,
        bins: tuple[int, ...] = BINS,
        *,
        windows: Windows = "adaptive",
        align_corners: bool = True,
    ) -> None:
        super().__init__()
        if windows not in get_args(Windows):
            raise ValueError(f"pooling {windows!r}; expected one of {get_args(Windows)}")
        self.bins, self.windows, self.align_corners = bins, windows, align_corners

    def extra_repr(self) -> str:
        return f"bins={self.bins}, windows={self.windows}, align_corners={self.align_corners}"

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        level = np.repeat(np.arange(len(self.bins)), self.bins)
        same_level = np.asarray(level[:, None] == level[None, :], np.float64)
        rows = np.concatenate(
            [resize_matrix(height, n, self.align_corners) for n in self.bins], axis=1
        )
        columns = np.concatenate(
            [resize_matrix(width, n, self.align_corners) for n in self.bins], axis=1
        )
        with _full_precision(x):
            exact = x.float() if x.dtype is torch.bfloat16 else x
            pooled = _pooled(exact, self.bins, self.windows) * _constant(same_level, exact)
            context = _constant(rows, exact) @ (pooled @ _constant(columns.T, exact))
            return x + context.to(x.dtype)


class PyramidConcat(nn.Module):
    """x beside its average-pooled maps, each projected and resized back (PSPNet's pyramid).

    B x C x h x w -> B x (C + levels * `branch_channels`) x h x w; `levels_first` puts x last.
    `ValueError` for a training batch of one image: its coarsest level is a single value a channel,
    which cannot be normalised.
    """

    def __init__(
        self,
        channels: int,
        branch_channels: int,
        bins: tuple[int, ...] = BINS,
        *,
        align_corners: bool,
        levels_first: bool = False,
    ) -> None:
        super().__init__()
        self.bins, self.align_corners, self.levels_first = bins, align_corners, levels_first
        self.out_channels = channels + len(bins) * branch_channels
        self.branches = nn.ModuleList(ConvNorm(channels, branch_channels) for _ in bins)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] == 1 and 1 in self.bins and self._is_normalising_by_batch():
            raise ValueError("a training batch of 1 image; pooling to a single bin needs 2")
        size_hw = (x.shape[-2], x.shape[-1])
        levels = [
            resize(branch(level), size_hw, align_corners=self.align_corners)
            for branch, level in zip(self.branches, pooled_levels(x, self.bins), strict=True)
        ]
        return torch.cat([*levels, x] if self.levels_first else [x, *levels], dim=1)

    def _is_normalising_by_batch(self) -> bool:
        return any(
            module.training
            for module in self.branches.modules()
            if isinstance(module, nn.BatchNorm2d)
        )


# Strides of the fixed average pools; their kernels are 5, 9, 17, their padding counts in the mean.
POOL_STRIDES = (2, 4, 8)


class DeepPyramid(nn.Module):
    """x pooled at five scales, each projected and refined with what was made before it.

    B x C x h x w -> B x `out_channels` x h x w. The scales are x itself, three average pools and
    the mean. `parallel` refines all of them at once by one grouped convolution, each with the first
    scale added (PIDNet-S and -M); otherwise one after the other (DDRNet, PIDNet-L).
    """

    def __init__(
        self, channels: int, branch_channels: int, out_channels: int, *, parallel: bool
    ) -> None:
        super().__init__()
        levels = len(POOL_STRIDES) + 1
        wide = levels * branch_channels
        self.scales = nn.ModuleList(NormConv(channels, branch_channels) for _ in range(levels + 1))
        self.processes: nn.Module = (
            NormConv(wide, wide, 3, groups=levels)
            if parallel
            else nn.ModuleList(NormConv(branch_channels, branch_channels, 3) for _ in range(levels))
        )
        self.compression = NormConv(wide + branch_channels, out_channels)
        self.shortcut = NormConv(channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        first, *coarser = (
            scale(level) for scale, level in zip(self.scales, _pooled_scales(x), strict=True)
        )
        size_hw = (x.shape[-2], x.shape[-1])
        # A single position is added to all of them without being resized.
        upsampled = [
            level if level.shape[-2:] == (1, 1) else resize(level, size_hw, align_corners=False)
            for level in coarser
        ]
        refined = [first]
        if isinstance(self.processes, nn.ModuleList):
            for process, level in zip(self.processes, upsampled, strict=True):
                refined.append(process(level + refined[-1]))
        else:
            refined.append(self.processes(torch.cat([level + first for level in upsampled], 1)))
        out: Tensor = self.compression(torch.cat(refined, 1)) + self.shortcut(x)
        return out


def _pooled_scales(x: Tensor) -> list[Tensor]:
    pooled = [functional.avg_pool2d(x, 2 * s + 1, s, s) for s in POOL_STRIDES]
    return [x, *pooled, global_mean(x)]
