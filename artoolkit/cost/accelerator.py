"""Clocks, power, temperature and throttling of an NVIDIA GPU through NVML, where it is installed.

`pip install nvidia-ml-py` gives the module `pynvml`. A Jetson's GPU is not in NVML before Thor:
see `artoolkit.cost.jetson`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

# Bits of nvmlDeviceGetCurrentClocksThrottleReasons (nvml.h) that slow a busy GPU down.
THROTTLE_BITS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}

State = dict[str, float | str]


def throttle_words(bits: int) -> str:
    """The reasons among NVML's bits that slow a GPU down, in words; empty for none."""
    return ", ".join(words for bit, words in THROTTLE_BITS.items() if bits & bit)


class Nvml:
    """One GPU as NVML sees it; what it does not know about this GPU is left out."""

    def __init__(self, library: ModuleType, index: int) -> None:
        self._library = library
        library.nvmlInit()
        self._handle = library.nvmlDeviceGetHandleByIndex(index)

    def _read(self, function: str, *arguments: int) -> Any:
        try:
            return getattr(self._library, function)(self._handle, *arguments)
        except self._library.NVMLError:
            return None

    def identity(self) -> dict[str, str]:
        """Name and driver, for the environment of a record."""
        name, driver = self._read("nvmlDeviceGetName"), self._library.nvmlSystemGetDriverVersion()
        return {
            key: value.decode() if isinstance(value, bytes) else str(value)
            for key, value in (("gpu", name), ("driver", driver))
            if value is not None
        }

    def state(self) -> State:
        """The state now: MHz, mW, degrees Celsius and throttle reasons."""
        library = self._library
        readings = {
            "sm_clock_mhz": self._read("nvmlDeviceGetClockInfo", library.NVML_CLOCK_SM),
            "memory_clock_mhz": self._read("nvmlDeviceGetClockInfo", library.NVML_CLOCK_MEM),
            "power_mw": self._read("nvmlDeviceGetPowerUsage"),
            "temperature_c": self._read("nvmlDeviceGetTemperature", library.NVML_TEMPERATURE_GPU),
        }
        state: State = {key: float(value) for key, value in readings.items() if value is not None}
        bits = self._read("nvmlDeviceGetCurrentClocksThrottleReasons")
        if bits is not None:
            state["throttle_reasons"] = throttle_words(int(bits))
        return state


def open_nvml(device: str) -> Nvml | None:
    """NVML for a device like `cuda:0`; None for a CPU, without pynvml, or without such a GPU."""
    kind, _, index = device.partition(":")
    if kind not in ("cuda", "tensorrt"):
        return None
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        return Nvml(library, int(index or 0))
    except library.NVMLError:
        return None


def gpu_reader(device: str) -> Callable[[], State] | None:
    """Reader of the state of `device` around a block: NVML, a Jetson's files, or nothing."""
    nvml = open_nvml(device)
    if nvml is not None:
        return nvml.state
    from artoolkit.cost import jetson

    return jetson.gpu_state if device != "cpu" and jetson.is_jetson() else None


def device_identity(device: str) -> dict[str, str]:
    """Accelerator in a record's environment; empty for a plain CPU."""
    from artoolkit.cost import jetson

    nvml = open_nvml(device)
    identity = nvml.identity() if nvml is not None else {}
    return identity | (jetson.identity() if jetson.is_jetson() else {})
