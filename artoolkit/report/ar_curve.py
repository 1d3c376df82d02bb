"""The paper's Table 2 from one's own run: does the affinity loss fall over the iterations?

An ordinary regression of the loss on the iteration takes successive iterations for independent,
which they are not: they come from one slowly moving set of weights. Its p value is therefore too
good, and a moving-block bootstrap of the residuals stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from artoolkit.spec import Frozen
from artoolkit.statistics import Interval, incomplete_beta, student_quantile

RESAMPLES = 2000
LEAST = 10

Floats = NDArray[np.float64]


class Trend(Frozen):
    """Slope of a loss per 1,000 iterations: least squares, and what it is worth.

    `ordinary` is the 95 % t interval, `blocks` the 95 % block-bootstrap interval with blocks of
    `block_length` iterations; `autocorrelation` is that of successive residuals.
    """

    iterations: int
    slope: float
    standard_error: float
    t: float
    p: float
    ordinary: Interval
    blocks: Interval
    block_length: int
    autocorrelation: float


def _fit(times: Floats, values: Floats) -> tuple[float, Floats]:
    """Slope and residuals of the least-squares line."""
    centred = times - times.mean()
    slope = float(centred @ values / (centred @ centred))
    return slope, values - values.mean() - slope * centred


def block_length(count: int, autocorrelation: float) -> int:
    """Carlstein's (1986) length for a first-order autoregression, between 1 and a quarter."""
    rho = min(max(autocorrelation, 0.0), 0.99)
    length = math.ceil((2 * rho / (1 - rho * rho)) ** (2 / 3) * count ** (1 / 3))
    return int(max(1, min(length, count // 4)))


def trend(iterations: Sequence[float], losses: Sequence[float], *, seed: int = 0) -> Trend | None:
    """The trend of `losses` over `iterations`; None for fewer than 10 of them."""
    times, values = np.asarray(iterations, np.float64) / 1000, np.asarray(losses, np.float64)
    count = len(values)
    if count < LEAST:
        return None
    slope, residuals = _fit(times, values)
    spread = float(((times - times.mean()) ** 2).sum())
    total = float(residuals @ residuals)
    error = math.sqrt(total / (count - 2) / spread)
    rho = float(residuals[1:] @ residuals[:-1]) / total if total > 0 else 0.0
    length = block_length(count, rho)
    t = slope / error if error > 0 else math.copysign(1e9, slope)
    half = student_quantile(0.975, count - 2) * error
    low, high = np.quantile(_resampled(times, residuals, slope, length, seed), [0.025, 0.975])
    return Trend(
        iterations=count,
        slope=slope,
        standard_error=error,
        t=t,
        p=incomplete_beta((count - 2) / 2, 0.5, (count - 2) / (count - 2 + t * t)),
        ordinary=Interval(estimate=slope, low=slope - half, high=slope + half, level=0.95),
        blocks=Interval(estimate=slope, low=float(low), high=float(high), level=0.95),
        block_length=length,
        autocorrelation=rho,
    )


def _resampled(times: Floats, residuals: Floats, slope: float, length: int, seed: int) -> Floats:
    """Slopes of the line with residuals drawn anew in blocks of successive ones."""
    count = len(residuals)
    random = np.random.default_rng(seed)
    blocks = math.ceil(count / length)
    starts = random.integers(0, count - length + 1, (RESAMPLES, blocks))
    places = (starts[..., None] + np.arange(length)).reshape(RESAMPLES, -1)[:, :count]
    centred = times - times.mean()
    return np.asarray(slope + residuals[places] @ centred / (centred @ centred))


def smoothed(values: Sequence[float], width: int) -> Floats:
    """Moving average over `width` successive values, shorter at both ends."""
    data = np.asarray(values, np.float64)
    kernel = np.ones(min(width, len(data)))
    weights = np.convolve(np.ones_like(data), kernel, mode="same")
    return np.asarray(np.convolve(data, kernel, mode="same") / weights)
