"""Intervals against scipy and by hand, and what each reading needs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from artoolkit.statistics import (
    MOST_PAIRS,
    incomplete_beta,
    normal_cdf,
    pairs_to_decide,
    pairs_to_show,
    percentile,
    read_equivalence,
    student_cdf,
    student_interval,
    student_quantile,
    trimmed_interval,
)


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 19, 99, 1000, 1e6])
@pytest.mark.parametrize("probability", [1e-4, 0.025, 0.05, 0.4, 0.5, 0.95, 0.975, 0.9999])
def test_quantile_is_scipys(probability: float, degrees: float) -> None:
    expected = stats.t.ppf(probability, degrees)
    assert student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("t", [-40.0, -1.7, 0.0, 0.3, 2.1, 12.0])
def test_cdf_is_scipys(t: float) -> None:
    for degrees in (1, 4, 19, 250):
        assert student_cdf(t, degrees) == pytest.approx(stats.t.cdf(t, degrees), rel=1e-10)
    assert normal_cdf(t) == pytest.approx(stats.norm.cdf(t), rel=1e-10)


@pytest.mark.parametrize(("a", "b", "x"), [(0, 1, 0.5), (1, -1, 0.5), (1, 1, 1.5), (1, 1, -0.1)])
def test_incomplete_beta_refuses_what_has_no_value(a: float, b: float, x: float) -> None:
    with pytest.raises(ValueError, match="incomplete_beta needs"):
        incomplete_beta(a, b, x)


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.2])
def test_a_quantile_of_no_probability_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="probability in"):
        student_quantile(probability, 5)


def test_interval_is_scipys() -> None:
    values = np.random.default_rng(1).normal(3, 2, 23)
    low, high = stats.t.interval(0.9, 22, values.mean(), stats.sem(values))
    interval = student_interval(values, 0.9)
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-10)
    assert interval.estimate == pytest.approx(values.mean())


@pytest.mark.parametrize("values", [[1.0], [1.0, math.nan], [[1.0, 2.0]], []])
def test_no_interval_without_two_finite_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least 2 finite values"):
        student_interval(values, 0.9)


def pairs(mean_percent: float, spread: float, count: int = 20) -> np.ndarray:
    """Log ratios with exactly this mean and this standard deviation."""
    shape = np.resize([-1.0, 1.0], count)
    return math.log1p(mean_percent / 100) + spread * shape / shape.std(ddof=1)


@pytest.mark.parametrize(
    ("mean_percent", "spread", "reading"),
    [
        (0.0, 0.01, "equal"),
        (0.5, 0.01, "equal"),
        (-5.0, 0.01, "faster"),
        (5.0, 0.01, "slower"),
        (1.8, 0.01, "undecided"),
        (2.2, 0.01, "undecided"),
        (0.0, 0.20, "undecided"),
        (0.0, 0.0, "equal"),
        (2.1, 0.0, "slower"),
    ],
)
def test_readings(mean_percent: float, spread: float, reading: str) -> None:
    result = read_equivalence(pairs(mean_percent, spread), margin_percent=2)
    assert result.reading == reading
    assert result.difference_percent.estimate == pytest.approx(mean_percent, abs=1e-9)
    assert (result.pairs_needed is None) == (reading != "undecided")


def test_two_one_sided_tests_agree_with_scipys() -> None:
    ratios = np.random.default_rng(4).normal(0.004, 0.02, 30)
    upper = stats.ttest_1samp(ratios, math.log(1.02), alternative="less").pvalue
    result = read_equivalence(ratios, margin_percent=2)
    assert (result.difference_percent.high < 2) == (upper < 0.05)


@pytest.mark.parametrize(("mean_percent", "spread"), [(1.5, 0.03), (2.6, 0.03), (0.0, 0.05)])
def test_the_number_of_pairs_that_would_decide_does_and_one_less_does_not(
    mean_percent: float, spread: float
) -> None:
    needed = pairs_to_decide(math.log1p(mean_percent / 100), spread, 2)
    assert needed is not None
    distance = abs(math.log(1.02) - math.log1p(mean_percent / 100))
    for count, decided in ((needed, True), (needed - 1, False)):
        half = stats.t.ppf(0.95, count - 1) * spread / math.sqrt(count)
        assert (half < distance) == decided


def test_a_difference_on_the_margin_is_never_decided() -> None:
    assert pairs_to_decide(math.log(1.02), 0.01, 2) is None
    assert pairs_to_decide(math.log(1.02) + 1e-6, 0.01, 2) is None
    assert MOST_PAIRS > 10_000


def test_planned_pairs_give_the_power_that_was_asked_for() -> None:
    random, spread, power = np.random.default_rng(0), 0.04, 0.9
    seen = read_equivalence(random.normal(0, spread, 10_000), margin_percent=2).sd_log
    count = pairs_to_show(seen, 2, power=power)
    passed = sum(
        read_equivalence(random.normal(0, spread, count), margin_percent=2).reading
        in ("equal", "faster")
        for _ in range(1000)
    )
    assert passed / 1000 == pytest.approx(power, abs=0.03)


def test_the_trimmed_interval_is_scipys_and_students_for_few_values() -> None:
    values = np.random.default_rng(1).standard_t(2, 40)
    found = trimmed_interval(values, 0.9)
    assert found.estimate == pytest.approx(stats.trim_mean(values, 0.2))
    # scipy has n in place of Yuen's (n - 1) * h / (h - 1) in the variance.
    expected = stats.mstats.trimmed_mean_ci(values, limits=(0.2, 0.2), alpha=0.1)
    assert [found.low, found.high] == pytest.approx(expected, abs=0.01 * (found.high - found.low))
    assert trimmed_interval(values[:4], 0.9) == student_interval(values[:4], 0.9)


def test_a_third_of_disturbed_pairs_does_not_move_the_trimmed_interval_far() -> None:
    values = np.random.default_rng(2).normal(0, 0.01, 60)
    disturbed = values.copy()
    disturbed[::6], disturbed[3::6] = 0.5, -0.5
    found = read_equivalence(disturbed, margin_percent=2)
    assert found.reading == "equal"
    assert read_equivalence(values, margin_percent=2).reading == "equal"


def test_a_margin_must_be_positive() -> None:
    with pytest.raises(ValueError, match="margin must be positive"):
        read_equivalence([0.0, 0.1], margin_percent=0)


@pytest.mark.parametrize("count", [1, 2, 3, 20, 21])
def test_percentiles_are_numpys(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count).tolist()
    for percent in (0, 50, 95, 100):
        assert percentile(values, percent) == pytest.approx(np.percentile(values, percent))
