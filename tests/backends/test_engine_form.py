"""A CPU's graph as TensorRT is given it: the plain head again, with its labels and its program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.tensorrt.engine_form import CAST_FIRST, NO_POOLING, PLAIN_HEAD, engine_form
from artoolkit.backends.tensorrt.program import compare_programs
from artoolkit.deploy.head import cpu_head
from artoolkit.graph.identity import compare_graphs
from artoolkit.optional import is_installed

TRAINED = ("conv.weight",)
ALIGNED, HALF_PIXEL = "align_corners", "pytorch_half_pixel"


def network(
    path: Path,
    *,
    mode: str = ALIGNED,
    labels_hw: tuple[int, int] = (32, 64),
    for_cpu: bool = False,
    seed: int = 0,
) -> Path:
    """Pixels -> one convolution of stride 4 -> Resize -> ArgMax, plain or as a CPU is given it."""
    node = helper.make_node
    weights = np.random.default_rng(seed).normal(0, 0.01, (5, 3, 4, 4)).astype(np.float32)
    first = ("Transpose", "Cast") if for_cpu else ("Cast", "Transpose")
    arguments = {"Cast": {"to": TensorProto.FLOAT}, "Transpose": {"perm": [0, 3, 1, 2]}}
    nodes = [
        node(first[0], ["image"], ["between"], **arguments[first[0]]),
        node(first[1], ["between"], ["pixels"], **arguments[first[1]]),
        node("Conv", ["pixels", "conv.weight"], ["scores"], strides=[4, 4]),
        node("Resize", ["scores", "", "", "sizes"], ["head.resized"], "head.resize",
             mode="linear", coordinate_transformation_mode=mode),
        node("ArgMax", ["head.resized"], ["index"], axis=1, keepdims=0),
        node("Cast", ["index"], ["labels"], to=TensorProto.UINT8),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 32, 64, 3])],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, [1, *labels_hw])],
        [
            numpy_helper.from_array(weights, "conv.weight"),
            numpy_helper.from_array(np.array([1, 5, *labels_hw]), "sizes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 5, 8, 16])
    model.graph.value_info.append(scores)
    if for_cpu:
        assert cpu_head(model)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def labels(path: Path) -> np.ndarray:
    images = np.random.default_rng(1).integers(0, 256, (1, 32, 64, 3), np.uint8)
    with open_onnxruntime(path, threads=1) as runner:
        return runner.infer(images)["labels"]


@pytest.mark.parametrize("mode", [ALIGNED, HALF_PIXEL])
@pytest.mark.parametrize("labels_hw", [(32, 64), (37, 53)], ids=["tiles", "channels-last"])
def test_it_is_the_graph_that_a_gpu_is_given(tmp_path, mode, labels_hw):
    plain = network(tmp_path / "plain.onnx", mode=mode, labels_hw=labels_hw)
    cpu = network(tmp_path / "cpu.onnx", mode=mode, labels_hw=labels_hw, for_cpu=True)
    (tmp_path / "form").mkdir()
    found = engine_form(cpu, tmp_path / "form")
    assert found.changes == (CAST_FIRST, PLAIN_HEAD)
    model = onnx.load(str(found.path))
    onnx.checker.check_model(model, full_check=True)
    assert compare_graphs(onnx.load(str(plain)), model, TRAINED, TRAINED) == ()
    assert len(model.graph.initializer) == 2, "the tiles' constants are gone"
    np.testing.assert_array_equal(labels(found.path), labels(plain))
    assert (labels(found.path) == labels(cpu)).mean() > 0.999


def test_a_pooling_of_one_position_is_left_out(tmp_path):
    plain = onnx.load(str(network(tmp_path / "plain.onnx")))
    pooled = onnx.load(str(tmp_path / "plain.onnx"))
    pooled.graph.node[1].output[0] = "planar"
    pool = helper.make_node("MaxPool", ["planar"], ["pixels"], kernel_shape=[1, 1])
    pooled.graph.node.insert(2, pool)
    onnx.save(pooled, tmp_path / "pooled.onnx")
    (tmp_path / "form").mkdir()
    found = engine_form(tmp_path / "pooled.onnx", tmp_path / "form")
    assert found.changes == (NO_POOLING,)
    assert compare_graphs(plain, onnx.load(str(found.path)), TRAINED, TRAINED) == ()


def test_a_graph_for_a_gpu_is_taken_as_it_is(tmp_path):
    plain = network(tmp_path / "plain.onnx")
    found = engine_form(plain, tmp_path)
    assert (found.path, found.changes) == (plain, ())


@pytest.mark.parametrize("changed", ["head.rows.weights", "head.columns.positions"])
def test_products_that_are_no_bilinear_resize_stay(tmp_path, changed):
    cpu = network(tmp_path / "cpu.onnx", for_cpu=True)
    model = onnx.load(str(cpu))
    tensor = next(i for i in model.graph.initializer if i.name == changed)
    array = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array[:, ::-1]), changed))
    onnx.save(model, str(cpu))
    (tmp_path / "form").mkdir()
    found = engine_form(cpu, tmp_path / "form")
    assert found.changes == (CAST_FIRST,)
    assert "MatMul" in {node.op_type for node in onnx.load(str(found.path)).graph.node}


@pytest.mark.slow
@pytest.mark.skipif(not is_installed("tensorrt_rtx"), reason="tensorrt-rtx is not installed")
def test_its_program_is_that_of_the_graph_a_gpu_is_given(tmp_path):
    plain = network(tmp_path / "plain.onnx")
    cpu = network(tmp_path / "cpu.onnx", for_cpu=True, seed=1)
    (tmp_path / "form").mkdir()
    form = engine_form(cpu, tmp_path / "form").path
    (found,) = compare_programs(plain, form, trained=TRAINED)
    assert found.result == "PASS", found.reason
