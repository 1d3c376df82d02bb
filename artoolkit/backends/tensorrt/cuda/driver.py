"""The NVIDIA driver asked directly: which GPUs are here, without a library and without a context.

Numbers are CUDA's, as under CUDA_VISIBLE_DEVICES; `pci_bus_id` is what NVML knows a GPU by too.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from typing import Any

from artoolkit.backends.tensorrt.cuda.interface import Gpu

# CUdevice_attribute of cuda.h.
_MULTIPROCESSORS, _INTEGRATED, _MAJOR, _MINOR = 16, 18, 75, 76


def open_driver() -> Any | None:
    """The driver's library, initialised; None where there is none or it does not start."""
    try:
        driver = ctypes.CDLL(ctypes.util.find_library("cuda") or "libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None


def driver_version(driver: Any | None = None) -> str | None:
    """CUDA version of the driver ("12.6"), None without a working driver."""
    driver = driver or open_driver()
    version = ctypes.c_int()
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return cuda_version(version.value)


def cuda_version(number: int) -> str:
    """12060 -> "12.6"."""
    return f"{number // 1000}.{number % 1000 // 10}"


def driver_gpus(driver: Any | None = None) -> tuple[Gpu, ...]:
    """Every GPU that CUDA shows this process, in CUDA's order; none without a working driver."""
    driver = driver or open_driver()
    count = ctypes.c_int()
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    return tuple(_gpu(driver, index) for index in range(count.value))


def _gpu(driver: Any, index: int) -> Gpu:
    device, size = ctypes.c_int(), ctypes.c_size_t()
    name, bus = ctypes.create_string_buffer(256), ctypes.create_string_buffer(32)
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceGetPCIBusId(bus, len(bus), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)

    def attribute(number: int) -> int:
        value = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), number, device)
        return value.value

    return Gpu(
        index=index,
        name=name.value.decode(),
        compute_capability=f"{attribute(_MAJOR)}{attribute(_MINOR)}",
        total_bytes=size.value,
        integrated=bool(attribute(_INTEGRATED)),
        driver=driver_version(driver) or "",
        multiprocessors=attribute(_MULTIPROCESSORS),
        pci_bus_id=bus.value.decode(),
    )
