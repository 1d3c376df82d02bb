"""Intervals and readings: when two latencies are "equal", and how many pairs would decide it.

Numpy only, since a robot has no scipy. The statistic is the log ratio candidate / baseline of one
pair of blocks; its trimmed mean over the pairs has a t interval (Tukey and McLaughlin, 1963). Two
one-sided tests at 5 % are the same as reading a 90 % interval against the margin (Schuirmann,
1987). The mIoU difference is in
`artoolkit.evaluation.bootstrap`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from artoolkit.spec import Frozen

Reading = Literal["equal", "faster", "slower", "undecided"]

MOST_PAIRS = 100_000
# A fifth of the pairs at either end: what is usual since Tukey, and a machine that does something
# else during a third of the pairs, which is common, moves the mean hardly at all.
TRIM = 0.2


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Continued fraction of the incomplete beta function by Lentz's method (DLMF 8.17.22)."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 500):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + numerator * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + numerator / c
            c = c if abs(c) > tiny else tiny
            value *= d * c
        if abs(d * c - 1.0) < 1e-15:
            break
    return value


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b) for a, b > 0 and x in [0, 1]."""
    if not (a > 0 and b > 0 and 0 <= x <= 1):
        raise ValueError(f"incomplete_beta needs a, b > 0 and x in [0, 1], got {a}, {b}, {x}")
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front += a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) * _beta_fraction(a, b, x) / a


def student_cdf(t: float, degrees: float) -> float:
    """P(T <= t) for Student's t with `degrees` > 0 degrees of freedom (A&S 26.7.1)."""
    tail = 0.5 * incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))
    return 1.0 - tail if t > 0 else tail


def _student_density(t: float, degrees: float) -> float:
    log = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    log -= 0.5 * math.log(degrees * math.pi) + (degrees + 1) / 2 * math.log1p(t * t / degrees)
    return math.exp(log)


@lru_cache(maxsize=4096)
def student_quantile(probability: float, degrees: float) -> float:
    """The t with P(T <= t) = `probability` (in (0, 1)), to about 1e-8 relative."""
    if not 0 < probability < 1:
        raise ValueError(f"a quantile needs a probability in (0, 1), got {probability}")
    if probability < 0.5:
        return -student_quantile(1 - probability, degrees)
    t = 0.0
    # The distribution function is concave on this side, so Newton's steps never overshoot.
    for _ in range(200):
        step = (probability - student_cdf(t, degrees)) / _student_density(t, degrees)
        t += step
        if abs(step) <= 1e-12 * (1 + t):
            break
    return t


def normal_cdf(z: float) -> float:
    """P(Z <= z) of the standard normal distribution."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def percentile(values: Sequence[float], percent: float) -> float:
    """The percentile by linear interpolation, as numpy's; quicker than it for a few values."""
    ranked = sorted(values)
    place = (len(ranked) - 1) * percent / 100
    below = min(int(place), len(ranked) - 2) if len(ranked) > 1 else 0
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (place - below) * (ranked[above] - ranked[below])


class Interval(Frozen):
    """An estimate between its limits; `level` is the coverage in (0, 1), e.g. 0.90."""

    estimate: float
    low: float
    high: float
    level: float


class Equivalence(Frozen):
    """Result of one statistic against the margin; all differences are in percent of the baseline.

    `sd_log` is the spread of the log ratio from pair to pair: the standard error of the trimmed
    mean times the root of the number of pairs. `pairs_needed` is set when undecided: the number of
    pairs that would decide it at the same estimate and the same spread, None beyond 100,000 (the
    estimate lies on the margin).
    """

    statistic: str
    reading: Reading
    margin_percent: float
    difference_percent: Interval
    pairs: int
    sd_log: float
    pairs_needed: int | None = None


