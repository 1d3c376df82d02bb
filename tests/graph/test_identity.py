"""What counts as the same graph, and how each difference is named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from artoolkit.graph.identity import (
    Difference,
    compare_graphs,
    training_only_parts,
    weights_by_rule,
)

TRAINED = ("w", "v", "bias")
Change = Callable[[onnx.ModelProto], object]


def model(*, sizes: tuple[int, ...] = (1, 3, 8, 8), weight: float = 1.0) -> onnx.ModelProto:
    """Conv -> Clip -> Conv, a sum of both, Resize; a constant is added twice."""
    values = {
        "w": np.full((3, 3, 1, 1), weight, np.float32),
        "v": np.full((3, 3, 1, 1), -weight, np.float32),
        "bias": np.full(3, weight, np.float32),
        "low": np.float32(0),
        "high": np.float32(6),
        "sizes": np.array(sizes, np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "w", "bias"], ["a"], name="first", strides=[1, 1]),
        node("Clip", ["a", "low", "high"], ["b"], name="clip"),
        node("Conv", ["b", "v"], ["c"], name="second", strides=[1, 1]),
        node("Sub", ["b", "c"], ["d"], name="difference"),
        node("Resize", ["d", "", "", "sizes"], ["out"], name="resize", mode="linear"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, list(sizes))],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def node(graph: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(n for n in graph.graph.node if n.name == name)


def constant(graph: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    old = next(i for i in graph.graph.initializer if i.name == name)
    old.CopyFrom(numpy_helper.from_array(value, name))


def compare(b: onnx.ModelProto) -> tuple[Difference, ...]:
    onnx.checker.check_model(b, full_check=True)
    return compare_graphs(model(), b, TRAINED, TRAINED)


def test_other_trained_values_are_equal() -> None:
    assert compare(model(weight=2.5)) == ()


def test_trained_values_count_where_they_are_not_said_to_be_trained() -> None:
    found = compare_graphs(model(), model(weight=2), ("w", "v"), ("w", "v"))
    assert [d.what for d in found] == ["values of input 2"]


def test_other_names_and_another_order_of_initialisers_are_equal() -> None:
    b = model()
    for index, one in enumerate(b.graph.node):
        one.name = f"n{index}"
        for field in (one.input, one.output):
            for position, name in enumerate(field):
                if name not in ("", "image", "out"):
                    field[position] = f"renamed.{name}"
    for initializer in b.graph.initializer:
        initializer.name = f"renamed.{initializer.name}"
    initialisers = list(b.graph.initializer)[::-1]
    del b.graph.initializer[:]
    b.graph.initializer.extend(initialisers)
    assert compare_graphs(model(), b, TRAINED, [f"renamed.{name}" for name in TRAINED]) == ()


def test_two_branches_in_another_order_of_the_file_are_equal() -> None:
    def branches(order: tuple[int, int]) -> onnx.ModelProto:
        nodes = [
            helper.make_node("Relu", ["image"], ["a"]),
            helper.make_node("Neg", ["image"], ["b"]),
        ]
        add = helper.make_node("Add", ["a", "b"], ["out"])
        value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("image", "out")]
        graph = helper.make_graph([*(nodes[i] for i in order), add], "g", value[:1], value[1:])
        return helper.make_model(graph)

    assert compare_graphs(branches((0, 1)), branches((1, 0)), (), ()) == ()


def _attribute(b: onnx.ModelProto) -> None:
    node(b, "resize").attribute[0].s = b"cubic"


def _bound(b: onnx.ModelProto) -> None:
    constant(b, "high", np.float32(5))


def _dropped_bias(b: onnx.ModelProto) -> None:
    del node(b, "first").input[2:]


def _swapped(b: onnx.ModelProto) -> None:
    one = node(b, "difference")
    one.input[0], one.input[1] = one.input[1], one.input[0]


def _around(b: onnx.ModelProto) -> None:
    node(b, "second").input[0] = "a"


def _shared(b: onnx.ModelProto) -> None:
    node(b, "second").input[1] = "w"


@pytest.mark.parametrize(
    ("change", "what", "where", "values"),
    [
        (_attribute, "attribute mode", "Resize resize", ("linear", "cubic")),
        (_bound, "values of input 2", "Clip clip", ("= 6.0", "= 5.0")),
        (_dropped_bias, "edge of input 2", "Conv first", ("trained float32[3]", "nothing")),
        (_swapped, "edge of input 0", "Sub difference", ("Clip clip", "Conv second")),
        (_around, "edge of input 0", "Conv second", ("Clip clip", "Conv first")),
        (_shared, "edge of input 1", "Conv second", ("trained", "trained")),
    ],
    ids=["attribute", "bound", "bias", "swapped", "around", "shared"],
)
def test_a_change_is_found_and_named(
    change: Change, what: str, where: str, values: tuple[str, str]
) -> None:
    b = model()
    change(b)
    found = compare(b)
    named = [d for d in found if d.what == what and d.where == where]
    assert named, [str(d) for d in found]
    assert values[0] in named[0].a
    assert values[1] in named[0].b
    assert "\n" not in str(named[0])


def test_another_resize_is_found_in_constant_and_output() -> None:
    found = compare(model(sizes=(1, 3, 8, 6)))
    assert [(d.what, d.where) for d in found] == [
        ("output", "the graph, number 0"),
        ("values of input 3", "Resize resize"),
    ]
    assert "1, 3, 8, 6" in found[1].b


def test_an_extra_node_is_named_and_nothing_else() -> None:
    b = model()
    b.graph.node.insert(3, helper.make_node("Relu", ["c"], ["extra"], name="extra"))
    node(b, "difference").input[1] = "extra"
    found = compare(b)
    assert found[0] == Difference("operator", "extra", "", "Relu")
    assert [d.what for d in found[1:]] == ["edge of input 1"]


def test_a_node_that_no_output_needs_is_found() -> None:
    b = model()
    b.graph.node.append(helper.make_node("Relu", ["c"], ["unused"], name="unused"))
    assert compare(b) == (Difference("count of unused nodes", "Relu", "0", "1"),)


def test_another_shape_of_a_weight_and_of_the_input_is_found() -> None:
    b = model()
    constant(b, "bias", np.zeros((3,), np.float16))
    found = compare_graphs(model(), b, TRAINED, TRAINED)
    assert [(d.what, d.a, d.b) for d in found] == [
        ("shape of input 2", "trained float32[3]", "trained float16[3]")
    ]
    b = model()
    b.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 5
    assert [d.what for d in compare_graphs(model(), b, TRAINED, TRAINED)] == ["input"]


def test_a_sum_computed_twice_is_not_one_used_twice() -> None:
    b = model()
    b.graph.node.insert(2, helper.make_node("Clip", ["a", "low", "high"], ["again"], name="again"))
    node(b, "difference").input[0] = "again"
    assert any(d.where == "again" or d.b == "Clip" for d in compare(b))


def test_another_opset_is_found() -> None:
    b = model()
    b.opset_import[0].version = 19
    assert compare_graphs(model(), b, TRAINED, TRAINED)[0] == Difference(
        "opset", "ai.onnx", "20", "19"
    )


def _looping(inner: str, bound: float) -> onnx.ModelProto:
    """If with a subgraph that reads a value of the graph around it."""
    body = helper.make_graph(
        [helper.make_node(inner, ["half", "limit"], ["y"])],
        "then",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(np.full(2, bound, np.float32), "limit")],
    )
    nodes = [
        helper.make_node("Neg", ["image"], ["half"]),
        helper.make_node("If", ["yes"], ["out"], name="if", then_branch=body, else_branch=body),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("image", "out")]
    yes = numpy_helper.from_array(np.array(True), "yes")
    return helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], [yes]))


def test_subgraphs_are_compared() -> None:
    one = _looping("Max", 1)
    assert compare_graphs(one, _looping("Max", 1), (), ()) == ()
    for other in (_looping("Min", 1), _looping("Max", 2)):
        found = compare_graphs(one, other, (), ())
        assert {d.what for d in found} == {"attribute then_branch", "attribute else_branch"}


def test_weights_by_rule_are_what_convolutions_and_products_take() -> None:
    assert weights_by_rule(model()) == frozenset(TRAINED)


def test_training_only_parts_names_keys_and_operators() -> None:
    assert training_only_parts(["a"], ["a"], {"Conv": 2}, {"Conv": 2}) == ()
    found = training_only_parts(["a", "b"], ["a", "c"], {"Conv": 2}, {"Conv": 2, "Exp": 1})
    assert [str(d) for d in found] == [
        "state-dict key of b: present against nothing",
        "state-dict key of c: nothing against present",
        "count of Exp: 0 against 1",
    ]
