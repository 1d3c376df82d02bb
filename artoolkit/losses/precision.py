"""Full precision for the arithmetic of the losses, whatever training itself computes in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 stays; everything else is computed in float32."""
    return torch.promote_types(dtype, torch.float32)


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Neither autocast nor TF32: interpolated scores would lose all but 10 bits to the latter."""
    with torch.autocast(device_type, enabled=False), _ieee_products():
        yield


@contextmanager
def _ieee_products() -> Iterator[None]:
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # torch before 2.9
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
        return
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, _mkldnn_products())
    chosen = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, chosen, strict=True):
            backend.fp32_precision = precision


def _mkldnn_products() -> Any:
    return torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # a property of the module
