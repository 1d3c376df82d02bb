"""The state of the machine, from text and from a machine that is kept busy."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from artoolkit.cost.machine import (
    BlockState,
    Counters,
    Machine,
    cpu_mhz,
    disturbances,
    heaviest,
    hottest_c,
    parse_proc_stat,
    process_times,
    state_between,
    throttles,
)

USUAL = BlockState(wall_s=1, own_cores=1, cpu_mhz=2500, gpu={"sm_clock_mhz": 1800.0})


def test_proc_stat_by_hand() -> None:
    text = "cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 1 1 1 1\n"
    assert parse_proc_stat(text) == (1.63, 0.08)
    assert parse_proc_stat("cpu 100 0 0 50\n", ticks=50) == (2.0, 0.0)


def test_a_block_is_the_difference_of_two_readings() -> None:
    before = Counters(wall_s=10.0, own_s=3.0, busy_s=50.0, stolen_s=1.0, switches=7)
    after = Counters(wall_s=12.0, own_s=5.0, busy_s=53.0, stolen_s=1.5, switches=9)
    state = state_between(before, after, {"power_mw": 5.0})
    assert (state.wall_s, state.own_cores, state.other_cores) == (2.0, 1.0, 0.5)
    assert (state.stolen_cores, state.involuntary_switches) == (0.25, 2)
    assert state.gpu == {"power_mw": 5.0}


def test_what_a_machine_does_not_say_stays_unknown() -> None:
    reading = Counters(wall_s=1.0, own_s=0.5, busy_s=None, stolen_s=None, switches=None)
    state = state_between(reading, reading)
    assert (state.other_cores, state.stolen_cores, state.involuntary_switches) == (None,) * 3


def test_own_work_is_not_somebody_elses() -> None:
    machine, start = Machine(), time.process_time()
    machine.start()
    assert sum(range(2_000_000)) > 0
    state = machine.stop()
    assert 0 < state.own_cores * state.wall_s <= time.process_time() - start
    if state.other_cores is not None:
        assert 0 <= state.other_cores <= (os.cpu_count() or 1) + 0.1


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (USUAL, {}),
        (USUAL.model_copy(update={"other_cores": 0.9}), {"other processes": 0.9}),
        (USUAL.model_copy(update={"other_cores": 0.9, "wall_s": 0.02}), {}),
        (USUAL.model_copy(update={"stolen_cores": 0.2}), {"hypervisor": 0.2}),
        (USUAL.model_copy(update={"cpu_mhz": 1800}), {"CPU clock": 1800}),
        (USUAL.model_copy(update={"cpu_mhz": None}), {}),
        (
            USUAL.model_copy(
                update={"gpu": {"sm_clock_mhz": 900.0, "throttle_reasons": "power cap"}}
            ),
            {"GPU clock": 900, "GPU throttled": 1},
        ),
    ],
)
def test_disturbances(state: BlockState, expected: dict[str, float]) -> None:
    assert disturbances(state, USUAL) == expected


def test_clock_and_temperature_from_files(tmp_path: Path) -> None:
    assert cpu_mhz(tmp_path, tmp_path) is None
    assert hottest_c(tmp_path) is None
    (tmp_path / "cpuinfo").write_text("model name : x\ncpu MHz : 1000.0\ncpu MHz : 2000.0\n")
    assert cpu_mhz(tmp_path, tmp_path) == 1500
    frequency = tmp_path / "devices/system/cpu/cpu0/cpufreq"
    frequency.mkdir(parents=True)
    (frequency / "scaling_cur_freq").write_text("2200000\n")
    assert cpu_mhz(tmp_path, tmp_path) == 2200
    for index, millis in enumerate(("41500\n", "-256000\n", "39000\n", "")):
        zone = tmp_path / f"class/thermal/thermal_zone{index}"
        zone.mkdir(parents=True)
        (zone / "temp").write_text(millis)
    assert hottest_c(tmp_path) == 41.5


def test_throttling_is_counted_over_all_cores(tmp_path: Path) -> None:
    assert throttles(tmp_path) is None
    for core, count in enumerate((3, 4)):
        folder = tmp_path / f"devices/system/cpu/cpu{core}/thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(f"{count}\n")
    assert throttles(tmp_path) == 7
    before = Counters(wall_s=0, own_s=0, busy_s=0, stolen_s=0, switches=0, throttles=7)
    state = state_between(before, replace(before, wall_s=1.0, throttles=9))
    assert state.cpu_throttles == 2
    assert disturbances(state, USUAL)["CPU heat"] == 2


def test_the_heaviest_other_programs_by_name() -> None:
    before = {(1, "a"): 1.0, (2, "b"): 5.0}
    after = {(1, "a"): 3.0, (2, "b"): 5.05, (3, "a"): 1.5, (4, "c"): 0.4, (5, "d"): 0.3}
    assert heaviest(before, after) == {"a": 3.5, "c": 0.4, "d": 0.3}


def test_processes_of_this_machine_have_names_and_leave_us_out() -> None:
    times = process_times()
    if not Path("/proc/1/stat").exists():
        assert times == {}
        return
    assert all(name and seconds >= 0 for (_, name), seconds in times.items())
