"""Intervals over drives, baselines and seeds, on simulated data whose mean is known."""

from __future__ import annotations

import numpy as np
import pytest

from artoolkit.evaluation.hierarchy import gain, hierarchical_interval
from artoolkit.statistics import student_interval


def simulated(rng: np.random.Generator, spreads: tuple[float, float, float], drives: int) -> dict:
    """Two baselines of three seeds per drive around a mean of 1; standard deviations by level."""
    tree: dict = {}
    for drive in range(drives):
        of_drive = 1 + rng.normal(0, spreads[0])
        for baseline in range(2):
            of_baseline = of_drive + rng.normal(0, spreads[1])
            seeds = of_baseline + rng.normal(0, spreads[2], 3)
            tree.setdefault(str(drive), {})[str(baseline)] = seeds.tolist()
    return tree


@pytest.mark.parametrize("spreads", [(1.0, 0.5, 0.5), (0.0, 0.0, 1.0)])
def test_95_percent_of_the_intervals_hold_the_mean_of_all_streets(spreads) -> None:
    """Counted as independent, the runs of three drives would cover it far too seldom."""
    rng, times = np.random.default_rng(1), 300
    held = naive = 0
    for _ in range(times):
        tree = simulated(rng, spreads, drives=3)
        found = hierarchical_interval(tree, resamples=300)
        held += found.low <= 1 <= found.high
        every = [value for baselines in tree.values() for s in baselines.values() for value in s]
        plain = student_interval(every, 0.95)
        naive += plain.low <= 1 <= plain.high
    # Three standard errors of the simulation around 95 %.
    assert 0.912 < held / times < 0.988
    assert (naive / times < 0.75) == (spreads[0] > 0)


def test_it_is_never_narrower_than_students_t_over_the_drives() -> None:
    tree = {"a": {"0": [1.0, 1.2], "1": [0.8]}, "b": {"0": [2.0, 2.2]}, "c": {"0": [0.5]}}
    found = hierarchical_interval(tree)
    plain = student_interval([(1.1 + 0.8) / 2, 2.1, 0.5], 0.95)
    assert found.estimate == pytest.approx(plain.estimate)
    assert found.low <= plain.low + 1e-12 and found.high >= plain.high - 1e-12
    assert found == hierarchical_interval(tree)


def test_what_it_is_about_follows_from_what_there_are_two_of() -> None:
    seeds = [1.0, 1.5, 0.5]
    several = gain({"a": {"0": seeds, "1": seeds}, "b": {"0": [2.0]}, "c": {}})
    one_drive = gain({"a": {"0": seeds, "1": [2.0, 2.1]}})
    one_baseline = gain({"a": {"0": seeds}})
    assert several is not None and one_drive is not None and one_baseline is not None
    assert (several.about, several.drives, several.baselines, several.runs) == (
        "new drives", 2, 3, 7
    )  # fmt: skip
    assert (one_drive.about, one_baseline.about) == ("new baselines", "new seeds")
    plain = student_interval(seeds, 0.95)
    assert one_baseline.interval.low == pytest.approx(plain.low, abs=0.2)
    assert gain({"a": {"0": [1.0]}}) is None


@pytest.mark.parametrize("tree", [{"a": {"0": [1.0]}}, {"a": {"0": [1.0]}, "b": {}},
                                  {"a": {"0": [1.0]}, "b": {"0": [float("nan")]}}])  # fmt: skip
def test_what_makes_no_interval_is_refused(tree) -> None:
    with pytest.raises(ValueError):
        hierarchical_interval(tree)
