"""ONNX -> plan: the only module that talks to a TensorRT builder.

A builder can abort or run out of memory, so `build_in_process` runs it in a fresh process. Every
network is strongly typed: precision is in the graph.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from pydantic import Field

from artoolkit.backends.tensorrt.cuda import device_index, open_cuda
from artoolkit.backends.tensorrt.fit import made
from artoolkit.backends.tensorrt.library import (
    Library,
    log_collector,
    open_library,
    without_source_place,
)
from artoolkit.backends.tensorrt.options import BuildOptions
from artoolkit.errors import EngineError
from artoolkit.evidence.seal import write_atomically
from artoolkit.fresh_process import Progress, call_fresh
from artoolkit.spec import Frozen
from artoolkit.words import CudaMemory

# Logs of 2024 end after the number, later ones say "bytes".
_MEMORY_LINE = re.compile(r"Total (Activation|Weights) Memory: (\d+)")
_LOG_LINES_KEPT = 200


class BuiltPlan(Frozen):
    """Inputs and result of a build; bytes are None where the log did not say."""

    library_version: str
    plan_bytes: int
    activation_bytes: int | None
    weights_bytes: int | None
    seconds: float
    flags: tuple[str, ...]
    timing_cache_hits_only: bool = False
    log: tuple[str, ...] = Field(default=(), repr=False)


def build_in_process(
    onnx: Path,
    plan: Path,
    options: BuildOptions,
    *,
    cuda_memory: CudaMemory = "cuda-bindings",
    progress: Progress | None = None,
) -> BuiltPlan:
    """`build_plan` in a fresh process; `progress` runs in this one.

    Raises `EngineError` where the build fails or its process ends without an answer,
    `KeyboardInterrupt` on Ctrl-C or where `progress` returns False, after the build has stopped.
    """
    request = {
        "onnx": str(onnx),
        "plan": str(plan),
        "options": options.model_dump(mode="json"),
        "cuda_memory": cuda_memory,
    }
    answer = call_fresh(
        f"{__name__}:build_requested",
        request,
        what="that built the engine",
        progress=progress,
        crash=EngineError,
    )
    return BuiltPlan.model_validate(answer)


def build_requested(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The other end of `build_in_process`."""
    options = BuildOptions.model_validate(request["options"])
    onnx, plan = Path(request["onnx"]), Path(request["plan"])
    with ExitStack() as stack:
        if options.library == "tensorrt" and device_index(options.device):
            # Makes it this thread's device, which the builder takes.
            stack.enter_context(closing(open_cuda(options.device, request["cuda_memory"])))
        return build_plan(onnx, plan, options, progress=progress).model_dump(mode="json")


def _progress_monitor(trt: Any, progress: Progress) -> Any:
    """Reports the outermost phase that counts its steps; False from `progress` cancels."""

    class ProgressMonitor(trt.IProgressMonitor):  # type: ignore[misc]  # as above
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, name: str, _parent: str | None, num_steps: int) -> None:
            self.steps[name] = max(num_steps, 1)

        def phase_finish(self, name: str) -> None:
            self.steps.pop(name, None)

        def step_complete(self, name: str, step: int) -> bool:
            return progress(name, min((step + 1) / self.steps.get(name, 1), 1.0))

    return ProgressMonitor()


def parse_onnx(trt: Any, network: Any, logger: Any, onnx: Path) -> None:
    """Fill `network` from a file, or raise `EngineError` that names the node it stopped at."""
    parser = trt.OnnxParser(network, logger)
    if parser.parse(onnx.read_bytes(), str(onnx)):
        if network.num_outputs:
            return
        raise EngineError(f"{onnx} is not an ONNX network: it has no output")
    causes = [parser.get_error(i) for i in range(parser.num_errors)]
    raise EngineError(
        f"the ONNX parser refuses {onnx.name}: " + "; ".join(map(_cause, causes)),
        hint="Export the network with other operators, or use another backend.",
    )


def _cause(parser_error: Any) -> str:
    text = without_source_place(parser_error.desc())
    operator = parser_error.node_operator()
    name = parser_error.node_name() or f"number {parser_error.node()}"
    return f"node {name} ({operator}): {text}" if operator else text


def _configure(trt: Any, config: Any, options: BuildOptions) -> None:
    # TF32 is on by default in both libraries; a precision that nobody asked for is a wrong answer.
    if options.precision == "tf32":
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace_gib is not None:
        size = int(options.workspace_gib * 2**30)
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)


def _configure_rtx(trt: Any, config: Any, options: BuildOptions) -> None:
    if options.compute_capabilities:
        config.num_compute_capabilities = len(options.compute_capabilities)
    for index, capability in enumerate(options.compute_capabilities):
        value = {
            "75": trt.ComputeCapability.SM75,
            "80": trt.ComputeCapability.SM80,
            "86": trt.ComputeCapability.SM86,
            "89": trt.ComputeCapability.SM89,
            "120": trt.ComputeCapability.SM120,
            "121": trt.ComputeCapability.SM121,
        }[capability]
        config.set_compute_capability(value, index)


