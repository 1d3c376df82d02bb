"""Clocks, power, temperature and throttling of an NVIDIA GPU through NVML, where it is installed.

`pip install nvidia-ml-py` gives the module `pynvml`. A Jetson's GPU is not in NVML before Thor:
see `artoolkit.cost.jetson`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from artoolkit.backends.tensorrt.cuda.driver import driver_gpus

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
    """One GPU as NVML sees it; what it does not know about this GPU is left out.

    By its PCI bus: NVML's numbers are not CUDA's, least of all under CUDA_VISIBLE_DEVICES. A slice
    of a card (MIG) has the state of the card.
    """

    def __init__(self, library: ModuleType, pci_bus_id: str) -> None:
        self._library, self._bus = library, pci_bus_id
        library.nvmlInit()
        self._handle = library.nvmlDeviceGetHandleByPciBusId(pci_bus_id.encode())

    def _read(self, function: str, *arguments: int) -> Any:
        try:
            return getattr(self._library, function)(self._handle, *arguments)
        except self._library.NVMLError:
            return None

    def identity(self) -> dict[str, str]:
        """Name, driver, bus and whether it is cut into MIG slices, for a record's environment."""
        mig = self._read("nvmlDeviceGetMigMode")
        found = {
            "gpu": self._read("nvmlDeviceGetName"),
            "driver": self._library.nvmlSystemGetDriverVersion(),
            "pci_bus_id": self._bus,
            "mig": None if mig is None else "on" if mig[0] else "off",
        }
        return {
            key: value.decode() if isinstance(value, bytes) else str(value)
            for key, value in found.items()
            if value is not None
        }

    def memory_bytes(self) -> dict[str, int]:
        """Device memory in use, by this process where NVML says so, and in all."""
        used = {
            "NVML, this process": next(
                (
                    process.usedGpuMemory
                    for process in self._read("nvmlDeviceGetComputeRunningProcesses") or ()
                    if process.pid == os.getpid()
                ),
                None,
            ),
            "NVML, all processes": getattr(self._read("nvmlDeviceGetMemoryInfo"), "used", None),
        }
        return {source: int(count) for source, count in used.items() if count is not None}

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
    gpu = next((one for one in driver_gpus() if one.index == int(index or 0)), None)
    if gpu is None:
        return None
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        return Nvml(library, gpu.pci_bus_id)
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


def device_memory(device: str) -> dict[str, int]:
    """Bytes in use on a device by the source of the number; empty for a plain CPU.

    On a Jetson CPU and GPU share what /proc/meminfo counts.
    """
    from artoolkit.cost import jetson

    nvml = open_nvml(device)
    if nvml is not None and (found := nvml.memory_bytes()):
        return found
    if device == "cpu" or not jetson.is_jetson():
        return {}
    memory = jetson.unified_memory()
    return {"/proc/meminfo": memory["MemTotal"] - memory["MemAvailable"]}


def lock_commands() -> tuple[str, ...]:
    """Shell commands that fix the clocks of this machine's accelerator, and those that undo it."""
    from artoolkit.cost import jetson

    if jetson.is_jetson():
        return (
            "sudo nvpmodel -m 0        # the mode with the highest clocks; `nvpmodel -q` shows it",
            "sudo jetson_clocks --store && sudo jetson_clocks",
            "sudo jetson_clocks --restore        # afterwards",
        )
    return (
        "sudo nvidia-smi -pm 1",
        "nvidia-smi -q -d SUPPORTED_CLOCKS        # choose one that the card holds when warm",
        "sudo nvidia-smi --lock-gpu-clocks=MHZ,MHZ",
        "sudo nvidia-smi --reset-gpu-clocks        # afterwards",
    )
