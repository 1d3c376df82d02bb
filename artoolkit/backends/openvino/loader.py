"""An ONNX file compiled by OpenVINO for a device, with the settings that are in effect."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artoolkit.cores import usable_cores
from artoolkit.errors import BackendError
from artoolkit.files import one_line
from artoolkit.optional import require
from artoolkit.spec import TensorSpec
from artoolkit.words import Precision

# OpenVINO's name of the arithmetic between quantised layers, and of the whole without any.
_HINTS = {"fp32": "f32", "tf32": "f32", "fp16": "f16", "bf16": "bf16"}
_CAPABILITIES = {"bf16": "BF16", "fp16": "FP16", "int8": "INT8"}
# Settings that a measurement has to name; the CPU's own cache sizes and the like are not ours.
_REPORTED = (
    "INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS", "NUM_STREAMS", "PERFORMANCE_HINT",
    "EXECUTION_MODE_HINT", "ENABLE_CPU_PINNING", "ENABLE_HYPER_THREADING", "EXECUTION_DEVICES",
)  # fmt: skip


@dataclass(frozen=True)
class Compiled:
    """An `openvino.CompiledModel`, its inputs and outputs, and the settings in effect.

    `operators`: the kind of each operator of the graph before it was compiled, by name.
    """

    model: Any
    operators: dict[str, str]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    settings: dict[str, Any]


def openvino_device(device: str) -> str:
    """OpenVINO's name of a device: `cpu` -> CPU, `gpu:1` -> GPU.1."""
    return device.upper().replace(":", ".")


def capabilities(device: str) -> tuple[str, ...]:
    """OpenVINO's names of what the device's hardware computes in."""
    core = require("openvino", "running a network on OpenVINO").Core()
    place = openvino_device(device).partition(".")[0]
    return tuple(core.get_property(place, "OPTIMIZATION_CAPABILITIES"))


def processor(device: str) -> str:
    """OpenVINO's name of the device's hardware."""
    core = require("openvino", "running a network on OpenVINO").Core()
    return str(core.get_property(openvino_device(device), "FULL_DEVICE_NAME")).strip()


def computes(device: str, precision: Precision) -> bool:
    """Whether the device's hardware computes in `precision`."""
    wanted = _CAPABILITIES.get(precision)
    return wanted is None or wanted in capabilities(device)


def check_precision(device: str, precision: Precision) -> None:
    """Raises `BackendError` where the device's hardware does not compute in `precision`.

    OpenVINO would compute in another one without a word.
    """
    if not computes(device, precision):
        raise BackendError(
            f"this machine's {device} does not compute in {precision}",
            got=", ".join(capabilities(device)),
            expected=_CAPABILITIES[precision],
            hint="Choose another --precision for this device.",
        )


def compiled(
    model: Path,
    *,
    device: str,
    precision: Precision = "fp32",
    float_precision: Precision = "fp32",
    threads: int | None = None,
    outputs: Collection[str] | None = None,
    profile: bool = False,
) -> Compiled:
    """Compile `model` for `device` (cpu, gpu, gpu:1, npu, auto), one stream, for latency.

    `precision` int8: as the graph's Q/DQ nodes say, the rest in `float_precision`. `outputs` names
    tensors of the graph (None: its own). `profile`: count the time of every layer, which slows it.
    Raises `BackendError` where the device, precision or file cannot be had,
    `MissingLibraryError` without OpenVINO.
    """
    core, place, config = _opened(device, precision, float_precision, threads)
    if profile:
        config["PERF_COUNT"] = True
    if not model.is_file():
        raise BackendError(f"no ONNX file at {model}", hint="Check the path.")
    with failing(f"OpenVINO cannot open {model}"):
        read = core.read_model(str(model))
        if outputs is not None:
            _select(read, outputs)
        operators = {op.get_friendly_name(): str(op.get_type_name()) for op in read.get_ops()}
        # Compiling merges the names of tensors that are one then, as an index and its Cast.
        names = [port.get_any_name() for port in read.outputs]
        found = core.compile_model(read, place, config)
    return Compiled(
        model=found,
        operators=operators,
        inputs=tuple(_tensor(port, port.get_any_name()) for port in found.inputs),
        outputs=tuple(map(_tensor, found.outputs, names)),
        settings={"precision": precision} | _settings(found),
    )


