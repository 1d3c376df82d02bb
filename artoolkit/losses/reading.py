"""Reading one image's scores at a lattice of label pixels, a block of rows at a time, and back.

The lattice is every `stride`-th label pixel in both directions. What is read is what bilinear
upsampling of the score map to the label's size would give there; no more than a block of it exists
at any time, small enough to stay in the processor's cache. Upsampling is linear, so going back (the
gradient) is the transposed product.

C classes, h w score pixels, H W label pixels, r c rows and columns of the lattice, R rows of a
block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from artoolkit.losses.precision import accumulation_dtype
from artoolkit.losses.sampling import Taps, axis_taps, strided

# Small enough for a processor's caches, large enough that its loop costs little; a GPU wants few,
# large kernels.
BLOCK_BYTES = {"cpu": 1 << 21}
BLOCK_BYTES_ELSEWHERE = 1 << 26
# Narrow enough that the dense matrix of a band of columns is mostly taps, wide enough for BLAS.
BAND_COLUMNS = 128


@dataclass(frozen=True)
class Band:
    """Consecutive outputs of an axis, the inputs they read, and the weights between them."""

    outputs: slice
    inputs: slice
    weights: Tensor


class Reading(ABC):
    """Lookup of a C x h x w score map at the lattice of an H x W label.

    Forwards: `opened = reading.open(scores)`, then `reading.read(opened, i)` -> C x R x c for each
    block. Backwards: `opened = reading.open_gradient(out)`, `reading.add(opened, i, block)`, then
    `reading.close_gradient(opened, out)`, which leaves the gradient in `out`. One image is open
    at a time.
    """

    def __init__(self, scores: Tensor, label_hw: tuple[int, int], *, stride: int) -> None:
        self.dtype = accumulation_dtype(scores.dtype)
        self.rows, self.cols = (strided(n, stride, torch.device("cpu")) for n in label_hw)
        self.lattice = tuple(slice(int(p[0]), None, stride) for p in (self.rows, self.cols))
        budget = BLOCK_BYTES.get(scores.device.type, BLOCK_BYTES_ELSEWHERE)
        height = max(1, budget // (scores.shape[1] * len(self.cols) * self.dtype.itemsize))
        self.blocks = _slices(len(self.rows), height)

    def labels(self, labels: Tensor) -> Tensor:
        """The H x W labels at the lattice: a view r x c."""
        return labels[self.lattice]

    @abstractmethod
    def open(self, scores: Tensor) -> Tensor: ...

    @abstractmethod
    def read(self, opened: Tensor, index: int) -> Tensor:
        """Possibly a view: not to be overwritten."""

    @abstractmethod
    def open_gradient(self, out: Tensor) -> Tensor: ...

    @abstractmethod
    def add(self, opened: Tensor, index: int, gradient: Tensor) -> None: ...

    @abstractmethod
    def close_gradient(self, opened: Tensor, out: Tensor) -> None: ...


def reading(
    scores: Tensor, label_hw: tuple[int, int], *, stride: int, align_corners: bool
) -> Reading:
    """The reading of B x C x h x w scores at every `stride`-th pixel of a label."""
    if (scores.shape[2], scores.shape[3]) == label_hw:
        return _Direct(scores, label_hw, stride=stride)
    return _Bilinear(scores, label_hw, stride=stride, align_corners=align_corners)


def own_class(labels: Tensor, classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Mask of void labels, and their classes as an index into 1 x (their shape) (void: 0)."""
    void = labels == ignore_index
    own = labels.masked_fill(void, 0)
    check_label_range(own, classes, ignore_index)
    return void, own.long()[None]


def check_label_range(labels: Tensor, classes: int, ignore_index: int) -> None:
    """ValueError for labels outside [0, classes); on the CPU only, elsewhere it would wait."""
    if labels.device.type != "cpu" or labels.numel() == 0:
        return
    low, high = labels.aminmax()
    if low < 0 or high >= classes:
        outside = sorted({n for n in labels.flatten().tolist() if not 0 <= n < classes})
        raise ValueError(
            f"labels: got {', '.join(map(str, outside[:8]))}; expected 0 to {classes - 1}, "
            f"or {ignore_index} for void"
        )


