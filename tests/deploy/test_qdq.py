"""Quantised graphs: which tensors, which numbers, and what is left in float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from artoolkit.deploy.qdq import insert_qdq, integer_convolutions, integer_tensors
from artoolkit.errors import ExportError
from deploy.tiny_network import Exporter


@pytest.fixture
def model(exporter: Exporter) -> onnx.ModelProto:
    return onnx.load(str(exporter().path))


def values(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(n for n in model.graph.node if n.name == name)


def test_the_classifier_and_the_named_layers_stay_in_float(model: onnx.ModelProto) -> None:
    assert integer_convolutions(model) == ("stem", "body", "low")
    assert integer_convolutions(model, ["body"]) == ("stem", "low")


def test_quantised_are_what_convolutions_read_and_give_after_relu(model: onnx.ModelProto) -> None:
    tensors = integer_tensors(model, integer_convolutions(model), "int8")
    makers = {name: n for n in model.graph.node for name in n.output}
    assert [makers[name].op_type for name in tensors] == [
        "BatchNormalization",  # the pixels, which the stem reads
        "Relu",  # of the stem
        "MaxPool",  # which the body reads
        "Conv",  # the body, added before its ReLU
        "Add",  # of the pyramid, which the low branch reads
        "Conv",  # the low branch, resized before its ReLU
    ]


def test_a_cpu_also_adds_in_bytes_and_no_sum_with_a_float_is_taken(
    model: onnx.ModelProto,
) -> None:
    makers = {name: n for n in model.graph.node for name in n.output}
    gpu, cpu = (
        set(integer_tensors(model, integer_convolutions(model), kind)) for kind in ("int8", "uint8")
    )
    (added,) = cpu - gpu
    assert makers[added].op_type == "Relu"
    assert makers[makers[added].input[0]].op_type == "Add"
    without = set(integer_tensors(model, integer_convolutions(model, ["body"]), "uint8"))
    assert added not in without


def test_pooling_keeps_the_range_of_what_it_pools(model: onnx.ModelProto) -> None:
    tensors = integer_tensors(model, integer_convolutions(model), "int8")
    pool = next(n for n in model.graph.node if n.op_type == "MaxPool")
    assert tensors[pool.output[0]] == pool.input[0]
    assert all(a == b for a, b in tensors.items() if a != pool.output[0])


@pytest.mark.parametrize(
    ("activation", "scale", "zero"),
    [("uint8", 4 / 255, 64), ("int8", 3 / 127, 0)],
)
def test_numbers_by_hand(model: onnx.ModelProto, activation: str, scale: float, zero: int) -> None:
    before = values(model)
    names = tuple(before)
    tensors = integer_tensors(
        model,
        integer_convolutions(model),
        activation,  # type: ignore[arg-type]
    )
    ranges = dict.fromkeys(tensors.values(), (-1.0, 3.0))
    trained = insert_qdq(
        model,
        [n for n in names if n.startswith(("stem", "body", "low", "alone", "classifier"))],
        ranges,
        convolutions=integer_convolutions(model),
        activation=activation,  # type: ignore[arg-type]
    )
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(model), full_check=True)
    after = values(model)
    source = node(model, "stem").input[0].removesuffix(".dq")
    assert after[f"{source}.scale"] == pytest.approx(scale)
    assert after[f"{source}.zero"] == zero
    assert after[f"{source}.zero"].dtype.name == activation

    weight, weight_scale = after["stem.weight.int8"], after["stem.weight.scale"]
    assert np.abs(weight.astype(int)).reshape(len(weight), -1).max(1).tolist() == [127] * 8
    restored = weight * weight_scale[:, None, None, None]
    assert (np.abs(restored - before["stem.weight"]) <= weight_scale[:, None, None, None] / 2).all()

    if activation == "uint8":
        bias = after["stem_norm.bias.int32"] * after["stem_norm.bias.scale"]
        np.testing.assert_allclose(after["stem_norm.bias.scale"], weight_scale * scale, rtol=1e-5)
        np.testing.assert_allclose(bias, before["stem_norm.bias"], atol=1e-3)
    else:
        np.testing.assert_array_equal(after["stem_norm.bias"], before["stem_norm.bias"])
    assert {"stem.weight.int8", "stem.weight.scale", "classifier.weight"} <= set(trained)
    assert "stem.weight" not in trained
    assert not any(name.endswith(".zero") or name.startswith(source) for name in trained)


def _convolutions(path: Path, *weights: str) -> onnx.ModelProto:
    nodes, last = [], "image"
    for index, weight in enumerate(weights):
        out = "scores" if index == len(weights) - 1 else f"t{index}"
        nodes.append(helper.make_node("Conv", [last, weight], [out], name=f"conv{index}"))
        last = out
    value = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2, 4, 4])
        for n in ("image", "scores")
    ]
    initialisers = [
        numpy_helper.from_array(np.zeros((2, 2, 1, 1), np.float32), name) for name in set(weights)
    ]
    return helper.make_model(helper.make_graph(nodes, "g", value[:1], value[1:], initialisers))


def test_a_float_input_and_weights_of_zero_can_be_quantised(tmp_path: Path) -> None:
    model = _convolutions(tmp_path, "a", "b")
    insert_qdq(model, ["a", "b"], {"image": (0, 0), "t0": (0, 0)}, convolutions=["conv0"],
               activation="uint8")  # fmt: skip
    assert [n.op_type for n in model.graph.node][:3] == [
        "QuantizeLinear", "DequantizeLinear", "DequantizeLinear",
    ]  # fmt: skip
    assert values(model)["a.scale"].tolist() == [1, 1]
    assert values(model)["image.scale"] == 1


def test_a_weight_shared_by_two_convolutions_is_refused(tmp_path: Path) -> None:
    model = _convolutions(tmp_path, "a", "a", "b")
    with pytest.raises(ExportError, match="got a"):
        insert_qdq(model, ["a"], {}, convolutions=["conv0", "conv1"], activation="uint8")
