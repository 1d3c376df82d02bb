"""Settings that lower the precision of products do not reach the losses, and come back after."""

from __future__ import annotations

import pytest
import torch

from artoolkit.losses.precision import full_precision


def _precision() -> str:
    """Of float32 products on the CPU, in the words of whichever interface this torch has."""
    backend = getattr(torch.backends.mkldnn, "matmul", None)
    return backend.fp32_precision if backend else torch.get_float32_matmul_precision()


def test_products_are_exact_inside_and_the_setting_returns() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    lowered = _precision()
    a = torch.full((8, 8), 1 + 2**-20)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), full_precision("cpu"):
            assert torch.equal(a @ torch.eye(8), a)
            assert _precision() in ("ieee", "highest")
        assert _precision() == lowered
        with pytest.raises(KeyError), full_precision("cpu"):
            raise KeyError
        assert _precision() == lowered
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert _precision() != lowered
