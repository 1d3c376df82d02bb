"""Pyramid pooling as matrix products against torch's own pooling and resizing, in float64."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from artoolkit.networks.pooling import (
    BINS,
    PyramidConcat,
    PyramidSum,
    averaging_matrix,
    caffe_windows,
    pooled_levels,
    resize_matrix,
)

SIZES = [(32, 64), (33, 65), (12, 15), (5, 7), (1, 1)]


def a_map(size_hw: tuple[int, int], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(2, 3, *size_hw, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("size_hw", SIZES)
def test_levels_equal_adaptive_average_pooling(size_hw: tuple[int, int]) -> None:
    x = a_map(size_hw)
    for bins, level in zip(BINS, pooled_levels(x), strict=True):
        expected = functional.adaptive_avg_pool2d(x, bins)
        torch.testing.assert_close(level, expected, rtol=0, atol=2e-15)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("size_hw", SIZES)
def test_sum_equals_pool_and_resize(size_hw: tuple[int, int], align_corners: bool) -> None:
    x = a_map(size_hw)
    expected = x + sum(
        functional.interpolate(
            functional.adaptive_avg_pool2d(x, bins),
            size_hw,
            mode="bilinear",
            align_corners=align_corners,
        )
        for bins in BINS
    )
    pyramid = PyramidSum(align_corners=align_corners)
    torch.testing.assert_close(pyramid(x), expected, rtol=0, atol=2e-14)


def test_caffe_windows_are_the_published_kernels() -> None:
    published = {
        33: {1: (33, 33), 2: (17, 16), 3: (13, 10), 6: (8, 5)},
        65: {1: (65, 65), 2: (33, 32), 3: (25, 20), 6: (15, 10)},
        90: {1: (90, 90), 2: (45, 45), 3: (30, 30), 6: (15, 15)},
    }
    for size, levels in published.items():
        for bins, (kernel, stride) in levels.items():
            windows = caffe_windows(size, bins)
            assert len(windows) == bins
            assert {stop - start for start, stop in windows} == {kernel}
            assert windows[-1][1] == size
            if bins > 1:
                assert {b[0] - a[0] for a, b in itertools.pairwise(windows)} == {stride}


def test_caffe_levels_equal_average_pooling_with_those_kernels() -> None:
    x = a_map((33, 65))
    levels = pooled_levels(x, windows="caffe")
    kernels = [((33, 65), 1), ((17, 33), (16, 32)), ((13, 25), (10, 20)), ((8, 15), (5, 10))]
    for level, (kernel, stride) in zip(levels, kernels, strict=True):
        torch.testing.assert_close(
            level, functional.avg_pool2d(x, kernel, stride), rtol=0, atol=2e-15
        )
    adaptive = pooled_levels(x)
    equal = [torch.allclose(a, b) for a, b in zip(levels, adaptive, strict=True)]
    assert equal == [True, True, False, False]


@pytest.mark.parametrize("size", [1, 2, 5, 33, 64])
@pytest.mark.parametrize("bins", BINS)
def test_matrices_are_averages(size: int, bins: int) -> None:
    for windows in ("adaptive", "caffe"):
        assert averaging_matrix(size, bins, windows).sum(1) == pytest.approx(np.ones(bins))
    for align_corners in (True, False):
        matrix = resize_matrix(size, bins, align_corners)
        assert matrix.min() >= 0
        assert matrix.sum(1) == pytest.approx(np.ones(size))


def test_autocast_keeps_the_average_of_a_constant() -> None:
    x = torch.full((1, 2, 11, 13), 1.0, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        out = PyramidSum()(x)
        levels = pooled_levels(x)
    assert out.dtype is torch.bfloat16
    assert torch.equal(out, torch.full_like(x, 5.0))
    assert all(torch.equal(level, torch.ones_like(level)) for level in levels)


def test_gradient_is_the_transposed_map() -> None:
    x = a_map((4, 5)).requires_grad_()
    assert torch.autograd.gradcheck(PyramidSum(windows="caffe"), (x,))


def test_unknown_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="pooling 'max'"):
        PyramidSum(windows="max")  # type: ignore[arg-type]


@pytest.mark.parametrize("levels_first", [False, True])
@pytest.mark.parametrize("align_corners", [True, False])
def test_concatenation_equals_pool_project_and_resize(
    align_corners: bool, levels_first: bool
) -> None:
    pyramid = PyramidConcat(3, 2, align_corners=align_corners, levels_first=levels_first)
    pyramid = pyramid.double().eval()
    x = a_map((5, 7))
    levels = [
        functional.interpolate(
            branch(functional.adaptive_avg_pool2d(x, bins)),
            (5, 7),
            mode="bilinear",
            align_corners=align_corners,
        )
        for bins, branch in zip(BINS, pyramid.branches, strict=True)
    ]
    expected = torch.cat([*levels, x] if levels_first else [x, *levels], dim=1)
    torch.testing.assert_close(pyramid(x), expected, rtol=0, atol=1e-14)
    assert expected.shape[1] == pyramid.out_channels


def test_one_image_cannot_train_a_single_bin() -> None:
    pyramid = PyramidConcat(3, 2, align_corners=True)
    one = torch.randn(1, 3, 6, 6)
    with pytest.raises(ValueError, match="batch of 1 image; pooling to a single bin needs 2"):
        pyramid(one)
    assert pyramid(torch.randn(2, 3, 6, 6)).isfinite().all()
    for module in pyramid.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    assert pyramid(one).isfinite().all()
