"""`Cuda` on NVIDIA's cuda-bindings (the runtime API).

The runtime API uses the device's primary context by construction.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from artoolkit.backends.tensorrt.cuda.driver import cuda_version
from artoolkit.backends.tensorrt.cuda.interface import Bytes, Gpu, Launch
from artoolkit.errors import BackendError
from artoolkit.optional import require
from artoolkit.words import CudaMemory


class CudaBindings:
    """One device; see `Cuda` for what the methods mean."""

    provider: CudaMemory = "cuda-bindings"

    def __init__(self, index: int = 0) -> None:
        self._cuda = require("cuda.bindings.runtime", "running on an NVIDIA GPU")
        self._graphs: list[tuple[Any, Any]] = []
        count = self._call("cudaGetDeviceCount")
        if index >= count:
            raise BackendError(
                "there is no such GPU", got=f"cuda:{index}", expected=f"one of {count}"
            )
        self._call("cudaSetDevice", index)
        self.gpu = self._describe(index)

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a runtime function; its one result, or None, or a `BackendError`."""
        error, *results = getattr(self._cuda, name)(*arguments)
        if error != self._cuda.cudaError_t.cudaSuccess:
            raise BackendError(f"{name} failed: {self._words(error)}", hint=_hint(error.name))
        return results[0] if results else None

    def _words(self, error: Any) -> str:
        _, text = self._cuda.cudaGetErrorString(error)
        words = text.decode() if isinstance(text, bytes) else str(text)
        return f"{words} ({error.name})"

    def _describe(self, index: int) -> Gpu:
        properties = self._call("cudaGetDeviceProperties", index)
        name = properties.name
        return Gpu(
            index=index,
            name=(name.decode() if isinstance(name, bytes) else str(name)).rstrip("\0"),
            compute_capability=f"{properties.major}{properties.minor}",
            total_bytes=int(properties.totalGlobalMem),
            integrated=bool(properties.integrated),
            driver=cuda_version(int(self._call("cudaDriverGetVersion"))),
            multiprocessors=int(properties.multiProcessorCount),
            pci_bus_id=f"{properties.pciDomainID:08x}:{properties.pciBusID:02x}:"
            f"{properties.pciDeviceID:02x}.0",
        )

    def alloc(self, size_bytes: int) -> int:
        return int(self._call("cudaMalloc", size_bytes))

    def free(self, pointer: int) -> None:
        self._call("cudaFree", pointer)

    def pinned(self, size_bytes: int) -> Bytes:
        pointer = int(self._call("cudaMallocHost", size_bytes))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(pointer))

    def free_pinned(self, array: Bytes) -> None:
        self._call("cudaFreeHost", array.ctypes.data)

    def stream(self) -> int:
        return int(self._call("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking))

    def free_stream(self, stream: int) -> None:
        self._call("cudaStreamDestroy", stream)

    def upload(self, pointer: int, array: Bytes, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", pointer, array.ctypes.data, array.nbytes, kind, stream)

    def download(self, array: Bytes, pointer: int, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, pointer, array.nbytes, kind, stream)

    def synchronize(self, stream: int) -> None:
        self._call("cudaStreamSynchronize", stream)

    def event(self) -> int:
        return int(self._call("cudaEventCreate"))

    def free_event(self, event: int) -> None:
        self._call("cudaEventDestroy", event)

    def record(self, event: int, stream: int) -> None:
        self._call("cudaEventRecord", event, stream)

    def elapsed_ms(self, begin: int, end: int) -> float:
        return float(self._call("cudaEventElapsedTime", begin, end))

    def memory_info(self) -> tuple[int, int]:
        error, free, total = self._cuda.cudaMemGetInfo()
        if error != self._cuda.cudaError_t.cudaSuccess:
            raise BackendError(f"cudaMemGetInfo failed: {self._words(error)}")
        return int(free), int(total)

    def capture(self, stream: int, enqueue: Launch) -> Launch | None:
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            enqueue()
        finally:
            graph = self._call("cudaStreamEndCapture", stream)
        executable = self._call("cudaGraphInstantiate", graph, 0)
        self._graphs.append((graph, executable))
        return lambda: self._call("cudaGraphLaunch", executable, stream)

    def close(self) -> None:
        while self._graphs:
            graph, executable = self._graphs.pop()
            self._call("cudaGraphExecDestroy", executable)
            self._call("cudaGraphDestroy", graph)


def _hint(error: str) -> str:
    if error in ("cudaErrorInsufficientDriver", "cudaErrorNoDevice", "cudaErrorStubLibrary"):
        return "There is no NVIDIA driver, or it is too old: see nvidia-smi, or use --device cpu."
    if error == "cudaErrorMemoryAllocation":
        return "The GPU's memory is used up: close what else runs on it (nvidia-smi)."
    return "Run artoolkit doctor."
