"""Times are taken in turn, and ratios within a round."""

from __future__ import annotations

import numpy as np
import pytest
import side_by_side
from side_by_side import in_turn, ratio, spread_percent, street


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A clock that only runs while a network does, or sleeps; the list is what ran."""
    now, ran = [0.0], []

    def sleep(pause: float) -> None:
        ran.append(".")
        now[0] += pause

    monkeypatch.setattr(side_by_side.time, "sleep", sleep)
    monkeypatch.setattr(side_by_side.time, "perf_counter", lambda: now[0])

    def run(name: str, cost: float) -> None:
        ran.append(name)
        now[0] += cost

    monkeypatch.setattr(side_by_side, "RUN", run, raising=False)
    return ran


def runs(a: float, b: float) -> dict:
    return {
        "a": lambda: side_by_side.RUN("a", a),
        "b": lambda: side_by_side.RUN("b", b),
    }


def test_the_order_turns_around_after_two_warm_ups_and_all_is_at_rest(clock: list[str]) -> None:
    samples = in_turn(runs(1.0, 2.0), budget_s=0.0, least=3)
    assert "".join(clock) == "abab" + ".a.b" + ".b.a" + ".a.b"
    assert samples == {"a": pytest.approx([1.0] * 3), "b": pytest.approx([2.0] * 3)}


@pytest.mark.parametrize(("budget", "rounds"), [(0.0, 5), (33.0, 10), (1e6, 20)])
def test_the_budget_sets_the_rounds_within_limits(
    clock: list[str], budget: float, rounds: int
) -> None:
    assert len(in_turn(runs(1.0, 2.0), budget_s=budget)["a"]) == rounds


def test_a_ratio_is_taken_within_each_round() -> None:
    """The machine became ten times slower half way; the ratio did not change."""
    samples = {"case": [1.0, 10.0, 10.1], "reference": [2.0, 20.0, 20.0]}
    assert ratio(samples) == pytest.approx(0.5)
    assert spread_percent(samples) == pytest.approx(0.25)


def test_streets_of_a_batch_differ_and_repeat() -> None:
    first, second = street((64, 128), 2)
    assert first.shape == (64, 128, 3)
    assert first.dtype == np.uint8
    assert (first != second).any()
    np.testing.assert_array_equal(street((64, 128))[0], first)
