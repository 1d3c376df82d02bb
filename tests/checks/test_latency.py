"""The latency check on measurements of a simulated machine, where the truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cost.test_latency import measured
from simulation import Noise, SimulatedMachine, SimulatedRunner

from artoolkit.checks.kind import Terms
from artoolkit.checks.latency import LATENCY, read_latency
from artoolkit.cost.latency import measure_latency
from artoolkit.cost.latency_record import LatencyMeasurement, LatencySettings
from artoolkit.cost.machine import BlockState
from artoolkit.evidence.verdict import Check
from artoolkit.spec import Margins


def check_latency(record: LatencyMeasurement, margin_percent: float = 2.0) -> Check:
    margins = Margins(latency_percent=margin_percent)
    return LATENCY.judge({"latency.json": record}, Terms(margins=margins))


def test_the_margin_is_that_of_the_terms_not_of_the_plan() -> None:
    record = measured(delay_percent=5)
    assert check_latency(record).result == "FAIL"
    assert check_latency(record, margin_percent=20).result == "PASS"
    generous = measured(delay_percent=5, plan=LatencySettings(margin_percent=20))
    assert check_latency(generous).result != "PASS"


def test_blocks_too_short_for_a_tail_have_none() -> None:
    record = measured(latency_ms=150.0)
    check = check_latency(record)
    assert check.numbers["tail"] is None
    assert record.notes[0] in check.details


def test_a_machine_that_slows_down_stops_in_time_and_is_undecided() -> None:
    class Slowing(SimulatedMachine):
        def spend(self, seconds: float) -> None:
            super().spend(seconds * (1 if self.now_s < 2 else 10))

    machine = Slowing("normal", 0)

    def opener() -> SimulatedRunner:
        return SimulatedRunner(machine, 20.0)

    record = measure_latency(opener, opener, images=[0], machine=machine, clock=machine.clock)
    assert machine.now_s < 70
    check = check_latency(record)
    assert check.result == "UNDECIDED"
    assert check.headline.startswith("machine too slow")
    assert min(check.numbers[phase]["pairs"] for phase in ("control", "quick")) < 20


@pytest.mark.parametrize(
    ("delay", "result", "reading"), [(0, "PASS", "equal"), (5, "FAIL", "slower")]
)
@pytest.mark.parametrize("noise", ["normal", "heavy-tailed"])
def test_equal_passes_and_five_percent_fails(
    noise: Noise, delay: float, result: str, reading: str
) -> None:
    check = check_latency(measured(noise=noise, delay_percent=delay, seed=3))
    assert (check.result, check.numbers["quick"]["reading"]) == (result, reading)


@pytest.mark.parametrize(("delay", "wrong"), [(0, "FAIL"), (5, "PASS")])
def test_bursts_leave_it_undecided_rather_than_wrong(delay: float, wrong: str) -> None:
    results = [
        check_latency(measured(noise="bursty", delay_percent=delay, seed=s)).result
        for s in range(5)
    ]
    assert wrong not in results
    assert set(results) != {"UNDECIDED"}


def test_a_faster_candidate_passes_as_faster() -> None:
    check = check_latency(measured(delay_percent=-20))
    assert check.result == "PASS"
    assert check.numbers["quick"]["reading"] == "faster"


def test_the_margin_itself_is_undecided_with_the_number_of_pairs() -> None:
    check = check_latency(measured(delay_percent=1.5, plan=LatencySettings(power=0.6), seed=2))
    assert check.result == "UNDECIDED"
    assert check.numbers["quick"]["pairs_needed"] > check.numbers["quick"]["pairs"]
    assert check.advice.startswith("to decide: ")


def test_a_machine_that_differs_from_itself_is_too_noisy() -> None:
    machine = SimulatedMachine("normal", 0)
    openings = iter([10.0, 10.5])
    record = measure_latency(
        lambda: SimulatedRunner(machine, next(openings)),
        lambda: SimulatedRunner(machine, 10.0),
        images=[np.zeros((1, 1, 1, 3), np.uint8)],
        machine=machine,
        clock=machine.clock,
    )
    check = check_latency(record)
    assert check.result == "UNDECIDED"
    assert check.headline.startswith("noise: ")
    assert read_latency(record, margin_percent=2).control.reading == "slower"


def test_a_slower_tail_fails_whatever_the_quick_tenth_says() -> None:
    record = measured()
    blocks = tuple(
        b.model_copy(update={"samples_ms": (*b.samples_ms[:18], 15.0, 15.0)})
        if (b.phase, b.arm) == ("test", "B")
        else b
        for b in record.blocks
    )
    check = check_latency(record.model_copy(update={"blocks": blocks}))
    assert check.result == "FAIL"
    assert check.numbers["quick"]["reading"] != "slower"
    assert check.numbers["tail"]["reading"] == "slower"


def test_a_slower_median_fails_although_the_quick_tenth_is_equal() -> None:
    record = measured()
    blocks = tuple(
        b.model_copy(update={"samples_ms": tuple(t * (1.3 if i % 3 else 1) for i, t in
                                                 enumerate(b.samples_ms))})
        if (b.phase, b.arm) == ("test", "B")
        else b
        for b in record.blocks
    )  # fmt: skip
    check = check_latency(record.model_copy(update={"blocks": blocks}))
    assert check.result == "FAIL"
    assert (check.numbers["median"]["reading"]) == "slower"


def test_the_advised_budget_decides_on_the_same_machine() -> None:
    found = check_latency(measured(noise="shared", plan=LatencySettings(budget_s=8)))
    assert found.result == "UNDECIDED"
    seconds = float(found.advice.split("--budget-s ")[1].split(",")[0])
    assert 12 <= seconds <= 600
    assert (
        check_latency(measured(noise="shared", plan=LatencySettings(budget_s=seconds))).result
        == "PASS"
    )


def test_disturbed_blocks_are_counted_and_named_and_stay_in() -> None:
    record = measured()
    busy = BlockState(wall_s=1, own_cores=1, other_cores=1.5)
    blocks = tuple(
        b.model_copy(update={"state": busy}) if i < 3 else b for i, b in enumerate(record.blocks)
    )
    disturbed = record.model_copy(update={"blocks": blocks})
    check = check_latency(disturbed)
    assert check.numbers["disturbed_blocks"] == 3
    assert check.numbers["disturbances"] == {"other processes": 3}
    undisturbed = check_latency(record).numbers
    assert check.numbers["median"] == undisturbed["median"]
    assert check.numbers["quick"] == undisturbed["quick"]


@pytest.mark.parametrize(
    ("states", "kind"),
    [
        ({"cpu_mhz": 1500.0}, "CPU clock"),
        ({"stolen_cores": 0.3}, "hypervisor"),
        ({"cpu_throttles": 2}, "CPU heat"),
        ({"gpu": {"throttle_reasons": "power cap", "sm_clock_mhz": 900}}, "GPU clock"),
        ({"gpu": {"throttle_reasons": "power cap"}}, "GPU throttled"),
    ],
)
def test_each_cause_is_counted_by_its_name(states: dict[str, Any], kind: str) -> None:
    record = measured()
    usual = BlockState(wall_s=1, own_cores=1, cpu_mhz=3000, gpu={"sm_clock_mhz": 1800.0})
    changed = usual.model_copy(update=states)
    blocks = tuple(
        b.model_copy(update={"state": changed if i < 3 else usual})
        for i, b in enumerate(record.blocks)
    )
    check = check_latency(record.model_copy(update={"blocks": blocks}))
    assert check.numbers["disturbances"][kind] == 3
