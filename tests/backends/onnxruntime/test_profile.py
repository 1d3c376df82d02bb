"""Operators are timed and counted as they run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from artoolkit.backends.backend import Operator
from artoolkit.backends.onnxruntime.profile import profile_onnx
from artoolkit.errors import BackendError

onnx = pytest.importorskip("onnx")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A strided convolution with two groups, an addition, a product, an argmax."""
    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.standard_normal((8, 2, 3, 3), np.float32),
        "matrix": rng.standard_normal((6, 5), np.float32),
        "bias": np.ones((1, 8, 1, 1), np.float32),
    }
    helper = onnx.helper
    nodes = [
        helper.make_node(
            "Conv", ["image", "kernel"], ["c"], "conv", strides=[2, 2], group=2, pads=[1, 1, 1, 1]
        ),
        helper.make_node("Mul", ["c", "bias"], ["m"], "mul"),
        helper.make_node("MatMul", ["m", "matrix"], ["p"], "product"),
        helper.make_node("ArgMax", ["p"], ["labels"], "argmax", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "counted",
        [helper.make_tensor_value_info("image", 1, (1, 4, 10, 12))],
        [helper.make_tensor_value_info("labels", 7, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


def profiled(model: Path) -> dict[str, Operator]:
    feeds = {"image": np.ones((1, 4, 10, 12), np.float32)}
    return {o.kind: o for o in profile_onnx(model, feeds, threads=1, runs=2)}


def test_multiply_adds_are_those_of_the_formulas(model: Path) -> None:
    found = profiled(model)
    assert found["Conv"].macs == 8 * 5 * 6 * (2 * 3 * 3)
    assert found["MatMul"].macs == 8 * 5 * 5 * 6
    assert found["ArgMax"].macs == 0


def test_bytes_are_inputs_and_outputs_once_and_weights_that_are_not_packed(model: Path) -> None:
    found = profiled(model)
    assert found["ArgMax"].bytes_moved == 4 * (8 * 5 * 5) + 8 * (5 * 5)
    assert found["Conv"].bytes_moved == 4 * (4 * 10 * 12 + 8 * (2 * 3 * 3) + 8 * 5 * 6)
    product = found["MatMul"]
    assert product.bytes_moved == 4 * (8 * 5 * 6 + 8 * 5 * 5), "its weights are packed beforehand"
    assert (product.shape, product.dtype) == ((1, 8, 5, 5), "float")
    assert product.milliseconds >= 0


def test_operators_come_in_the_order_in_which_they_run(model: Path) -> None:
    kinds = [kind for kind in profiled(model) if kind in ("Conv", "MatMul", "ArgMax")]
    assert kinds == ["Conv", "MatMul", "ArgMax"]


def test_feeds_that_do_not_fit_are_one_line(model: Path) -> None:
    with pytest.raises(BackendError, match="could not run"):
        profile_onnx(model, {"other": np.ones(3, np.float32)}, threads=1)


def test_int8_convolutions_count_though_their_weights_are_packed(tmp_path: Path) -> None:
    helper, arrays = onnx.helper, onnx.numpy_helper
    scale, zero = np.float32(0.1), np.uint8(0)
    values = {
        "scale": np.asarray(scale),
        "zero": np.asarray(zero),
        "kernel": np.ones((8, 4, 3, 3), np.int8),
        "kernel_zero": np.zeros((), np.int8),
    }
    node = helper.make_node(
        "QLinearConv",
        ["image", "scale", "zero", "kernel", "scale", "kernel_zero", "scale", "zero"],
        ["out"],
        "conv",
    )
    graph = helper.make_graph(
        [node],
        "int8",
        [helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, (1, 4, 10, 12))],
        [helper.make_tensor_value_info("out", onnx.TensorProto.UINT8, None)],
        [arrays.from_array(value, name) for name, value in values.items()],
    )
    path = tmp_path / "int8.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    feeds = {"image": np.ones((1, 4, 10, 12), np.uint8)}
    found = {o.kind: o for o in profile_onnx(path, feeds, threads=1, runs=1)}
    assert found["QLinearConv"].macs == 8 * 8 * 10 * (4 * 3 * 3)
    assert found["QLinearConv"].dtype == "uint8"