class _Direct(Reading):
    """The score map has the label's size: its own pixels, without arithmetic."""

    def open(self, scores: Tensor) -> Tensor:
        return scores[(slice(None), *self.lattice)]

    def read(self, opened: Tensor, index: int) -> Tensor:
        return opened[:, self.blocks[index]].to(self.dtype)

    def open_gradient(self, out: Tensor) -> Tensor:
        if self.labels(out[0]).numel() < out[0].numel():
            out.zero_()
        return out[(slice(None), *self.lattice)]

    def add(self, opened: Tensor, index: int, gradient: Tensor) -> None:
        opened[:, self.blocks[index]] = gradient

    def close_gradient(self, opened: Tensor, out: Tensor) -> None:
        """The gradient was written in place."""


class _Bilinear(Reading):
    """Columns are interpolated once for the whole map (C x h x c), rows block by block.

    Both by small dense matrices: several times faster than gathering the taps, and without the
    scattered additions of the gradient, whose order is not fixed on a GPU.
    """

    def __init__(
        self, scores: Tensor, label_hw: tuple[int, int], *, stride: int, align_corners: bool
    ) -> None:
        super().__init__(scores, label_hw, stride=stride)
        # Shared by all images, as one is open at a time: fresh memory costs more than the sums.
        self._wide: Tensor | None = None
        self._gradient: Tensor | None = None
        score_hw = (scores.shape[2], scores.shape[3])
        columns = _slices(len(self.cols), BAND_COLUMNS)
        self.row_bands, self.col_bands = (
            _bands(
                axis_taps(
                    positions, size_in=i, size_out=o, align_corners=align_corners, dtype=self.dtype
                ),
                blocks,
                scores.device,
            )
            for positions, blocks, i, o in zip(
                (self.rows, self.cols), (self.blocks, columns), score_hw, label_hw, strict=True
            )
        )

    def open(self, scores: Tensor) -> Tensor:
        scores = scores.to(self.dtype)
        if self._wide is None:
            self._wide = scores.new_empty(*scores.shape[:2], len(self.cols))
        for band in self.col_bands:
            self._wide[..., band.outputs] = scores[..., band.inputs] @ band.weights.T
        return self._wide

    def read(self, opened: Tensor, index: int) -> Tensor:
        band = self.row_bands[index]
        return band.weights @ opened[:, band.inputs]

    def open_gradient(self, out: Tensor) -> Tensor:
        if self._gradient is None:
            self._gradient = out.new_empty(*out.shape[:2], len(self.cols), dtype=self.dtype)
        return self._gradient.zero_()

    def add(self, opened: Tensor, index: int, gradient: Tensor) -> None:
        band = self.row_bands[index]
        weights = band.weights.T.expand(len(gradient), -1, -1)
        opened[:, band.inputs].baddbmm_(weights, gradient)

    def close_gradient(self, opened: Tensor, out: Tensor) -> None:
        total = torch.zeros_like(out, dtype=self.dtype)
        for band in self.col_bands:
            total[..., band.inputs] += opened[..., band.outputs] @ band.weights
        out.copy_(total)


def _bands(taps: Taps, blocks: list[slice], device: torch.device) -> list[Band]:
    """The resize of one axis as one dense matrix for each block of outputs."""
    bands = []
    for outputs in blocks:
        lower, upper, share = taps.lower[outputs], taps.upper[outputs], taps.share[outputs, None]
        first, last = int(lower[0]), int(upper[-1]) + 1
        weights = share.new_zeros(len(lower), last - first)
        weights.scatter_add_(1, lower[:, None] - first, 1 - share)
        weights.scatter_add_(1, upper[:, None] - first, share)
        bands.append(Band(outputs, slice(first, last), weights.to(device)))
    return bands


def _slices(total: int, length: int) -> list[slice]:
    return [slice(start, min(start + length, total)) for start in range(0, total, length)]
