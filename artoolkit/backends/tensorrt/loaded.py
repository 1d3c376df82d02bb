"""A plan in memory: deserialised by its library, with what that said.

Deserialising runs native code: `sidecar.check_plan` is asked first, whether the plan is this
machine's and whole, except for plans that this process has just built.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from artoolkit.backends.tensorrt.cuda import Cuda
from artoolkit.backends.tensorrt.fit import made
from artoolkit.backends.tensorrt.library import Library, log_collector
from artoolkit.backends.tensorrt.options import BuildOptions
from artoolkit.backends.tensorrt.sidecar import Sidecar, rebuild_hint
from artoolkit.errors import BackendError, EngineError
from artoolkit.evidence.seal import write_atomically
from artoolkit.spec import TensorSpec

CACHE = Path.home() / ".cache" / "artoolkit" / "tensorrt-rtx"


class Deserialised:
    """A runtime and the engine in it; `validity` is what RTX says of it on this machine."""

    def __init__(self, library: Library, plan: Path, options: BuildOptions | None = None) -> None:
        self.library, self.plan = library, plan
        trt = library.module
        self.logger = log_collector(trt)
        runtime = made(trt.Runtime, self.logger, f"{library.name}'s runtime")
        content = plan.read_bytes()
        self.validity = "VALID"
        if library.name == "tensorrt-rtx":
            self.validity = self._check_validity_rtx(trt, runtime, content)
        elif options is not None:
            # Version-compatible plans carry native code; the plan's hash was checked before.
            runtime.engine_host_code_allowed = options.version_compatible
            if options.device.startswith("dla"):
                runtime.DLA_core = int(options.device.partition(":")[2] or 0)
        engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise self.unusable("cannot be loaded", rebuild_hint(library.name, None))
        self.runtime, self.engine = runtime, engine

    def reason(self) -> str:
        """The last error that the library logged."""
        errors: list[str] = self.logger.errors
        return errors[-1] if errors else "the library gave no reason"

    def unusable(self, what: str, hint: str) -> EngineError:
        return EngineError(f"engine {self.plan} {what}: {self.reason()}", hint=hint)

    def refit(self, onnx: bytes) -> str | None:
        """Put the weights of an ONNX file in place: None where all went in, else why not."""
        trt = self.library.module
        engine_refitter = trt.Refitter(self.engine, self.logger)
        refitter = trt.OnnxParserRefitter(engine_refitter, self.logger)
        if refitter.refit_from_bytes(onnx) and engine_refitter.refit_cuda_engine():
            return None
        return self.reason()

    def serialised_tensorrt(self) -> bytes:
        """The plan of the engine as it is now, still refittable if it was."""
        trt = self.library.module
        serialization = self.engine.create_serialization_config()
        # TensorRT 10.3 and 10.13 have no such flag.
        remains = getattr(trt.SerializationFlag, "INCLUDE_REFIT", None)
        if remains is not None:
            serialization.set_flag(remains)
        return bytes(self.engine.serialize_with_config(serialization))

    def _check_validity_rtx(self, trt: Any, runtime: Any, content: bytes) -> str:
        """RTX's own answer for a plan on this machine; it is the judge of portable plans."""
        validity, diagnostics = runtime.get_engine_validity(content)
        if validity == trt.EngineValidity.INVALID:
            known: dict[str, Any] = trt.EngineInvalidityDiagnostics.__members__
            causes = [name for name, bit in known.items() if int(diagnostics) & int(bit)]
            raise EngineError(
                f"RTX finds engine {self.plan} invalid on this GPU",
                got=", ".join(causes) or diagnostics,
                hint=rebuild_hint(self.library.name, None),
            )
        return str(validity.name)

    def tensors(self) -> tuple[list[TensorSpec], list[TensorSpec]]:
        """Inputs and outputs; `EngineError` where a shape is not static."""
        trt, engine = self.library.module, self.engine
        inputs: list[TensorSpec] = []
        outputs: list[TensorSpec] = []
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            shape = tuple(engine.get_tensor_shape(name))
            if min(shape, default=0) < 0:
                raise EngineError(f"tensor {name} of {self.plan} has no static shape", got=shape)
            dtype = _dtype(trt, engine.get_tensor_dtype(name))
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            (inputs if is_input else outputs).append(
                TensorSpec(name=name, dtype=dtype, shape=shape)
            )
        return inputs, outputs


