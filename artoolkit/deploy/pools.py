"""Adaptive pooling of any module, as operators that every backend has.

The exporter writes averages whose bins do not divide the map as dozens of gathers, and such maxima
not at all. Sizes are static here: bins that divide it are a plain pool; other averages are two
constant matrix products, exact, as in our own networks (`networks.pooling`); other maxima are
taken slice by slice. Legend: N images, C channels, h w the map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch

from artoolkit.networks.pooling import adaptive_windows, averaging_matrix
from artoolkit.optional import require


def pool_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Operators of torch -> functions that write them, for `torch.onnx.export`."""
    require("onnxscript", "export to ONNX")
    # Version 18 is what the exporter itself writes; it converts the whole graph to the target's.
    from onnxscript import opset18 as op

    def constant(values: Any, kind: Any = np.int64) -> Any:
        return op.Constant(value=onnx.numpy_helper.from_array(np.asarray(values, kind)))

    def steps(x: Any, bins: Sequence[int]) -> list[int] | None:
        """Pixels per bin of both axes, where the bins divide the map."""
        if any(size % count for size, count in zip(x.shape[-2:], bins, strict=True)):
            return None
        return [size // count for size, count in zip(x.shape[-2:], bins, strict=True)]

    def average(x: Any, output_size: Sequence[int]) -> Any:
        """N x C x h x w -> N x C of `output_size`."""
        if list(output_size) == [1, 1]:
            return op.ReduceMean(x, constant([-2, -1]), keepdims=1)
        if step := steps(x, output_size):
            return op.AveragePool(x, kernel_shape=step, strides=step)
        rows, columns = (
            averaging_matrix(size, count)
            for size, count in zip(x.shape[-2:], output_size, strict=True)
        )
        kind = x.dtype.numpy()
        return op.MatMul(constant(rows, kind), op.MatMul(x, constant(columns.T, kind)))

    def largest(x: Any, output_size: Sequence[int]) -> Any:
        """The same of maxima, beside them where they lie: only plain pools write that."""
        if step := steps(x, output_size):
            return op.MaxPool(x, kernel_shape=step, strides=step)
        for axis, (size, count) in enumerate(zip(x.shape[-2:], output_size, strict=True), start=2):
            parts = [
                op.ReduceMax(
                    op.Slice(x, constant([start]), constant([stop]), constant([axis])),
                    constant([axis]),
                    keepdims=1,
                )
                for start, stop in adaptive_windows(size, count)
            ]
            x = op.Concat(*parts, axis=axis)
        return x, x

    aten = torch.ops.aten
    return {
        aten.adaptive_avg_pool2d.default: average,
        aten._adaptive_avg_pool2d.default: average,
        aten.adaptive_max_pool2d.default: largest,
    }
