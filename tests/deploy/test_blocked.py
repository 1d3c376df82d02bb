"""A pooling of one position keeps sums blocked, and changes no value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.onnxruntime.session import open_session
from artoolkit.backends.tensorrt.engine_form import SUM_FIRST, engine_form
from artoolkit.deploy.blocked import keep_blocked, project_pyramid
from artoolkit.deploy.onnx import graph_from_checkpoint, onnx_from_checkpoint
from artoolkit.deploy.untrained import untrained_checkpoint
from artoolkit.graph.identity import compare_graphs
from deploy.tiny_network import pictures, target, tiny_checkpoint

IMAGE = np.random.default_rng(0).standard_normal((1, 32, 16, 16), np.float32)


def residual() -> onnx.ModelProto:
    """Resize to half the size -> x; x + conv(x) -> ReLU -> conv."""
    node = helper.make_node
    random = np.random.default_rng(1)
    weights = {n: random.standard_normal((32, 32, 1, 1), np.float32) for n in ("a", "b")}
    nodes = [
        node("Resize", ["image", "", "", "sizes"], ["x"], mode="linear",
             coordinate_transformation_mode="align_corners"),
        node("Conv", ["x", "a"], ["y"]),
        node("Add", ["x", "y"], ["sum"]),
        node("Relu", ["sum"], ["r"]),
        node("Conv", ["r", "b"], ["out"]),
    ]  # fmt: skip
    return as_model(nodes, {**weights, "sizes": np.array([1, 32, 8, 8])}, (1, 32, 8, 8))


def as_model(
    nodes: list[onnx.NodeProto], values: dict[str, np.ndarray], out: tuple[int, ...]
) -> onnx.ModelProto:
    """`image` of `IMAGE`'s shape -> nodes -> `out`."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE.shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto, folder: Path) -> tuple[np.ndarray, list[str]]:
    """The output, and the operators that ONNX Runtime really runs."""
    path, optimised = folder / "model.onnx", folder / "optimised.onnx"
    onnx.save(model, path)
    session = open_session(path, threads=1, optimised=optimised).session
    (out,) = session.run(None, {"image": IMAGE})
    return out, [node.op_type for node in onnx.load(optimised).graph.node]


def test_the_same_values_without_an_add(tmp_path: Path) -> None:
    model = residual()
    plain, operators = run(model, tmp_path)
    assert keep_blocked(model) == 1
    onnx.checker.check_model(model, full_check=True)
    blocked, fewer = run(model, tmp_path)
    np.testing.assert_allclose(blocked, plain, rtol=1e-5, atol=1e-5)
    if "ReorderInput" not in operators:
        pytest.skip("this processor's kernels have no blocked layout")
    assert "Add" in operators
    assert "Add" not in fewer
    assert fewer.count("ReorderInput") == operators.count("ReorderInput") - 1


def test_a_resize_that_nothing_adds_to_is_left_alone() -> None:
    model = residual()
    model.graph.node[2].input[0] = "y"
    before = model.SerializeToString(deterministic=True)
    assert keep_blocked(model) == 0
    assert model.SerializeToString(deterministic=True) == before


