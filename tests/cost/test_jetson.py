"""Jetson's tools print text; these are the forms of an AGX Orin."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from artoolkit.cost.jetson import (
    board_state,
    gpu_state,
    identity,
    is_jetson,
    parse_jetson_clocks,
    parse_meminfo,
    parse_nvpmodel,
    parse_tegrastats,
    rail_power_mw,
    unified_memory,
)

CLOCKS = """SOC family:tegra234  Machine:NVIDIA Jetson AGX Orin Developer Kit
Online CPUs: 0-11
cpu0:  Online=1 Governor=schedutil MinFreq=729600 MaxFreq=2201600 CurrentFreq=1728000 IdleStates:
GPU MinFreq=1300500000 MaxFreq=1300500000 CurrentFreq=1300500000
EMC MinFreq=204000000 MaxFreq=3199000000 CurrentFreq=2133000000 FreqOverride=0
FAN Dynamic Speed control=active hwmon0_pwm1=61
NV Power Mode: MODE_30W
"""
STATS = (
    "11-22-2026 10:00:00 RAM 4216/30697MB (lfb 7x4MB) SWAP 0/15348MB (cached 0MB) "
    "CPU [12%@1728,off,3%@729] EMC_FREQ 1%@2133 GR3D_FREQ 45%@[1300,1299] NVENC off "
    "cpu@46.1C tboard@36C soc2@42.5C tdiode@-256C gpu@41.375C tj@46.1C "
    "VDD_GPU_SOC 2400mW/2390mW VDD_CPU_CV 400mW/400mW"
)


def test_power_mode_by_name() -> None:
    assert parse_nvpmodel("NV Power Mode: MAXN\n0\n") == "MAXN"
    assert parse_nvpmodel("command not found") is None


def test_clocks_in_mhz_and_which_are_locked() -> None:
    clocks = parse_jetson_clocks(CLOCKS)
    assert set(clocks) == {"cpu0", "GPU", "EMC"}
    assert (clocks["cpu0"].low_mhz, clocks["cpu0"].now_mhz) == (729.6, 1728.0)
    assert clocks["GPU"].now_mhz == 1300.5
    assert [unit for unit, clock in clocks.items() if clock.locked] == ["GPU"]


def test_one_line_of_tegrastats() -> None:
    stats = parse_tegrastats(STATS)
    assert stats is not None
    assert (stats.ram_used_mb, stats.ram_total_mb) == (4216, 30697)
    assert (stats.gpu_percent, stats.gpu_mhz) == (45, (1300, 1299))
    assert stats.temperatures_c["gpu"] == 41.375
    assert "tdiode" not in stats.temperatures_c
    assert stats.power_mw == {"VDD_GPU_SOC": 2400, "VDD_CPU_CV": 400}


@pytest.mark.parametrize("form", ["GR3D_FREQ 0%@305", "GR3D_FREQ 0%"])
def test_older_forms_of_the_gpu_field(form: str) -> None:
    stats = parse_tegrastats(f"RAM 1/2MB (lfb 1x4MB) {form} GPU@20C")
    assert stats is not None
    assert stats.gpu_percent == 0
    assert stats.gpu_mhz == ((305,) if "@" in form else ())
    assert parse_tegrastats("tegrastats: not found") is None


def test_unified_memory(tmp_path: Path) -> None:
    text = "MemTotal:       31433 kB\nMemAvailable:   20000 kB\nNvMapMemUsed:     512 kB\nX: 1\n"
    (tmp_path / "meminfo").write_text(text)
    assert parse_meminfo(text)["MemTotal"] == 31433 * 1024
    assert unified_memory(tmp_path / "meminfo")["NvMapMemUsed"] == 512 * 1024


def test_gpu_state_from_files(tmp_path: Path) -> None:
    devfreq = tmp_path / "class/devfreq/17000000.ga10b"
    zone = tmp_path / "class/thermal/thermal_zone1"
    dead = tmp_path / "class/thermal/thermal_zone2"
    for folder in (devfreq, zone, dead):
        folder.mkdir(parents=True)
    (devfreq / "cur_freq").write_text("1300500000\n")
    (zone / "type").write_text("gpu-thermal\n")
    (zone / "temp").write_text("41375\n")
    nothing = tmp_path / "meminfo"
    found = gpu_state(tmp_path, nothing)
    assert found == {"sm_clock_mhz": 1300.5, "temperature_c": 41.375}
    monitor = tmp_path / "class/hwmon/hwmon3"
    monitor.mkdir(parents=True)
    for name, text in (
        ("in1_label", "VDD_GPU_SOC"), ("in1_input", "5000"), ("curr1_input", "480"),
        ("in2_label", "VDD_CPU_CV"), ("in2_input", "5000"), ("curr2_input", "80"),
        ("in7_label", "sum of shunt voltages"), ("in7_input", "3"),
    ):  # fmt: skip
        (monitor / name).write_text(f"{text}\n")
    assert rail_power_mw(tmp_path) == {"VDD_GPU_SOC": 2400, "VDD_CPU_CV": 400}
    nothing.write_text("MemAvailable:   20000 kB\n")
    found = gpu_state(tmp_path, nothing)
    assert (found["power_mw"], found["memory_available_bytes"]) == (2800, 20000 * 1024)


def test_tegrastats_is_read_once_and_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "tegrastats"
    program.write_text(f"#!/bin/sh\necho '{STATS}'\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    start = time.monotonic()
    assert board_state() == {
        "memory": "4216 of 30697 MB",
        "temperatures": "cpu 46.1 C, tboard 36 C, soc2 42.5 C, gpu 41.375 C, tj 46.1 C",
        "power": "VDD_GPU_SOC 2400 mW, VDD_CPU_CV 400 mW",
    }
    assert time.monotonic() - start < 30
    monkeypatch.setenv("PATH", "")
    assert board_state() == {}


def test_elsewhere_there_is_no_jetson(tmp_path: Path) -> None:
    assert not is_jetson(tmp_path / "nv_tegra_release")
    if not is_jetson():
        assert "nvpmodel" not in identity()


def test_thor_by_its_own_names(tmp_path: Path) -> None:
    for name, hertz in (("gpu-gpc-0", 1575000000), ("gpu-nvd-0", 998000000)):
        (tmp_path / "class/devfreq" / name).mkdir(parents=True)
        (tmp_path / "class/devfreq" / name / "cur_freq").write_text(f"{hertz}\n")
    chip = tmp_path / "class/hwmon/hwmon3"
    chip.mkdir(parents=True)
    (chip / "name").write_text("ina238\n")
    (chip / "power1_input").write_text("41250000\n")
    state = gpu_state(tmp_path, tmp_path / "none")
    assert (state["sm_clock_mhz"], state["power_mw"]) == (1575, 41250)
    assert rail_power_mw(tmp_path) == {"ina238 hwmon3": 41250}


def test_a_container_on_a_jetson_has_no_release_but_the_device_tree(tmp_path: Path) -> None:
    model = tmp_path / "model"
    assert not is_jetson(tmp_path / "none", model)
    model.write_bytes(b"NVIDIA Jetson Orin Nano Developer Kit\0")
    assert is_jetson(tmp_path / "none", model)
