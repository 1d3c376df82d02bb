"""The little of CUDA that an engine needs, as an interface that two providers fill.

Pointers, streams and events are plain integers, as TensorRT takes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from artoolkit.words import CudaMemory

Bytes = NDArray[np.uint8]
Launch = Callable[[], None]
BOARD = Path("/proc/device-tree/model")


def board_model(path: Path = BOARD) -> str | None:
    """A Jetson's module and board by its device tree; None on other machines."""
    return path.read_text().strip("\0\n") if path.is_file() else None


@dataclass(frozen=True)
class Gpu:
    """A device as its driver describes it; `compute_capability` is written as in SM86."""

    index: int
    name: str
    compute_capability: str
    total_bytes: int
    integrated: bool
    driver: str
    multiprocessors: int = 0
    pci_bus_id: str = ""

    @property
    def identity(self) -> str:
        """The name that an engine is tied to.

        CUDA calls every Orin module "Orin": there the device tree's name, the multiprocessors and
        the memory tell an AGX from a Nano.
        """
        if not self.integrated:
            return self.name
        gib = round(self.total_bytes / 2**30)
        return f"{board_model() or self.name}, {self.multiprocessors} SMs, {gib} GiB"


class Cuda(Protocol):
    """Memory, streams and events on one device. Every failure is a `BackendError`."""

    provider: CudaMemory
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
        """CUDA graph of the work that `enqueue` puts on `stream`, or None without graphs."""

    def close(self) -> None: ...