def pyramid(*, kernel: int = 1, trained_resize: bool = False) -> onnx.ModelProto:
    """conv(x + rows @ ((pool @ x @ pool) @ columns)) + bias, as the exporter writes PyramidSum."""
    node = helper.make_node
    random = np.random.default_rng(2)
    values = {
        "pool.rows": random.random((3, 16)),
        "pool.columns": random.random((16, 3)),
        "rows": random.random((16, 3)),
        "trained.columns" if trained_resize else "columns": random.random((3, 16)),
        "trained.weight": random.standard_normal((16, 32, kernel, kernel)),
        "trained.bias": random.standard_normal(16),
    }
    columns = list(values)[3]
    nodes = [
        node("MatMul", ["image", "pool.columns"], ["narrow"]),
        node("MatMul", ["pool.rows", "narrow"], ["pooled"]),
        node("MatMul", ["pooled", columns], ["wide"]),
        node("MatMul", ["rows", "wide"], ["context"]),
        node("Add", ["image", "context"], ["x"]),
        node("Conv", ["x", "trained.weight", "trained.bias"], ["out"], "project",
             dilations=[1, 1], group=1, strides=[1, 1], pads=[kernel // 2] * 4),
    ]  # fmt: skip
    floats = {name: value.astype(np.float32) for name, value in values.items()}
    model = as_model(nodes, floats, (1, 16, 16, 16))
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


TRAINED = ("trained.weight", "trained.bias", "trained.columns")


def test_pooled_maps_are_projected_before_they_are_resized(tmp_path: Path) -> None:
    model = pyramid()
    plain, _ = run(model, tmp_path)
    assert project_pyramid(model, TRAINED) == 1
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    projected, _ = run(model, tmp_path)
    np.testing.assert_allclose(projected, plain, rtol=1e-4, atol=1e-3)
    assert [node.op_type for node in model.graph.node] == [
        "MatMul", "MatMul", "Conv", "MatMul", "MatMul", "Conv", "MaxPool", "Add",
    ]  # fmt: skip


def test_tensorrt_is_given_the_pyramid_as_it_was(tmp_path: Path) -> None:
    model, plain = pyramid(), pyramid()
    project_pyramid(model, TRAINED)
    del model.graph.value_info[:]
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.save(model, tmp_path / "cpu.onnx")
    (tmp_path / "form").mkdir()
    found = engine_form(tmp_path / "cpu.onnx", tmp_path / "form")
    assert SUM_FIRST in found.changes
    again = onnx.load(found.path)
    onnx.checker.check_model(again, full_check=True)
    assert compare_graphs(plain, again, TRAINED, TRAINED) == ()
    np.testing.assert_array_equal(run(plain, tmp_path)[0], run(again, tmp_path)[0])


@pytest.mark.parametrize("changes", [{"kernel": 3}, {"trained_resize": True}], ids=str)
def test_what_does_not_commute_is_left_alone(changes: dict[str, Any]) -> None:
    model = pyramid(**changes)
    before = model.SerializeToString(deterministic=True)
    assert project_pyramid(model, TRAINED) == 0
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("changes", "count"),
    [({}, 2), ({"precision": "int8"}, 0), ({"backend": "tensorrt", "device": "cuda:0"}, 0)],
    ids=["cpu", "int8", "tensorrt"],
)
def test_only_a_cpu_in_float_is_given_it(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], count: int
) -> None:
    given: list[onnx.ModelProto] = []
    monkeypatch.setattr("artoolkit.deploy.onnx.keep_blocked", given.append)
    monkeypatch.setattr(
        "artoolkit.deploy.onnx.project_pyramid", lambda model, trained: given.append(model)
    )
    graph_from_checkpoint(tiny_checkpoint(), target(**changes))
    assert len(given) == count


def test_icnet_for_a_cpu_opens_and_no_name_stands_twice(tmp_path: Path) -> None:
    checkpoint = untrained_checkpoint("icnet", 3, options={"width": 0.125})
    model, _ = graph_from_checkpoint(checkpoint, target(imgsz=(64, 128)))
    names = [node.name for node in model.graph.node if node.name]
    assert "context.conv.pooled" in names
    assert len(set(names)) == len(names)
    onnx.save(model, tmp_path / "icnet.onnx")
    assert open_session(tmp_path / "icnet.onnx", threads=1).session.get_inputs()


@pytest.mark.slow
def test_icnet_with_both_runs_and_gives_the_labels_of_the_plain_graph(tmp_path: Path) -> None:
    checkpoint = untrained_checkpoint("icnet", 5)
    plain, blocked = (
        onnx_from_checkpoint(checkpoint, target(imgsz=(64, 128), **on), tmp_path / f"{name}.onnx")
        for name, on in (
            ("plain", {"backend": "tensorrt", "device": "cuda:0"}),
            ("blocked", {}),
        )
    )
    assert (plain.census["Conv"], blocked.census["Conv"]) == (64, 65)
    assert blocked.census["MaxPool"] == plain.census["MaxPool"] + 2
    scores = []
    for info in (plain, blocked):
        with open_onnxruntime(info.path, outputs=("scores",), threads=1) as runner:
            scores.append(runner.infer(pictures(1, (64, 128)))["scores"])
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-3, atol=1e-3 * np.abs(scores[0]).max())
