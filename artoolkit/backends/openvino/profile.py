"""Time, multiply-adds and bytes of every layer that OpenVINO runs, and the peak of its kernels.

Layers are those of the runtime graph: what OpenVINO fused into another layer is counted there.
Counting slows every layer a little: totals are measured without it.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from artoolkit.backends.backend import Operator
from artoolkit.backends.openvino.loader import Compiled, compiled, failing
from artoolkit.backends.openvino.program import Layer, layers_of, made_once
from artoolkit.backends.runner import Feeds
from artoolkit.optional import require
from artoolkit.words import Precision

_PRODUCTS = ("FullyConnected", "MatMul")
# A chain of 3 x 3 convolutions of as many channels as the networks have, on a map that stays in a
# cache: one alone would be measured with the conversion of its input.
_CHANNELS, _MAP, _CHAIN = 128, 64, 4


def profile_layers(model: Compiled, feeds: Feeds, *, runs: int = 10) -> tuple[Operator, ...]:
    """The layers that are executed, with their medians over `runs` runs, after two to warm up.

    `model` was compiled with `profile`. Raises `BackendError` where it cannot be run.
    """
    request = model.model.create_infer_request()
    times: dict[str, list[float]] = {}
    with failing("OpenVINO could not run the graph"):
        for run in range(runs + 2):
            request.infer(dict(feeds))
            for found in request.get_profiling_info() if run >= 2 else ():
                # What was folded when the model was compiled is listed, and does not run.
                if found.status.name != "EXECUTED":
                    continue
                milliseconds = found.real_time.total_seconds() * 1e3
                times.setdefault(found.node_name, []).append(milliseconds)
    layers = layers_of(model)
    constant = made_once(layers)
    return tuple(
        Operator(
            name=layer.name,
            kind=layer.kind,
            milliseconds=median(times[layer.name]),
            macs=_macs(layer, layers),
            bytes_moved=layer.output_bytes
            + sum(layers[s].output_bytes for s in layer.sources if not constant[s]),
            shape=layer.shapes[0],
            dtype=layer.precision.lower(),
        )
        for layer in layers
        if layer.name in times
    )


def _macs(layer: Layer, layers: list[Layer]) -> int:
    out = math.prod(layer.shapes[0])
    if "Convolution" in layer.kind:
        # Cout x Cin x kh x kw, or with the groups in front: the last three for each result.
        weights = layers[layer.sources[1]].shapes[0]
        return out * math.prod(weights[-3:])
    if layer.kind in _PRODUCTS:
        return out * layers[layer.sources[0]].shapes[0][-1]
    return 0


def peak_macs_per_s(precision: Precision, threads: int, *, tries: int = 7) -> float:
    """Multiply-adds a second of OpenVINO's convolutions on this CPU: the best of several tries.

    Raises `BackendError` where the CPU does not compute in `precision`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "peak.onnx"
        path.write_bytes(_convolutions(quantised=precision == "int8"))
        model = compiled(path, device="cpu", precision=precision, threads=threads)
        request = model.model.create_infer_request()
        image = np.ones((1, _CHANNELS, _MAP, _MAP), np.float32)
        seconds = []
        for _ in range(tries + 1):
            start = time.perf_counter()
            request.infer({"map0": image}, share_inputs=True)
            seconds.append(time.perf_counter() - start)
    return _CHAIN * 9 * _CHANNELS * image.size / min(seconds[1:])


def _convolutions(*, quantised: bool) -> bytes:
    """A chain of convolutions; with `quantised` each has Q/DQ nodes before it and int8 weights."""
    onnx = require("onnx", "writing the graph that shows this machine's peak")
    helper, arrays = onnx.helper, onnx.numpy_helper
    weights = np.ones((_CHANNELS, _CHANNELS, 3, 3), np.int8 if quantised else np.float32)
    constants = {
        "weights": weights,
        "scale": np.float32(1.0),
        "zero": np.uint8(0),
        "weights_zero": np.int8(0),
    }
    nodes: list[Any] = []
    if quantised:
        inputs = ["weights", "scale", "weights_zero"]
        nodes.append(helper.make_node("DequantizeLinear", inputs, ["floats"]))
    for i in range(_CHAIN):
        source = f"map{i}"
        if quantised:
            ends = ["scale", "zero"]
            nodes.append(helper.make_node("QuantizeLinear", [source, *ends], [f"q{i}"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"q{i}", *ends], [f"d{i}"]))
            source = f"d{i}"
        kernel = "floats" if quantised else "weights"
        nodes.append(helper.make_node("Conv", [source, kernel], [f"map{i + 1}"], pads=[1, 1, 1, 1]))
    shape = [1, _CHANNELS, _MAP, _MAP]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name in ("map0", f"map{_CHAIN}")
    ]
    used = {name for node in nodes for name in node.input}
    initialisers = [arrays.from_array(np.asarray(v), n) for n, v in constants.items() if n in used]
    graph = helper.make_graph(nodes, "peak", ends[:1], ends[1:], initialisers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content
