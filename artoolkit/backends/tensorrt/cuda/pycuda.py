"""`Cuda` on pycuda, without CUDA graphs.

Always the primary context, as pycuda.autoprimaryctx takes it: the context of pycuda.autoinit is a
second one, whose memory torch, ONNX Runtime and TensorRT cannot use.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from artoolkit.backends.tensorrt.cuda.driver import cuda_version
from artoolkit.backends.tensorrt.cuda.interface import Bytes, Gpu, Launch
from artoolkit.errors import BackendError
from artoolkit.optional import require
from artoolkit.words import CudaMemory

_PURPOSE = "running on an NVIDIA GPU through pycuda"
_CU_STREAM_NON_BLOCKING = 1


class PyCuda:
    """One device; see `Cuda` for what the methods mean."""

    provider: CudaMemory = "pycuda"

    def __init__(self, index: int = 0) -> None:
        require("pycuda", _PURPOSE)
        self._driver = require("pycuda.driver", _PURPOSE)
        self._objects: dict[int, Any] = {}
        self._call(self._driver.init)
        count = int(self._call(self._driver.Device.count))
        if index >= count:
            raise BackendError(
                "there is no such GPU", got=f"cuda:{index}", expected=f"one of {count}"
            )
        device = self._call(self._driver.Device, index)
        self._context = self._call(device.retain_primary_context)
        self._call(self._context.push)
        self.gpu = self._describe(index, device)

    def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._driver.Error as error:
            raise BackendError(
                f"pycuda failed: {error}", hint="See nvidia-smi and artoolkit doctor."
            ) from error

    def _describe(self, index: int, device: Any) -> Gpu:
        major, minor = device.compute_capability()
        attributes = self._driver.device_attribute
        return Gpu(
            index=index,
            name=str(device.name()),
            compute_capability=f"{major}{minor}",
            total_bytes=int(device.total_memory()),
            integrated=bool(device.get_attribute(attributes.INTEGRATED)),
            driver=cuda_version(int(self._driver.get_driver_version())),
            multiprocessors=int(device.get_attribute(attributes.MULTIPROCESSOR_COUNT)),
            pci_bus_id=str(device.pci_bus_id()),
        )

    def _keep(self, number: int, thing: Any) -> int:
        self._objects[number] = thing
        return number

    def alloc(self, size_bytes: int) -> int:
        memory = self._call(self._driver.mem_alloc, size_bytes)
        return self._keep(int(memory), memory)

    def free(self, pointer: int) -> None:
        self._call(self._objects.pop(pointer).free)

    def pinned(self, size_bytes: int) -> Bytes:
        array: Bytes = self._call(self._driver.pagelocked_empty, (size_bytes,), np.uint8)
        return array

    def free_pinned(self, array: Bytes) -> None:
        allocation: Any = array.base
        self._call(allocation.free)

    def stream(self) -> int:
        stream = self._call(self._driver.Stream, _CU_STREAM_NON_BLOCKING)
        return self._keep(int(stream.handle), stream)

    def free_stream(self, stream: int) -> None:
        del self._objects[stream]

    def upload(self, pointer: int, array: Bytes, stream: int) -> None:
        self._call(self._driver.memcpy_htod_async, pointer, array, self._objects[stream])

    def download(self, array: Bytes, pointer: int, stream: int) -> None:
        self._call(self._driver.memcpy_dtoh_async, array, pointer, self._objects[stream])

    def synchronize(self, stream: int) -> None:
        self._call(self._objects[stream].synchronize)

    def event(self) -> int:
        event = self._call(self._driver.Event)
        return self._keep(id(event), event)

    def free_event(self, event: int) -> None:
        del self._objects[event]

    def record(self, event: int, stream: int) -> None:
        self._call(self._objects[event].record, self._objects[stream])

    def elapsed_ms(self, begin: int, end: int) -> float:
        return float(self._call(self._objects[begin].time_till, self._objects[end]))

    def memory_info(self) -> tuple[int, int]:
        free, total = self._call(self._driver.mem_get_info)
        return int(free), int(total)

    def capture(self, stream: int, enqueue: Launch) -> Launch | None:
        return None

    def close(self) -> None:
        self._objects.clear()
        self._call(self._context.pop)
