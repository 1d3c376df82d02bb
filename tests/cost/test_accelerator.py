"""NVML through a stand-in with pynvml's names (checked against nvidia-ml-py 13)."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from artoolkit.cost.accelerator import device_identity, gpu_reader, open_nvml, throttle_words


class NVMLError(Exception):
    pass


def library(*, power: float | None = 61500, present: bool = True) -> ModuleType:
    module = ModuleType("pynvml")

    def handle(index: int) -> str:
        if not present:
            raise NVMLError("no such GPU")
        return f"gpu{index}"

    def power_usage(_handle: str) -> float:
        if power is None:
            raise NVMLError("not supported")
        return power

    clocks = {1: 1755, 2: 7000}
    module.__dict__.update(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetClockInfo=lambda _handle, kind: clocks[kind],
        nvmlDeviceGetPowerUsage=power_usage,
        nvmlDeviceGetTemperature=lambda _handle, _sensor: 64,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda _handle: 0x24,
        nvmlDeviceGetName=lambda handle: f"{handle} model".encode(),
        nvmlSystemGetDriverVersion=lambda: "575.1",
    )
    return module


def test_state_in_its_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library())
    read = gpu_reader("cuda:0")
    assert read is not None
    assert read() == {
        "sm_clock_mhz": 1755, "memory_clock_mhz": 7000, "power_mw": 61500, "temperature_c": 64,
        "throttle_reasons": "power cap, software thermal slowdown",
    }  # fmt: skip
    assert device_identity("cuda:1")["gpu"] == "gpu1 model"


def test_what_a_gpu_does_not_say_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library(power=None))
    nvml = open_nvml("cuda")
    assert nvml is not None
    assert "power_mw" not in nvml.state()
    assert nvml.state()["temperature_c"] == 64


def test_no_gpu_no_library_and_a_cpu_read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library(present=False))
    assert open_nvml("cuda:0") is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_nvml("cuda:0") is None
    assert open_nvml("cpu") is None
    assert gpu_reader("cpu") is None


def test_only_reasons_that_slow_down_are_named() -> None:
    assert throttle_words(0x1 | 0x2 | 0x100) == ""
    assert throttle_words(0x48) == "hardware slowdown, hardware thermal slowdown"
