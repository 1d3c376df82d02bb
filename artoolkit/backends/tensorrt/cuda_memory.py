"""What artoolkit needs of CUDA, as one small interface with two providers.

`cuda-bindings` (the default: wheels for x86-64 and aarch64, CUDA graphs) and `pycuda` (what
robotics code often has). Both use the primary context of the device, which torch, ONNX Runtime and
TensorRT share. Pointers, streams and events are plain integers, as TensorRT takes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from artoolkit.errors import UsageError

Provider = Literal["cuda-bindings", "pycuda"]
Bytes = NDArray[np.uint8]
Launch = Callable[[], None]


@dataclass(frozen=True)
class Gpu:
    """A device as its driver describes it; `compute_capability` is written as in SM86."""

    index: int
    name: str
    compute_capability: str
    total_bytes: int
    integrated: bool
    driver: str


class Cuda(Protocol):
    """Memory, streams and events on one device. Every failure is a `BackendError`."""

    provider: Provider
    gpu: Gpu

    def alloc(self, size_bytes: int) -> int:
        """Device memory, not initialised."""

    def free(self, pointer: int) -> None: ...

    def pinned(self, size_bytes: int) -> Bytes:
        """Page-locked host memory; keep the array until `free_pinned`."""

    def free_pinned(self, array: Bytes) -> None: ...

    def stream(self) -> int:
        """A stream that does not wait for the default stream."""

    def free_stream(self, stream: int) -> None: ...

    def upload(self, pointer: int, array: Bytes, stream: int) -> None:
        """Enqueue a copy of all of `array` (pinned) to the device."""

    def download(self, array: Bytes, pointer: int, stream: int) -> None:
        """Enqueue a copy from the device into all of `array` (pinned)."""

    def synchronize(self, stream: int) -> None: ...

    def event(self) -> int:
        """An event that keeps the time."""

    def free_event(self, event: int) -> None: ...

    def record(self, event: int, stream: int) -> None: ...

    def elapsed_ms(self, begin: int, end: int) -> float:
        """Milliseconds of GPU time between two recorded events that have happened."""

    def memory_info(self) -> tuple[int, int]:
        """Free and total bytes of the device."""

    def capture(self, stream: int, enqueue: Launch) -> Launch | None:
        """What `enqueue` puts on `stream` as a CUDA graph to launch, or None without graphs."""

    def close(self) -> None: ...


def device_index(device: str) -> int:
    """`cuda`, `cuda:1` or `dla:0` -> the GPU's number (a DLA belongs to GPU 0)."""
    kind, _, index = device.partition(":")
    if kind == "dla":
        return 0
    if kind != "cuda" or (index and not index.isdecimal()):
        raise UsageError("this needs an NVIDIA GPU", got=device, expected="cuda:0")
    return int(index or 0)


def open_cuda(device: str = "cuda:0", provider: Provider = "cuda-bindings") -> Cuda:
    """The device through a provider, or an error that says what is missing: library or driver."""
    index = device_index(device)
    if provider == "pycuda":
        from artoolkit.backends.tensorrt.pycuda_memory import PyCuda

        return PyCuda(index)
    from artoolkit.backends.tensorrt.cuda_bindings import CudaBindings

    return CudaBindings(index)
