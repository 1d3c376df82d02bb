"""Sessions of ONNX Runtime: devices, options, the settings in effect, failures in one line.

Shared by the runners of bundles (`onnxruntime.py`) and of any other ONNX file (`feeds.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artoolkit.cores import usable_cores
from artoolkit.errors import BackendError
from artoolkit.evidence.seal import file_sha256
from artoolkit.optional import require
from artoolkit.spec import SessionOptions, TensorSpec
from artoolkit.words import Precision

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


# The key of the settings that holds the threads of one operator.
THREADS = "intra_op_threads"
_SPINNING = "session.intra_op.allow_spinning"


@dataclass(frozen=True)
class Session:
    """An open `onnxruntime.InferenceSession` and the settings that are really in effect."""

    session: Any
    settings: dict[str, Any]


def open_session(
    model: Path,
    *,
    content: bytes | None = None,
    device: str = "cpu",
    threads: int | None = None,
    chosen: SessionOptions | None = None,
    precision: Precision = "fp32",
    optimised: Path | None = None,
    profile: Path | None = None,
) -> Session:
    """Open `model`, or `content` in its place, on `device`: cpu, 0, cuda:0 or tensorrt:0.

    `threads`: of one operator on the CPU (default: those `chosen`, or every core this process
    may use). Threads that were chosen where there were more cores are as many as the cores
    here, and the settings say so. `precision`: of the bundle, for a GPU's providers.
    `optimised`: where the graph that really runs is written. `profile`: how the name of a
    profile's file begins. Raises `BackendError` if the file or the device cannot be had; a
    device that ONNX Runtime would silently replace by the CPU is an error too.
    """
    runtime = require("onnxruntime", "running an ONNX file")
    provider, index = _provider(runtime, device)
    if not model.is_file():
        raise BackendError(f"no ONNX file at {model}", hint="Check the path.")
    chosen = chosen or SessionOptions()
    options = _options(runtime, threads, chosen)
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    with one_line(f"ONNX Runtime cannot open {model}"):
        session = runtime.InferenceSession(
            content or str(model),
            options,
            providers=_with_options(provider, index, precision, model),
        )
    if provider not in session.get_providers():
        raise BackendError(
            f"ONNX Runtime cannot use {device} here",
            got=", ".join(session.get_providers()),
            expected=provider,
            hint="See: artoolkit doctor",
        )
    settings = _settings(runtime, session, options)
    if threads is None and (chosen.threads or 0) > options.intra_op_num_threads:
        settings["intra_op_threads_chosen"] = f"{chosen.threads}, more than the cores here"
    return Session(session, settings)


def tensor_spec(value: Any) -> TensorSpec:
    """A session's input or output; `BackendError` if a size of it is not fixed."""
    if not all(isinstance(size, int) for size in value.shape):
        raise BackendError(
            f"{value.name} has no static shape",
            got=list(value.shape),
            hint="Export the graph with fixed sizes, or give compare its --shape.",
        )
    return TensorSpec(
        name=value.name, dtype=_DTYPES.get(value.type, value.type), shape=tuple(value.shape)
    )


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """ONNX Runtime raises a class per status code, none of them public: all are its failure."""
    try:
        yield
    except Exception as error:
        raise BackendError(what, got=first_line(error)) from error


def first_line(error: Exception) -> str:
    """The first line of an error's text, or the name of its class."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _options(runtime: Any, threads: int | None, chosen: SessionOptions) -> Any:
    options = runtime.SessionOptions()
    cores = usable_cores()
    options.intra_op_num_threads = threads or min(chosen.threads or cores, cores)
    options.add_session_config_entry(_SPINNING, str(int(chosen.spinning)))
    options.enable_cpu_mem_arena = chosen.cpu_arena
    options.enable_mem_pattern = chosen.memory_pattern
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.use_deterministic_compute = True
    # Warnings about how it places nodes help no user; errors come as exceptions.
    options.log_severity_level = 3
    return options


def _settings(runtime: Any, session: Any, options: Any) -> dict[str, Any]:
    in_effect = session.get_session_options()
    return {
        "version": runtime.__version__,
        "providers": session.get_providers(),
        "provider_options": session.get_provider_options(),
        THREADS: in_effect.intra_op_num_threads,
        "spinning": options.get_session_config_entry(_SPINNING) == "1",
        "inter_op_threads": in_effect.inter_op_num_threads,
        "graph_optimisation": in_effect.graph_optimization_level.name,
        "execution_mode": in_effect.execution_mode.name,
        "cpu_arena": in_effect.enable_cpu_mem_arena,
        "memory_pattern": in_effect.enable_mem_pattern,
        "deterministic": options.use_deterministic_compute,
    }


def _provider(runtime: Any, device: str) -> tuple[str, int]:
    kind, _, index = (f"cuda:{device}" if device.isdigit() else device).partition(":")
    if kind not in _PROVIDERS or not (index.isdigit() or not index):
        raise BackendError(
            "ONNX Runtime has no such device", got=device, expected="cpu, 0, cuda:0 or tensorrt:0"
        )
    provider = _PROVIDERS[kind]
    if provider not in runtime.get_available_providers():
        raise BackendError(
            f"this build of ONNX Runtime cannot use {device}",
            got=", ".join(runtime.get_available_providers()),
            expected=provider,
            hint='Install it: pip install "artoolkit[cu13]" in place of "artoolkit[cpu]"',
        )
    return provider, int(index or 0)


def _with_options(
    provider: str, index: int, precision: Precision, model: Path
) -> list[tuple[str, dict[str, str]]]:
    """Provider and those it falls back to, all on one GPU: TensorRT to CUDA, both to the CPU."""
    device = {"device_id": str(index)}
    options: dict[str, dict[str, str]] = {"CPUExecutionProvider": {}}
    # Its default times algorithms, so that two arms of one network could get different ones.
    options["CUDAExecutionProvider"] = device | {
        "use_tf32": str(int(precision == "tf32")),
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    if provider == "TensorrtExecutionProvider":
        # By file: the cache goes by the graph, so one arm would get the other's weights.
        cache = Path.home() / ".cache" / "artoolkit" / "onnxruntime" / file_sha256(model)[:16]
        cache.mkdir(parents=True, exist_ok=True)
        options[provider] = device | {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(cache),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(cache.parent),
            "trt_fp16_enable": str(int(precision == "fp16")),
            "trt_int8_enable": str(int(precision == "int8")),
        }
    order = list(_PROVIDERS.values())
    return [(name, options[name]) for name in order[: order.index(provider) + 1][::-1]]
