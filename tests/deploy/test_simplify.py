"""What is removed from a graph, and what is not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from artoolkit.deploy.simplify import simplified


def model(nodes: list[onnx.NodeProto], **constants: np.ndarray) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in ("x", "y")]
    initialisers = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], initialisers)
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    )


def operators(graph: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in graph.graph.node]


def values(graph: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {i.name: numpy_helper.to_array(i) for i in graph.graph.initializer}


def test_a_chain_of_constants_and_shapes_becomes_one_constant() -> None:
    node = helper.make_node
    graph = model(
        [
            node("Shape", ["x"], ["shape"]),
            node("Shape", ["x"], ["rows"], start=0, end=1),
            node("Constant", [], ["zero"], value=numpy_helper.from_array(np.array([0]))),
            node("Add", ["shape", "zero"], ["size"]),
            node("CastLike", ["half", "x"], ["half32"]),
            node("Expand", ["half32", "size"], ["filled"]),
            node("Add", ["x", "filled"], ["y"]),
        ],
        half=np.array(0.5, np.float64),
    )
    graph = simplified(graph, ())
    assert operators(graph) == ["Add"]
    np.testing.assert_array_equal(values(graph)["filled"], np.full((2, 3), 0.5, np.float32))
    onnx.checker.check_model(graph, full_check=True)


def test_trained_parameters_are_not_folded_but_their_shapes_are() -> None:
    node = helper.make_node
    graph = model(
        [
            node("Transpose", ["w"], ["wt"], perm=[1, 0]),
            node("Shape", ["w"], ["shape"]),
            node("Reshape", ["wt", "back"], ["flat"]),
            node("Reshape", ["flat", "shape"], ["again"]),
            node("Add", ["x", "again"], ["y"]),
        ],
        w=np.ones((2, 3), np.float32),
        back=np.array([-1]),
    )
    graph = simplified(graph, {"w"})
    assert operators(graph) == ["Transpose", "Reshape", "Reshape", "Add"]
    np.testing.assert_array_equal(values(graph)["shape"], [2, 3])


@pytest.mark.parametrize("operator", ["Identity", "Cast"])
def test_no_ops_are_removed(operator: str) -> None:
    attributes = {"to": TensorProto.FLOAT} if operator == "Cast" else {}
    nothing = helper.make_node(operator, ["x"], ["same"], **attributes)
    graph = model([nothing, helper.make_node("Neg", ["same"], ["y"])])
    graph = simplified(graph, ())
    assert operators(graph) == ["Neg"]
    assert list(graph.graph.node[0].input) == ["x"]


def test_a_cast_that_changes_the_type_and_the_name_of_an_output_stay() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["back"], to=TensorProto.FLOAT),
        helper.make_node("Identity", ["back"], ["y"]),
    ]
    graph = model(nodes)
    graph = simplified(graph, ())
    assert operators(graph) == ["Cast", "Cast"]
    assert [output.name for output in graph.graph.output] == ["y"]
    onnx.checker.check_model(graph, full_check=True)


def test_no_value_of_a_trained_parameter_decides() -> None:
    nodes = [
        helper.make_node("Add", ["x", "zero"], ["a"]),
        helper.make_node("Add", ["a", "same"], ["b"]),
        helper.make_node("Mul", ["b", "one"], ["y"]),
    ]
    trained = {"zero": np.zeros(3), "same": np.zeros(3), "one": np.ones(3)}
    graph = simplified(
        model(nodes, **{k: v.astype(np.float32) for k, v in trained.items()}), trained
    )
    assert operators(graph) == ["Add", "Add", "Mul"]
    assert set(values(graph)) == set(trained)


def test_a_constant_keeps_its_shape() -> None:
    scalar = numpy_helper.from_array(np.array(2, np.float32))
    nodes = [
        helper.make_node("Constant", [], ["two"], value=scalar),
        helper.make_node("Neg", ["two"], ["minus"]),
        helper.make_node("Clip", ["x", "minus", "two"], ["y"]),
    ]
    found = values(simplified(model(nodes), ()))
    assert {name: value.shape for name, value in found.items()} == {"minus": (), "two": ()}


def test_what_no_output_needs_is_removed() -> None:
    nodes = [
        helper.make_node("Add", ["x", "used"], ["y"]),
        helper.make_node("Add", ["x", "unused"], ["z"]),
    ]
    graph = model(nodes, used=np.ones(3, np.float32), unused=np.ones(3, np.float32))
    graph = simplified(graph, ())
    assert operators(graph) == ["Add"]
    assert set(values(graph)) == {"used"}
