"""The regression against scipy, and the block bootstrap where iterations are correlated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from artoolkit.report.ar_curve import block_length, smoothed, trend


def curve(count: int, *, slope: float, rho: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    noise = np.zeros(count)
    for index in range(1, count):
        noise[index] = rho * noise[index - 1] + random.normal(0, 0.01)
    return 0.3 + slope * np.arange(count) / 1000 + noise


def test_the_ordinary_regression_is_scipys() -> None:
    losses = curve(200, slope=-0.05, rho=0.0, seed=0)
    found, expected = trend(range(200), losses), stats.linregress(np.arange(200) / 1000, losses)
    assert found is not None
    assert found.slope == pytest.approx(expected.slope)
    assert found.standard_error == pytest.approx(expected.stderr)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert found.t == pytest.approx(expected.slope / expected.stderr)


def test_independent_iterations_give_both_intervals_alike() -> None:
    found = trend(range(400), curve(400, slope=-0.05, rho=0.0, seed=1))
    assert found is not None
    widths = [i.high - i.low for i in (found.ordinary, found.blocks)]
    assert widths[1] == pytest.approx(widths[0], rel=0.25)
    assert abs(found.autocorrelation) < 0.2


def test_correlated_iterations_fool_the_regression_and_not_the_blocks() -> None:
    """Without any trend 5 % should be called one."""
    called = {"ordinary": 0, "blocks": 0}
    for seed in range(60):
        found = trend(range(300), curve(300, slope=0.0, rho=0.8, seed=seed), seed=seed)
        assert found is not None
        called["ordinary"] += not found.ordinary.low <= 0 <= found.ordinary.high
        called["blocks"] += not found.blocks.low <= 0 <= found.blocks.high
    assert called["ordinary"] > 20
    assert called["blocks"] < 15


def test_block_lengths() -> None:
    assert block_length(1000, 0.0) == 1
    assert block_length(1000, -0.5) == 1
    assert block_length(1000, 0.5) == 13
    assert block_length(40, 0.99) == 10


def test_too_few_iterations_have_no_trend_and_a_straight_line_is_certain() -> None:
    assert trend(range(9), range(9)) is None
    line = trend(range(20), [0.1 * i for i in range(20)])
    assert line is not None
    assert line.slope == pytest.approx(100)
    assert line.p < 1e-6


def test_a_moving_average_by_hand() -> None:
    assert smoothed([1, 2, 3, 6], 3) == pytest.approx([1.5, 2, 11 / 3, 4.5])
    assert smoothed([5.0], 9) == pytest.approx([5.0])
