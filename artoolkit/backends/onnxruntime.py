"""ONNX Runtime: the backend that runs everywhere, on the CPU by default.

A tensor inside the graph, such as `scores`, can be asked for as an output of the same file (this
needs onnx); the file on disk is never changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artoolkit.backends.runner import OpenRunner, Outputs
from artoolkit.errors import BackendError
from artoolkit.optional import require
from artoolkit.spec import RunnerSpec, TensorSpec

PURPOSE = "running an ONNX file"
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


class OnnxRuntimeRunner(OpenRunner):
    """An open session; see `open_onnxruntime`."""

    def __init__(self, session: Any, spec: RunnerSpec) -> None:
        super().__init__(spec)
        self._session = session
        self._names = [tensor.name for tensor in spec.outputs]

    def _infer(self, images: NDArray[np.uint8]) -> Outputs:
        with _one_line("ONNX Runtime could not run the graph"):
            values = self._session.run(self._names, {self.spec.inputs[0].name: images})
        return dict(zip(self._names, values, strict=True))

    def _release(self) -> None:
        self._session = None


def open_onnxruntime(
    model: Path,
    *,
    device: str = "cpu",
    threads: int | None = None,
    outputs: Sequence[str] = ("labels",),
) -> OnnxRuntimeRunner:
    """Open `model` on `device`: cpu, 0, cuda:0 or tensorrt:0.

    `threads`: of one operator on the CPU (default: every core this process may use). `outputs`
    may name tensors inside the graph. The settings in effect are in the runner's `spec.settings`.
    Raises `BackendError` if the file, the device or an output cannot be had; a device that
    ONNX Runtime would silently replace by the CPU is an error too.
    """
    runtime = require("onnxruntime", PURPOSE)
    provider, index = _provider(runtime, device)
    options = _options(runtime, threads)
    chosen = [(provider, {"device_id": index}) if index else provider]
    with _one_line(f"ONNX Runtime cannot open {model}"):
        session = runtime.InferenceSession(
            _source(model, outputs), options, providers=[*chosen, *_fallback(provider)]
        )
    if provider not in session.get_providers():
        raise BackendError(
            f"ONNX Runtime cannot use {device} here",
            got=", ".join(session.get_providers()),
            expected=provider,
            hint="See: artoolkit doctor",
        )
    spec = RunnerSpec(
        backend="onnxruntime",
        device=device,
        inputs=tuple(map(_tensor, session.get_inputs())),
        outputs=_selected(session.get_outputs(), outputs, model),
        settings=_settings(runtime, session, options),
    )
    return OnnxRuntimeRunner(session, spec)


def optimised_graph(
    model: Path, out: Path, *, device: str = "cpu", threads: int | None = None
) -> Path:
    """Write the graph that ONNX Runtime really runs for `model` to `out`, and return `out`.

    Comparable only with one written by the same version on the same processor.
    """
    runtime = require("onnxruntime", PURPOSE)
    provider, _ = _provider(runtime, device)
    options = _options(runtime, threads)
    options.optimized_model_filepath = str(out)
    with _one_line(f"ONNX Runtime cannot open {model}"):
        runtime.InferenceSession(str(model), options, providers=[provider, *_fallback(provider)])
    return out


def _options(runtime: Any, threads: int | None) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or _usable_cores()
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.use_deterministic_compute = True
    # Warnings about how it places nodes help no user; errors come as exceptions.
    options.log_severity_level = 3
    return options


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _settings(runtime: Any, session: Any, options: Any) -> dict[str, Any]:
    in_effect = session.get_session_options()
    return {
        "version": runtime.__version__,
        "providers": session.get_providers(),
        "provider_options": session.get_provider_options(),
        "intra_op_threads": in_effect.intra_op_num_threads,
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
            hint='Install it: pip install "artoolkit[gpu]" in place of "artoolkit[cpu]"',
        )
    return provider, int(index or 0)


def _fallback(provider: str) -> list[str]:
    """TensorRT hands what it cannot run to CUDA, and both need the CPU for shapes."""
    order = list(_PROVIDERS.values())
    return order[: order.index(provider)][::-1]


def _source(model: Path, outputs: Sequence[str]) -> str | bytes:
    """The file itself, or its bytes with inner tensors declared as outputs."""
    if not model.is_file():
        raise BackendError(f"no ONNX file at {model}", hint="Check the path.")
    if tuple(outputs) == ("labels",):
        return str(model)
    onnx = require("onnx", "reading a tensor inside the graph")
    try:
        graph = onnx.load(str(model))
    except Exception as error:
        # protobuf raises classes of its own, which move between its versions.
        raise BackendError(f"{model} is not an ONNX file", got=_first_line(error)) from error
    declared = {value.name for value in graph.graph.output}
    inner = {value.name: value for value in graph.graph.value_info}
    for name in outputs:
        if name in inner and name not in declared:
            graph.graph.output.append(inner[name])
    content: bytes = graph.SerializeToString()
    return content


def _selected(
    declared: Sequence[Any], outputs: Sequence[str], model: Path
) -> tuple[TensorSpec, ...]:
    by_name = {value.name: value for value in declared}
    if missing := [name for name in outputs if name not in by_name]:
        raise BackendError(
            f"{model} has no tensor called {', '.join(missing)}",
            got=", ".join(by_name),
            hint="Export it again with this artoolkit.",
        )
    return tuple(_tensor(by_name[name]) for name in outputs)


def _tensor(value: Any) -> TensorSpec:
    if not all(isinstance(size, int) for size in value.shape):
        raise BackendError(
            f"{value.name} has no static shape",
            got=list(value.shape),
            hint="Export the graph with fixed sizes.",
        )
    return TensorSpec(
        name=value.name, dtype=_DTYPES.get(value.type, value.type), shape=tuple(value.shape)
    )


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """ONNX Runtime raises a class per status code, none of them public: all are its failure."""
    try:
        yield
    except BackendError:
        raise
    except Exception as error:
        raise BackendError(what, got=_first_line(error)) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