def student_interval(values: Sequence[float] | NDArray[np.float64], level: float) -> Interval:
    """Student t interval of the mean of `values` (at least 2, finite)."""
    data = np.asarray(values, np.float64)
    if data.ndim != 1 or data.size < 2 or not np.isfinite(data).all():
        raise ValueError(f"an interval needs at least 2 finite values, got {data!r:.200}")
    mean = float(data.mean())
    half = student_quantile(0.5 + level / 2, data.size - 1) * float(data.std(ddof=1))
    half /= math.sqrt(data.size)
    return Interval(estimate=mean, low=mean - half, high=mean + half, level=level)


def trimmed_interval(values: Sequence[float] | NDArray[np.float64], level: float) -> Interval:
    """Interval of the mean of `values` without the fifth at either end (at least 2, finite).

    Student's t on the Winsorised spread (Tukey and McLaughlin, "Less vulnerable confidence and
    significance procedures for location", Sankhya A, 1963). With fewer than 5 values nothing is
    trimmed: Student's interval.
    """
    data = np.sort(np.asarray(values, np.float64))
    cut = int(TRIM * data.size)
    if cut == 0 or not np.isfinite(data).all():
        return student_interval(data, level)
    kept = data.size - 2 * cut
    mean = float(data[cut : data.size - cut].mean())
    spread = float(np.clip(data, data[cut], data[-cut - 1]).std(ddof=1))
    error = spread * math.sqrt((data.size - 1) / (kept * (kept - 1)))
    half = student_quantile(0.5 + level / 2, kept - 1) * error
    return Interval(estimate=mean, low=mean - half, high=mean + half, level=level)


def pairs_to_decide(mean_log: float, sd_log: float, margin_percent: float) -> int | None:
    """Fewest pairs at which the 90 % interval leaves the margin; None beyond `MOST_PAIRS`."""
    distance = abs(math.log1p(margin_percent / 100) - mean_log)

    def decided(pairs: int) -> bool:
        return student_quantile(0.95, pairs - 1) * sd_log / math.sqrt(pairs) < distance

    if not decided(MOST_PAIRS):
        return None
    low, high = 1, MOST_PAIRS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if middle > 1 and decided(middle) else (middle, high)
    return high


def pairs_to_show(sd_log: float, margin_percent: float, *, power: float) -> int:
    """Pairs at which a candidate as fast as the baseline passes with probability `power`.

    `sd_log` as `Equivalence` has it. Normal approximation of the one-sided test at 5 %, with the 2
    that a t quantile costs, of those that are not trimmed.
    """
    z = student_quantile(0.95, 1e6) + student_quantile(power, 1e6)
    return math.ceil((z * sd_log / math.log1p(margin_percent / 100)) ** 2 + 2 / (1 - 2 * TRIM))


def read_equivalence(
    log_ratios: Sequence[float] | NDArray[np.float64],
    *,
    margin_percent: float,
    statistic: str = "median",
) -> Equivalence:
    """Reads log(candidate / baseline), one value per pair, against the margin.

    equal: the 90 % interval lies within the margin on both sides; faster: its upper end lies below
    the margin and its lower end below minus the margin; slower: its lower end lies above the
    margin; undecided: the upper side of the margin lies inside the interval.
    """
    if not margin_percent > 0:
        raise ValueError(f"the margin must be positive, got {margin_percent}")
    interval = trimmed_interval(log_ratios, 0.90)
    low, middle, high = (
        100 * math.expm1(x) for x in (interval.low, interval.estimate, interval.high)
    )
    pairs = len(log_ratios)
    quantile = student_quantile(0.95, pairs - 2 * int(TRIM * pairs) - 1)
    sd_log = (interval.high - interval.estimate) / quantile * math.sqrt(pairs)
    reading: Reading = "undecided"
    if high < margin_percent:
        reading = "equal" if low > -margin_percent else "faster"
    elif low > margin_percent:
        reading = "slower"
    needed = None
    if reading == "undecided":
        needed = pairs_to_decide(interval.estimate, sd_log, margin_percent)
    return Equivalence(
        statistic=statistic,
        reading=reading,
        margin_percent=margin_percent,
        difference_percent=Interval(estimate=middle, low=low, high=high, level=0.90),
        pairs=pairs,
        sd_log=sd_log,
        pairs_needed=needed,
    )
