"""Folded batch normalisation against the formula, computed here by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from artoolkit.deploy.fold import fold_batch_norm, fold_padding, store_transposed

RNG = np.random.default_rng(0)
VALUES = {
    "w": RNG.normal(size=(4, 2, 1, 1)).astype(np.float32),
    "b": RNG.normal(size=4).astype(np.float32),
    "gamma": RNG.normal(size=4).astype(np.float32),
    "beta": RNG.normal(size=4).astype(np.float32),
    "mean": RNG.normal(size=4).astype(np.float32),
    "var": RNG.uniform(0.5, 2, size=4).astype(np.float32),
}


def model(
    *, bias: bool = True, read_twice: bool = False, dtype: type = np.float32
) -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w", "b"] if bias else ["x", "w"], ["c"], name="conv"),
        node("BatchNormalization", ["c", "gamma", "beta", "mean", "var"], ["n"], epsilon=1e-3),
        node("Add", ["n", "c" if read_twice else "n"], ["y"]),
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    value = [
        helper.make_tensor_value_info(name, kind, [1, channels, 3, 3])
        for name, channels in (("x", 2), ("y", 4))
    ]
    initialisers = [numpy_helper.from_array(v.astype(dtype), k) for k, v in VALUES.items()]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


@pytest.mark.parametrize("bias", [True, False])
def test_values_and_names(bias: bool) -> None:
    folded = model(bias=bias)
    fold_batch_norm(folded, {})
    assert [n.op_type for n in folded.graph.node] == ["Conv", "Add"]
    assert list(folded.graph.node[0].input) == ["x", "w", "beta"]
    found = {i.name: numpy_helper.to_array(i) for i in folded.graph.initializer}
    scale = VALUES["gamma"] / np.sqrt(VALUES["var"] + 1e-3)
    start = VALUES["b"] if bias else 0
    np.testing.assert_allclose(
        found["w"][:, :, 0, 0], VALUES["w"][:, :, 0, 0] * scale[:, None], rtol=1e-6
    )
    np.testing.assert_allclose(
        found["beta"], (start - VALUES["mean"]) * scale + VALUES["beta"], rtol=1e-5
    )


def test_half_weights_are_rounded_once_from_the_checkpoints_float32() -> None:
    folded = model(dtype=np.float16)
    fold_batch_norm(folded, VALUES)
    found = {i.name: numpy_helper.to_array(i) for i in folded.graph.initializer}
    scale = VALUES["gamma"].astype(np.float64) / np.sqrt(VALUES["var"] + np.float32(1e-3))
    exact = VALUES["w"] * scale[:, None, None, None]
    assert found["w"].dtype == np.float16
    np.testing.assert_array_equal(found["w"], exact.astype(np.float16))


def test_a_convolution_that_is_read_elsewhere_too_is_left_alone() -> None:
    kept = model(read_twice=True)
    before = kept.SerializeToString(deterministic=True)
    fold_batch_norm(kept, {})
    assert kept.SerializeToString(deterministic=True) == before


def test_no_value_decides_whether_to_fold() -> None:
    zero = model()
    for initializer in zero.graph.initializer:
        initializer.CopyFrom(
            numpy_helper.from_array(np.zeros(initializer.dims, np.float32), initializer.name)
        )
    fold_batch_norm(zero, {})
    assert list(zero.graph.node[0].input) == ["x", "w", "beta"]


def normalised_first(*, pads: int = 0) -> onnx.ModelProto:
    """Two channels normalised, convolved to four, normalised again."""
    first = {f"{key}1": VALUES[key][:2] for key in ("gamma", "beta", "mean", "var")}
    nodes = [
        helper.make_node("BatchNormalization", ["x", *first], ["n1"], epsilon=1e-3),
        helper.make_node("Conv", ["n1", "w"], ["c"], name="conv", pads=[pads] * 4),
        helper.make_node(
            "BatchNormalization", ["c", "gamma", "beta", "mean", "var"], ["y"], epsilon=1e-3
        ),
    ]
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, side, side])
        for name, channels, side in (("x", 2, 3), ("y", 4, 3 + 2 * pads))
    ]
    stored = [numpy_helper.from_array(v, k) for k, v in (VALUES | first).items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def test_a_norm_before_a_convolution_goes_into_it_where_nothing_is_padded() -> None:
    image = {"x": RNG.normal(size=(1, 2, 3, 3)).astype(np.float32)}
    for pads, kinds in ((0, ["Conv"]), (1, ["BatchNormalization", "Conv"])):
        plain, folded = normalised_first(pads=pads), normalised_first(pads=pads)
        fold_batch_norm(folded, {i.name: numpy_helper.to_array(i) for i in plain.graph.initializer})
        assert [n.op_type for n in folded.graph.node] == kinds
        (expected,), (found,) = (
            ReferenceEvaluator(model).run(None, image) for model in (plain, folded)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_normalisation_of_the_image_stays_where_it_is() -> None:
    """It has no trained parameters, and its mean is too large for float16 weights."""
    model = normalised_first()
    fold_batch_norm(model, {k: v for k, v in VALUES.items() if not k.endswith("1")})
    assert [n.op_type for n in model.graph.node] == ["BatchNormalization", "Conv"]


def test_matrices_are_stored_as_they_are_read() -> None:
    matrix = RNG.normal(size=(4, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["m"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [3, count])
        for name, count in (("x", 2), ("y", 4))
    ]
    stored = [numpy_helper.from_array(matrix, "m")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    store_transposed(model, {"m"})
    assert [list(n.input) for n in model.graph.node] == [["x", "m"]]
    x = RNG.normal(size=(3, 2)).astype(np.float32)
    np.testing.assert_allclose(
        ReferenceEvaluator(model).run(None, {"x": x})[0], x @ matrix.T, rtol=1e-5
    )


def padded_first(sides: list[int], *, fill: float = 0.0) -> onnx.ModelProto:
    """A map padded by `sides` and convolved with a stride of 2 and a padding of 1."""
    nodes = [
        helper.make_node("Pad", ["x", "sides", "fill"], ["p"]),
        helper.make_node("Conv", ["p", "w"], ["y"], pads=[0, 1, 1, 1], strides=[2, 2]),
    ]
    values = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2, 6, 7]),
        helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None),
    ]
    stored = {
        "w": RNG.normal(size=(4, 2, 3, 3)).astype(np.float32),
        "sides": np.array(sides),
        "fill": np.array(fill, np.float32),
    }
    initialisers = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def test_zeros_before_a_convolution_become_its_padding() -> None:
    image = {"x": RNG.normal(size=(1, 2, 6, 7)).astype(np.float32)}
    model = padded_first([0, 0, 0, 1, 0, 0, 1, 2])
    (expected,) = ReferenceEvaluator(model).run(None, image)
    fold_padding(model)
    (conv,) = model.graph.node
    assert list(conv.input) == ["x", "w"]
    assert next(list(a.ints) for a in conv.attribute if a.name == "pads") == [0, 2, 2, 3]
    np.testing.assert_allclose(ReferenceEvaluator(model).run(None, image)[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "model",
    [padded_first([0, 0, 0, 1, 0, 0, 1, 2], fill=1.0), padded_first([0, 1, 0, 0, 0, 0, 0, 0]),
     padded_first([0, 0, -1, 0, 0, 0, 0, 0])],
    ids=["ones", "channels", "cut"],
)  # fmt: skip
def test_other_padding_stays(model: onnx.ModelProto) -> None:
    fold_padding(model)
    assert [node.op_type for node in model.graph.node] == ["Pad", "Conv"]
