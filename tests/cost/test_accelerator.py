"""NVML through a stand-in with pynvml's names (checked against nvidia-ml-py 13)."""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace

import pytest

from artoolkit.backends.tensorrt.cuda import Gpu
from artoolkit.cost import accelerator
from artoolkit.cost.accelerator import (
    device_identity,
    device_memory,
    gpu_reader,
    open_nvml,
    throttle_words,
)


class NVMLError(Exception):
    pass


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's order, in which the first is on the higher bus."""
    buses = ("0000:41:00.0", "0000:02:00.0")
    gpus = tuple(
        Gpu(index, "card", "89", 1, False, "12.6", 128, bus) for index, bus in enumerate(buses)
    )
    monkeypatch.setattr(accelerator, "driver_gpus", lambda: gpus)


def library(
    *, power: float | None = 61500, present: bool = True, own: int | None = 1000
) -> ModuleType:
    module = ModuleType("pynvml")

    def handle(bus: bytes) -> str:
        if not present:
            raise NVMLError("no such GPU")
        return {b"0000:41:00.0": "first", b"0000:02:00.0": "second"}[bus]

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
        nvmlDeviceGetHandleByPciBusId=handle,
        nvmlDeviceGetMigMode=lambda handle: [int(handle == "second"), 0],
        nvmlDeviceGetMemoryInfo=lambda _handle: SimpleNamespace(used=3000),
        nvmlDeviceGetComputeRunningProcesses=lambda _handle: [
            SimpleNamespace(pid=pid, usedGpuMemory=used)
            for pid, used in ((1, 2000), (os.getpid(), own))
        ],
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
    found = device_identity("cuda:1")
    assert (found["gpu"], found["mig"], found["pci_bus_id"]) == (
        "second model", "on", "0000:02:00.0"
    )  # fmt: skip
    assert device_identity("cuda:0")["mig"] == "off"
    assert device_identity("cuda:2") == {}


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


def test_device_memory_of_this_process_before_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library())
    assert device_memory("cuda:0") == {"NVML, this process": 1000, "NVML, all processes": 3000}
    # In a container NVML knows the process by another number, or not its memory.
    monkeypatch.setitem(sys.modules, "pynvml", library(own=None))
    assert device_memory("cuda:0") == {"NVML, all processes": 3000}
    assert device_memory("cpu") == {}
