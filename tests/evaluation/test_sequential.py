"""Looks: what they may spend, whom they drop, and how often all of them together are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from artoolkit.errors import UsageError
from artoolkit.evaluation.sequential import check_looks, contenders, look_alpha
from artoolkit.statistics import student_interval

LOOKS = [2, 4, 8]


def test_looks_share_five_percent_and_the_last_gets_most() -> None:
    spent = [look_alpha(LOOKS, pairs, 1) for pairs in LOOKS]
    assert sum(spent) == pytest.approx(0.05)
    assert spent == sorted(spent) and spent[-1] > 0.04
    # An arm that was dropped after the first look, or lacks a pair, is at the look that it reached.
    assert look_alpha(LOOKS, 3, 1) == spent[0]
    assert look_alpha(LOOKS, 8, 10) == pytest.approx(spent[-1] / 10)
    assert look_alpha([], 5, 4) == pytest.approx(0.05 / 4)


def test_an_arm_that_lies_clearly_below_is_dropped_and_a_close_one_stays() -> None:
    found = {
        ("good", 0.0): {1: 2.0, 2: 2.1},
        ("close", 0.0): {1: 2.1, 2: 1.9},
        ("poor", 0.0): {1: -3.0, 2: -2.9},
        ("late", 0.0): {3: -9.0},
    }
    assert contenders(found, [1, 2]) == {("good", 0.0), ("close", 0.0)}
    assert contenders({("one", 1.0): {1: 0.0, 2: -1.0}}, [1, 2]) == {("one", 1.0)}
    assert contenders({}, [1, 2]) == set()


def test_arms_without_any_effect_are_claimed_to_have_one_in_at_most_five_percent() -> None:
    """Five arms with one control and three looks, a claim at any look counts."""
    rng, times, wrong = np.random.default_rng(0), 400, 0
    for _ in range(times):
        runs = rng.normal(size=(6, 8))
        found = {(str(arm), 0.0): dict(enumerate(runs[arm] - runs[5])) for arm in range(5)}
        kept, claimed = set(found), False
        for look in LOOKS:
            for arm in kept:
                values = list(found[arm].values())[:look]
                interval = student_interval(values, 1 - look_alpha(LOOKS, look, 5))
                claimed |= not interval.low <= 0 <= interval.high
            kept = contenders({arm: found[arm] for arm in kept}, range(look))
        wrong += claimed
    assert wrong / times <= 0.05 + 0.022  # two standard errors of the simulation


@pytest.mark.parametrize("looks", [[1, 4], [4, 2], [2, 2, 4], [2, 3]])
def test_looks_ascend_to_all_seeds(looks: list[int]) -> None:
    with pytest.raises(UsageError, match="--looks are numbers of seeds that ascend"):
        check_looks(looks, 4)
    check_looks([2, 4], 4)