def layer_profiler(trt: Any) -> Any:
    """A profiler that keeps the milliseconds of each layer by its name."""

    class LayerProfiler(trt.IProfiler):  # type: ignore[misc]  # known once the library is imported
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times: dict[str, list[float]] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.times.setdefault(layer_name, []).append(ms)

    return LayerProfiler()


def _dtype(trt: Any, value: Any) -> str:
    names = {
        trt.DataType.FLOAT: "float32",
        trt.DataType.HALF: "float16",
        trt.DataType.INT8: "int8",
        trt.DataType.UINT8: "uint8",
        trt.DataType.INT32: "int32",
        trt.DataType.INT64: "int64",
        trt.DataType.BOOL: "bool",
    }
    if value not in names:
        raise EngineError("an input or output has a type that numpy lacks", got=value)
    return names[value]


class LoadedEngine(Deserialised):
    """An engine that can run, with its context, its device and the record beside its plan."""

    def __init__(self, library: Library, cuda: Cuda, plan: Path, sidecar: Sidecar) -> None:
        super().__init__(library, plan, sidecar.options)
        self.cuda, self.sidecar = cuda, sidecar
        context = self._context_rtx() if library.name == "tensorrt-rtx" else None
        context = context or self.engine.create_execution_context()
        if context is None:
            raise self.unusable("has no room on the GPU", "Free the GPU's memory")
        # The plan's DETAILED verbosity, which the inspector needs, would slow every run down.
        context.nvtx_verbosity = library.module.ProfilingVerbosity.NONE
        self.context = context

    def _context_rtx(self) -> Any:
        """A context with RTX's cache of the kernels that it compiled here before.

        The cache is by engine, version and GPU; what RTX does not take is compiled again.
        """
        name = f"{self.sidecar.plan_sha256[:16]}-{self.library.version}-{self.cuda.gpu.identity}"
        self._cache_file = CACHE / f"{re.sub('[^A-Za-z0-9.]+', '-', name)}.cache"
        runtime_config = self.engine.create_runtime_config()
        runtime_cache = runtime_config.create_runtime_cache()
        if self._cache_file.is_file():
            runtime_cache.deserialize(self._cache_file.read_bytes())
        runtime_config.set_runtime_cache(runtime_cache)
        self._runtime_cache = runtime_cache
        return self.engine.create_execution_context(runtime_config)

    def _keep_cache_rtx(self) -> None:
        runtime_cache = self._runtime_cache
        kernels = runtime_cache.serialize()
        if kernels is not None:
            CACHE.mkdir(parents=True, exist_ok=True)
            write_atomically(self._cache_file, bytes(kernels))

    def settings(self, *, cuda_graph: bool) -> dict[str, Any]:
        """The settings in effect, as a runner's record holds them."""
        engine, gpu = self.engine, self.cuda.gpu
        return {
            "plan": self.plan.name,
            "plan_sha256": self.sidecar.plan_sha256,
            "plan_bytes": self.sidecar.plan_bytes,
            "weights_bytes": self.sidecar.weights_bytes,
            "activation_bytes": int(engine.device_memory_size_v2),
            "library_version": self.library.version,
            "flags": list(self.sidecar.flags),
            "validity": self.validity,
            "refitted_from": self.sidecar.refitted_from,
            "gpu": gpu.identity,
            "compute_capability": gpu.compute_capability,
            "driver": gpu.driver,
            "provider": self.cuda.provider,
            "cuda_graph": cuda_graph,
        }

    def layer_times(self, stream: int, runs: int) -> dict[str, list[float]]:
        """Milliseconds by layer, in the engine's order; see the runner's method."""
        profiler = layer_profiler(self.library.module)
        self.context.profiler = profiler
        for _ in range(runs):
            # The profiler is told when the stream has been waited for.
            if not self.context.execute_async_v3(stream):
                raise BackendError(f"the engine failed to run: {self.reason()}")
            self.cuda.synchronize(stream)
        times: dict[str, list[float]] = profiler.times
        return times

    def release(self) -> None:
        if self.library.name == "tensorrt-rtx":
            self._keep_cache_rtx()
            del self._runtime_cache
        # A context must go before its engine, an engine before its runtime.
        del self.context
        del self.engine
        del self.runtime
