"""A GPU, its CUDA runtime and TensorRT, faked: work waits on streams until they are synchronised.

A copy or a run that is not waited for therefore gives stale bytes here, as it may on a real GPU.
"""

from __future__ import annotations

import ctypes
import enum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


class Error(enum.Enum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


# What a stream's capture does not allow: it ends the capture (cudaStreamBeginCapture's page).
NOT_IN_CAPTURE = {"cudaMalloc", "cudaMallocHost", "cudaFree", "cudaStreamSynchronize"}


class FakeCuda(ModuleType):
    """Stands for cuda.bindings.runtime on `devices` devices of compute capability 8.7.

    `sticky`: after an illegal address every call of the process fails. A call that a capture does
    not allow spoils the capture.
    """

    cudaError_t = Error
    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice="h2d", cudaMemcpyDeviceToHost="d2h")
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(
        self, *, room: int = 1 << 30, driver: bool = True, name: str = "Orin", devices: int = 1
    ) -> None:
        super().__init__("cuda.bindings.runtime")
        self.room, self.driver, self.name, self.devices = room, driver, name, devices
        self.device, self.sticky, self.spoiled = 0, False, False
        self.memory: dict[int, bytearray] = {}
        self.host: dict[int, Any] = {}
        self.streams: dict[int, list[Any]] = {}
        self.events: dict[int, float] = {}
        self.graphs: dict[int, list[Any]] = {}
        self.capturing: list[Any] | None = None
        self.clock_ms = 0.0
        self._next = 4096

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("cuda") or not callable(found) or name == "cudaGetErrorString":
            return found
        if isinstance(found, type):
            return found
        if self.sticky:
            return lambda *_: (Error.cudaErrorIllegalAddress, None, None)
        if self.capturing is not None and name in NOT_IN_CAPTURE:
            self.spoiled = True
            return lambda *_: (Error.cudaErrorStreamCaptureUnsupported, None)
        return found

    def _new(self) -> int:
        self._next += 4096
        return self._next

    def enqueue(self, stream: int, work: Any) -> None:
        (self.streams[stream] if self.capturing is None else self.capturing).append(work)

    def cudaGetErrorString(self, error: Error) -> tuple[Error, bytes]:
        return Error.cudaSuccess, f"words for {error.value}".encode()

    def cudaGetDeviceCount(self) -> tuple[Any, ...]:
        if not self.driver:
            return Error.cudaErrorInsufficientDriver, None
        return Error.cudaSuccess, self.devices

    def cudaSetDevice(self, index: int) -> tuple[Any, ...]:
        self.device = index
        return (Error.cudaSuccess,)

    def cudaGetDeviceProperties(self, index: int) -> tuple[Any, ...]:
        return Error.cudaSuccess, SimpleNamespace(
            name=self.name.encode(), major=8, minor=7, totalGlobalMem=1 << 30, integrated=1,
            multiProcessorCount=8, pciDomainID=0, pciBusID=index + 1, pciDeviceID=0,
        )  # fmt: skip

    def cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return Error.cudaSuccess, 12060

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        if size > self.room - sum(map(len, self.memory.values())):
            return Error.cudaErrorMemoryAllocation, None
        pointer = self._new()
        self.memory[pointer] = bytearray(size)
        return Error.cudaSuccess, pointer

    def cudaFree(self, pointer: int) -> tuple[Any, ...]:
        del self.memory[pointer]
        return (Error.cudaSuccess,)

    def cudaMallocHost(self, size: int) -> tuple[Any, ...]:
        buffer = ctypes.create_string_buffer(size)
        address = ctypes.addressof(buffer)
        self.host[address] = buffer
        return Error.cudaSuccess, address

    def cudaFreeHost(self, address: int) -> tuple[Any, ...]:
        del self.host[address]
        return (Error.cudaSuccess,)

    def cudaMemGetInfo(self) -> tuple[Any, ...]:
        return Error.cudaSuccess, self.room - sum(map(len, self.memory.values())), self.room

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        stream = self._new()
        self.streams[stream] = []
        return Error.cudaSuccess, stream

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        del self.streams[stream]
        return (Error.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        for work in self.streams[stream]:
            work()
        self.streams[stream].clear()
        return (Error.cudaSuccess,)

    def cudaMemcpyAsync(
        self, to: int, source: int, size: int, kind: str, stream: int
    ) -> tuple[Any, ...]:
        def copy() -> None:
            if kind == "h2d":
                self.memory[to][:size] = ctypes.string_at(source, size)
            else:
                ctypes.memmove(to, bytes(self.memory[source][:size]), size)

        self.enqueue(stream, copy)
        return (Error.cudaSuccess,)

    def cudaEventCreate(self) -> tuple[Any, ...]:
        return Error.cudaSuccess, self._new()

    def cudaEventDestroy(self, event: int) -> tuple[Any, ...]:
        return (Error.cudaSuccess,)

    def cudaEventRecord(self, event: int, stream: int) -> tuple[Any, ...]:
        self.enqueue(stream, lambda: self.events.__setitem__(event, self.clock_ms))
        return (Error.cudaSuccess,)

    def cudaEventElapsedTime(self, begin: int, end: int) -> tuple[Any, ...]:
        return Error.cudaSuccess, self.events[end] - self.events[begin]

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[Any, ...]:
        self.capturing = []
        return (Error.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        if self.spoiled:
            self.capturing, self.spoiled = None, False
            return Error.cudaErrorStreamCaptureInvalidated, None
        graph = self._new()
        self.graphs[graph], self.capturing = self.capturing or [], None
        return Error.cudaSuccess, graph

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Any, ...]:
        return Error.cudaSuccess, graph

    def cudaGraphLaunch(self, graph: int, stream: int) -> tuple[Any, ...]:
        for work in self.graphs[graph]:
            self.enqueue(stream, work)
        return (Error.cudaSuccess,)

    def cudaGraphExecDestroy(self, graph: int) -> tuple[Any, ...]:
        return (Error.cudaSuccess,)

    def cudaGraphDestroy(self, graph: int) -> tuple[Any, ...]:
        del self.graphs[graph]
        return (Error.cudaSuccess,)


class Flag(enum.IntFlag):
    VERSION_MISMATCH = 1
    UNSUPPORTED_CC = 2


class FakeLogger:
    VERBOSE, INFO, WARNING, ERROR, INTERNAL_ERROR = (
        SimpleNamespace(name=name) for name in ("VERBOSE", "INFO", "WARNING", "ERROR", "INTERNAL")
    )


class FakeProfiler:
    def __init__(self) -> None:
        pass


class FakeTensorrt(ModuleType):
    """Stands for tensorrt or tensorrt_rtx: the network says red modulo 4 for every pixel."""

    ILogger = FakeLogger
    IProfiler = FakeProfiler
    DataType = enum.Enum("DataType", "FLOAT HALF INT8 UINT8 INT32 INT64 BOOL FP8")
    TensorIOMode = enum.Enum("TensorIOMode", "INPUT OUTPUT")
    EngineValidity = enum.Enum("EngineValidity", "VALID SUBOPTIMAL INVALID")
    EngineInvalidityDiagnostics = Flag
    ProfilingVerbosity = enum.Enum("ProfilingVerbosity", "LAYER_NAMES_ONLY NONE DETAILED")

    def __init__(self, cuda: FakeCuda, *, version: str = "10.3.0", **faults: Any) -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        self.cuda, self.faults, self.loaded = cuda, faults, 0
        self.shape = (1, 32, 64, 3)
        self.kernels: bytes | None = None
        self.runtime_cache = SimpleNamespace(
            serialize=lambda: self.kernels, deserialize=lambda kept: setattr(self, "kernels", kept)
        )

    def Runtime(self, logger: Any) -> Any:
        if "runtime" in self.faults:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return SimpleNamespace(
            deserialize_cuda_engine=lambda content: self._engine(logger),
            get_engine_validity=lambda content: self.faults.get(
                "validity", (self.EngineValidity.VALID, 0)
            ),
        )

    def _fault(self, logger: Any, name: str) -> bool:
        if name in self.faults:
            logger.log(FakeLogger.ERROR, f"{self.faults[name]}. In here at /_src/runtime.cpp:12")
        return name in self.faults

    def _engine(self, logger: Any) -> Any:
        self.loaded += 1
        if self._fault(logger, "deserialize"):
            return None
        shapes = {"image": self.faults.get("shape", self.shape), "labels": self.shape[:3]}
        names, modes = list(shapes), self.TensorIOMode
        return SimpleNamespace(
            create_execution_context=lambda config=None: self._context(logger),
            create_runtime_config=lambda: SimpleNamespace(
                create_runtime_cache=lambda: self.runtime_cache,
                set_runtime_cache=lambda cache: None,
            ),
            num_io_tensors=2,
            get_tensor_name=names.__getitem__,
            get_tensor_shape=shapes.__getitem__,
            get_tensor_dtype=lambda name: self.faults.get("dtype", self.DataType.UINT8),
            get_tensor_mode=lambda name: modes.INPUT if name == "image" else modes.OUTPUT,
            device_memory_size_v2=12345,
        )

    def _context(self, logger: Any) -> Any:
        if self._fault(logger, "context"):
            return None
        pointers: dict[str, int] = {}

        def run(stream: int) -> bool:
            def work() -> None:
                image = np.frombuffer(self.cuda.memory[pointers["image"]], np.uint8)
                labels = image.reshape(self.shape)[..., 0] % 4
                self.cuda.memory[pointers["labels"]][:] = labels.tobytes()
                self.cuda.clock_ms += 5.0
                if context.profiler is not None:
                    for name, ms in (("conv", 3.0), ("argmax", 2.0)):
                        context.profiler.report_layer_time(name, ms)

            self.cuda.enqueue(stream, work)
            # DETAILED, the plan's own, slows every run down.
            assert context.nvtx_verbosity == self.ProfilingVerbosity.NONE
            return not self._fault(logger, "execute")

        context = SimpleNamespace(set_tensor_address=pointers.__setitem__, execute_async_v3=run)
        context.profiler = None
        context.nvtx_verbosity = self.ProfilingVerbosity.DETAILED
        return context
