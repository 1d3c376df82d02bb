"""Peak of this machine in ONNX Runtime: multiply-adds a second of its convolutions and products."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from artoolkit.backends.onnxruntime.session import open_session
from artoolkit.optional import require
from artoolkit.words import Precision

# A 3 x 3 convolution of as many channels as the networks have, on a map that stays in a cache; and
# a square product.
_CHANNELS, _MAP, _SIDE = 128, 64, 512


def peak_macs_per_s(threads: int, *, tries: int = 7) -> dict[Precision, float]:
    """Multiply-adds a second by precision, the best of several tries, in a second or two.

    Raises `MissingLibraryError` without onnx, which writes the convolution and the products.
    """
    convolution = _macs_per_s(_convolution(), threads, tries)
    return {
        "fp32": max(convolution, _macs_per_s(_product("MatMul"), threads, tries)),
        "int8": _macs_per_s(_product("MatMulInteger"), threads, tries),
    }


def _macs_per_s(work: tuple[bytes, dict[str, Any], int], threads: int, tries: int) -> float:
    content, feeds, macs = work
    with TemporaryDirectory() as folder:
        path = Path(folder) / "peak.onnx"
        path.write_bytes(content)
        session = open_session(path, threads=threads).session
    seconds = []
    for _ in range(tries + 1):
        start = time.perf_counter()
        session.run(None, feeds)
        seconds.append(time.perf_counter() - start)
    return macs / min(seconds[1:])


def _product(operator: str) -> tuple[bytes, dict[str, Any], int]:
    a, b = (
        (np.ones((_SIDE, _SIDE), np.uint8), np.ones((_SIDE, _SIDE), np.int8))
        if operator == "MatMulInteger"
        else (np.ones((_SIDE, _SIDE), np.float32),) * 2
    )
    return _one_operator(operator, {"a": a}, {"b": b}), {"a": a}, _SIDE**3


def _convolution() -> tuple[bytes, dict[str, Any], int]:
    image = np.ones((1, _CHANNELS, _MAP, _MAP), np.float32)
    weights = np.ones((_CHANNELS, _CHANNELS, 3, 3), np.float32)
    content = _one_operator("Conv", {"image": image}, {"weights": weights}, pads=[1, 1, 1, 1])
    return content, {"image": image}, image.size * weights[0].size


def _one_operator(
    operator: str, inputs: dict[str, Any], constants: dict[str, Any], **attributes: Any
) -> bytes:
    """A graph of one operator with constant weights, which ONNX Runtime packs beforehand."""
    onnx = require("onnx", "writing the graphs that show this machine's peak")
    helper, arrays = onnx.helper, onnx.numpy_helper
    node = helper.make_node(operator, [*inputs, *constants], ["out"], **attributes)
    kind = onnx.TensorProto.INT32 if operator == "MatMulInteger" else onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "peak",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in inputs.items()
        ],
        [helper.make_tensor_value_info("out", kind, None)],
        [arrays.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content