def _configure_tensorrt(trt: Any, config: Any, options: BuildOptions) -> Any:
    """Set what only `tensorrt` has; returns its timing cache, or None."""
    # The inspector tells tactics and formats of such plans only, and they run no slower.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.opt_level is not None:
        config.builder_optimization_level = options.opt_level
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.refittable:
        config.set_flag(trt.BuilderFlag.REFIT)
    if options.hardware_compatibility == "ampere+":
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    elif options.hardware_compatibility == "same-compute-capability":
        level = getattr(trt.HardwareCompatibilityLevel, "SAME_COMPUTE_CAPABILITY", None)
        if level is None:
            raise EngineError(
                "this TensorRT has no hardware compatibility 'same-compute-capability'",
                got=trt.__version__,
                hint="Use 'ampere+' or none, or a newer TensorRT.",
            )
        config.hardware_compatibility_level = level
    if options.device.startswith("dla"):
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = int(options.device.partition(":")[2] or 0)
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    if options.timing_cache is None:
        return None
    known = options.timing_cache.read_bytes() if options.timing_cache.is_file() else b""
    timing_cache = config.create_timing_cache(known)
    if not config.set_timing_cache(timing_cache, ignore_mismatch=False):
        raise EngineError(
            f"timing cache {options.timing_cache} was made by another TensorRT or for another GPU",
            hint="Give another --timing-cache, or remove the file.",
        )
    if options.error_on_timing_cache_miss:
        config.set_flag(trt.BuilderFlag.ERROR_ON_TIMING_CACHE_MISS)
    return timing_cache


def _flags_in_effect(trt: Any, config: Any) -> tuple[str, ...]:
    names: dict[str, Any] = trt.BuilderFlag.__members__
    return tuple(sorted(name for name, flag in names.items() if config.get_flag(flag)))


def _failure(logger: Any, options: BuildOptions) -> EngineError:
    """Error for a build that gave no engine, from its log, with the step that usually helps."""
    reason = logger.errors[-1] if logger.errors else "the builder gave no reason"
    text = " ".join(logger.errors).lower()
    if "timing cache" in text and options.error_on_timing_cache_miss:
        hint = "The network needs a tactic that the timing cache does not hold: it is another one."
    elif "turing" in text:
        hint = "RTX has no such operation in fp32 there: export with --precision fp16, or build "
        hint += "with --library tensorrt on the device."
    elif "workspace" in text or "memory" in text:
        hint = "Give more --workspace, close what else uses the memory, or export a smaller --imgsz"
    elif "cuda" in text or "driver" in text:
        hint = "tensorrt builds on a GPU: check the driver with nvidia-smi and artoolkit doctor."
    else:
        hint = "artoolkit doctor shows what this machine has; try another version of the library."
    return EngineError(f"the engine was not built: {reason}", hint=hint)


def build_plan(
    onnx: Path, plan: Path, options: BuildOptions, *, progress: Progress | None = None
) -> BuiltPlan:
    """Build and write `plan`. Raises `EngineError`, `KeyboardInterrupt` if `progress` said no."""
    library = open_library(options.library, "building an engine")
    start = time.perf_counter()
    cancelled = False

    def report(phase: str, share: float) -> bool:
        nonlocal cancelled
        cancelled = cancelled or (progress is not None and not progress(phase, share))
        return not cancelled

    logger = log_collector(library.module)
    serialized, flags = _serialized(library, logger, onnx, options, report)
    if cancelled:
        raise KeyboardInterrupt
    if serialized is None:
        raise _failure(logger, options)
    plan.write_bytes(serialized)
    memory = memory_in_log(logger.lines)
    return BuiltPlan(
        library_version=library.version,
        plan_bytes=len(serialized),
        activation_bytes=memory.get("Activation"),
        weights_bytes=memory.get("Weights"),
        seconds=time.perf_counter() - start,
        flags=flags,
        timing_cache_hits_only=options.error_on_timing_cache_miss,
        log=tuple(logger.lines[-_LOG_LINES_KEPT:]),
    )


def memory_in_log(lines: Sequence[str]) -> dict[str, int]:
    """Bytes of "Activation" and "Weights" as the last such lines of a build log tell them."""
    return {kind: int(size) for kind, size in _MEMORY_LINE.findall("\n".join(lines))}


def _serialized(
    library: Library, logger: Any, onnx: Path, options: BuildOptions, report: Progress
) -> tuple[memoryview | None, tuple[str, ...]]:
    trt = library.module
    builder = made(trt.Builder, logger, f"{library.name}'s builder")
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parse_onnx(trt, network, logger, onnx)
    config = builder.create_builder_config()
    config.progress_monitor = _progress_monitor(trt, report)
    _configure(trt, config, options)
    timing_cache = None
    if library.name == "tensorrt":
        timing_cache = _configure_tensorrt(trt, config, options)
    else:
        _configure_rtx(trt, config, options)
    host_memory = builder.build_serialized_network(network, config)
    if host_memory is None:
        return None, ()
    if timing_cache is not None and options.timing_cache is not None:
        write_atomically(options.timing_cache, bytes(timing_cache.serialize()))
    return memoryview(host_memory), _flags_in_effect(trt, config)