def imported(
    blob: Path,
    tensors: tuple[TensorSpec, TensorSpec],
    *,
    device: str,
    precision: Precision,
    float_precision: Precision,
    threads: int | None,
) -> Compiled:
    """The compiled model in `blob`, whose input and output are `tensors`; errors as `compiled`.

    It says no more which operators its layers were made of. Ask `blob.blob_of` for it: importing
    runs native code.
    """
    core, place, config = _opened(device, precision, float_precision, threads)
    with failing(f"OpenVINO cannot import {blob}"):
        found = core.import_model(io.BytesIO(blob.read_bytes()), place, config)
    settings = {"precision": precision, "plan": blob.name} | _settings(found)
    return Compiled(found, {}, tensors[:1], tensors[1:], settings)


def _opened(
    device: str, precision: Precision, float_precision: Precision, threads: int | None
) -> tuple[Any, str, dict[str, Any]]:
    """OpenVINO's core, its name of the device, and the settings of a model in this precision."""
    core = require("openvino", "running a network on OpenVINO").Core()
    place = openvino_device(device)
    _check_device(core, place)
    check_precision(place, precision)
    between = float_precision if precision == "int8" else precision
    check_precision(place, between)
    config: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _HINTS[between],
        "PERFORMANCE_HINT": "LATENCY",
    }
    if place == "CPU":
        config |= {"INFERENCE_NUM_THREADS": threads or usable_cores(), "NUM_STREAMS": 1}
    return core, place, config


@contextmanager
def failing(what: str) -> Iterator[None]:
    """OpenVINO raises plain RuntimeErrors of many lines: the last but one says what is wrong."""
    try:
        yield
    except BackendError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise BackendError(what, got=lines[-1][:300] if lines else one_line(error)) from error


def _check_device(core: Any, place: str) -> None:
    kind = place.partition(".")[0]
    here = [name.partition(".")[0] for name in core.available_devices]
    if kind != "AUTO" and kind not in here:
        raise BackendError(
            f"OpenVINO cannot use {place.lower()} here",
            got=", ".join(core.available_devices).lower(),
            hint="Use --device cpu, or install the device's driver.",
        )


def _select(model: Any, outputs: Collection[str]) -> None:
    """Leave the tensors `outputs`, which may lie inside the graph, as its outputs, in order."""
    opset = require("openvino.opset13", "reading a tensor inside the graph")
    named = {name: port for op in model.get_ops() for port in op.outputs() for name in port.names}
    if missing := [name for name in outputs if name not in named]:
        raise BackendError(
            f"the graph has no tensor called {', '.join(missing)}",
            hint="Export it again with this artoolkit.",
        )
    for result in model.get_results():
        model.remove_result(result)
    model.add_results([opset.result(named[name]) for name in outputs])


def _tensor(port: Any, name: str) -> TensorSpec:
    if not port.partial_shape.is_static:
        raise BackendError(
            f"{name} has no static shape",
            got=port.partial_shape,
            hint="Export the graph with fixed sizes.",
        )
    dtype = port.get_element_type().to_dtype().name
    return TensorSpec(name=name, dtype=dtype, shape=tuple(port.shape))


def _settings(model: Any) -> dict[str, Any]:
    version = require("openvino", "reading settings").__version__
    known = model.get_property("SUPPORTED_PROPERTIES")
    found = {name: model.get_property(name) for name in _REPORTED if name in known}
    return {"version": version} | {name.lower(): _plain(value) for name, value in found.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple, set)):
        return sorted(map(str, value))
    return str(value).removeprefix("<Type: '").removesuffix("'>").rpartition(".")[2]
