"""Blocks, budget and readings on a simulated machine with a clock of its own."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from simulation import Noise, SimulatedMachine, SimulatedRunner

from artoolkit.cost.latency import (
    inferences_a_block,
    inferences_a_turn,
    measure_latency,
    quiet_collector,
    time_block,
)
from artoolkit.cost.latency_record import LatencyMeasurement, LatencySettings


def measured(
    *,
    latency_ms: float = 10.0,
    delay_percent: float = 0.0,
    noise: Noise = "normal",
    seed: int = 0,
    plan: LatencySettings | None = None,
) -> LatencyMeasurement:
    machine = SimulatedMachine(noise, seed)
    slow_ms = latency_ms * (1 + delay_percent / 100)
    return measure_latency(
        lambda: SimulatedRunner(machine, latency_ms),
        lambda: SimulatedRunner(machine, slow_ms),
        images=[np.zeros((1, 1, 1, 3), np.uint8)] * 3,
        plan=plan,
        machine=machine,
        clock=machine.clock,
    )


def test_blocks_are_balanced_pairs_control_first() -> None:
    record = measured()
    assert [b.arm for b in record.blocks[:4]] == list("ABAB")
    phases = [b.phase for b in record.blocks]
    assert phases == sorted(phases)
    for phase in ("control", "test"):
        first = [b for b in record.blocks if b.phase == phase]
        assert len(first) >= 40
        assert [b.pair for b in first[::2]] == list(range(len(first) // 2))
    assert record.planned_pairs % 2 == 0
    assert {len(b.samples_ms) for b in record.blocks} == {20}


class Named(SimulatedRunner):
    """Writes down who inferred from what."""

    def __init__(self, machine: SimulatedMachine, name: str, heard: list[tuple[str, int]]) -> None:
        super().__init__(machine, 4.0)
        self.name, self.heard = name, heard

    def infer(self, images: Any) -> dict[str, Any]:
        self.heard.append((self.name, int(images)))
        return super().infer(images)


def heard_in_turns(
    plan: LatencySettings, threads: int = 1
) -> tuple[LatencyMeasurement, list[tuple[str, int]]]:
    """The record, and the runner and image of every inference of the test itself."""
    machine, heard = SimulatedMachine("normal", 0), list[tuple[str, int]]()

    def opener(name: str) -> Named:
        runner = Named(machine, name, heard)
        settings = {"intra_op_threads": threads}
        runner.spec = runner.spec.model_copy(update={"settings": settings})
        return runner

    record = measure_latency(
        lambda: opener("A"),
        lambda: opener("B"),
        images=[1, 2, 3],
        plan=plan,
        machine=machine,
        clock=machine.clock,
    )
    turns = -(-record.inferences_a_block // record.inferences_a_turn)
    each = record.inferences_a_block + turns * record.settling_inferences
    return record, heard[-2 * record.planned_pairs * each :]


def test_the_blocks_of_a_pair_take_turns() -> None:
    plan = LatencySettings(warmup_ms=0, inferences=7, block_ms=0, turn_ms=10)
    record, heard = heard_in_turns(plan)
    assert (record.inferences_a_block, record.inferences_a_turn) == (7, 3)
    names = ["".join(name for name, _ in heard[i : i + 14]) for i in range(0, len(heard), 14)]
    assert names[:2] == ["AAABBBBBBAAAAB", "BBBAAAAAABBBBA"]
    assert names == names[:2] * (len(names) // 2)


def test_spinning_threads_settle_before_each_turn() -> None:
    plan = LatencySettings(warmup_ms=0, inferences=4, block_ms=0, turn_ms=8)
    record, heard = heard_in_turns(plan, threads=2)
    assert (record.inferences_a_turn, record.settling_inferences) == (2, 1)
    assert "".join(name for name, _ in heard[:12]) == "AAABBBBBBAAA"
    assert [image for _, image in heard[:6]] == [1, 1, 2, 1, 1, 2]
    assert {len(block.samples_ms) for block in record.blocks} == {4}


def test_without_turns_one_block_follows_the_other() -> None:
    record, heard = heard_in_turns(LatencySettings(inferences=5, block_ms=0, turn_ms=1000))
    assert record.inferences_a_turn == 5
    assert "".join(name for name, _ in heard[:20]) == "AAAAABBBBBBBBBBAAAAA"


def test_every_sample_is_kept_and_measured_around_infer_only() -> None:
    machine = SimulatedMachine("heavy-tailed", 3)
    runner = SimulatedRunner(machine, 5.0)
    before = machine.now_s
    samples = time_block(runner, [np.zeros((1, 1, 1, 3), np.uint8)], 500, clock=machine.clock)
    assert sum(samples) == pytest.approx(1e3 * (machine.now_s - before), rel=1e-6)
    assert max(samples) > 2 * np.median(samples)


def test_every_block_runs_the_same_batches_in_the_same_order() -> None:
    _, heard = heard_in_turns(LatencySettings(warmup_ms=0, inferences=7, block_ms=0, turn_ms=10))
    for name in "AB":
        assert [image for who, image in heard if who == name][:14] == [1, 2, 3, 1, 2, 3, 1] * 2


@pytest.mark.parametrize(
    ("latency_ms", "expected"), [(10.0, 20), (1.0, 50), (0.001, 2000), (150.0, 3), (5000.0, 1)]
)
def test_a_block_fits_the_network(latency_ms: float, expected: int) -> None:
    assert inferences_a_block(latency_ms, LatencySettings()) == expected


@pytest.mark.parametrize(("latency_ms", "turn", "block"), [(45.0, 2, 8), (5.0, 2, 20)])
def test_settling_is_paid_out_of_the_budget(latency_ms: float, turn: int, block: int) -> None:
    plan = LatencySettings()
    assert inferences_a_turn(latency_ms, plan, settling=1) == turn
    assert inferences_a_block(latency_ms, plan, settling=1) == block


@pytest.mark.parametrize(("latency_ms", "expected"), [(5.0, 2), (45.0, 1), (0.1, 100), (1.0, 10)])
def test_a_turn_fills_its_time(latency_ms: float, expected: int) -> None:
    assert inferences_a_turn(latency_ms, LatencySettings()) == expected


def test_a_slow_network_keeps_the_budget_and_says_what_that_costs() -> None:
    record = measured(latency_ms=150.0)
    assert record.inferences_a_block == 3
    assert sum(sum(b.samples_ms) for b in record.blocks) < 60e3
    assert "3 inferences a block instead of 20" in record.notes[0]
    assert "95th percentile is not judged" in record.notes[0]


def test_a_soak_comes_before_every_block_and_is_recorded() -> None:
    class Watched(SimulatedMachine):
        first_block_s: float | None = None

        def start(self) -> None:
            if self.first_block_s is None:
                self.first_block_s = self.now_s
            super().start()

    machine = Watched("normal", 0)

    def opener() -> SimulatedRunner:
        return SimulatedRunner(machine, 10.0)

    plan = LatencySettings(soak_s=30)
    record = measure_latency(
        opener, opener, images=[0], plan=plan, machine=machine, clock=machine.clock
    )
    assert machine.first_block_s is not None
    assert 30 < machine.first_block_s < 33
    assert record.plan.soak_s == 30


def test_progress_ends_and_no_image_is_refused() -> None:
    machine = SimulatedMachine("normal", 0)
    heard: list[tuple[str, float]] = []

    def opener() -> SimulatedRunner:
        return SimulatedRunner(machine, 10.0)

    measure_latency(
        opener, opener, images=[0], machine=machine, clock=machine.clock,
        progress=lambda what, fraction: heard.append((what, fraction)),
    )  # fmt: skip
    assert heard[-1] == ("baseline against candidate", 1.0)
    assert all(0 <= fraction <= 1 for _, fraction in heard)
    with pytest.raises(ValueError, match="at least one batch"):
        measure_latency(opener, opener, images=[])


def test_the_collector_is_off_inside_and_back_on_after_an_error() -> None:
    with pytest.raises(KeyError), quiet_collector():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()
