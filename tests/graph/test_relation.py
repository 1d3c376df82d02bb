"""A quantised form and another opset are called so, and another network is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, version_converter

from artoolkit.graph.identity import compare_graphs, summarised, weights_by_rule
from artoolkit.graph.relation import relation


def network(*, blocks: int = 4, channels: int = 4, seed: int = 0) -> onnx.ModelProto:
    """Residual blocks of equal layers, a squeeze whose axes moved in opset 13."""
    random = np.random.default_rng(seed)
    nodes, weights = [], []

    def conv(source: str, name: str, inputs: int = channels) -> str:
        values = random.standard_normal((channels, inputs, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"{name}.w"))
        weights.append(numpy_helper.from_array(values[:, 0, 0, 0].copy(), f"{name}.b"))
        names = [source, f"{name}.w", f"{name}.b"]
        nodes.append(helper.make_node("Conv", names, [name], name=name, pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [name], [f"{name}.r"], name=f"{name}.relu"))
        return f"{name}.r"

    last = conv("x", "stem", 3)
    for block in range(blocks):
        branch = conv(last, f"b{block}")
        nodes.append(helper.make_node("Add", [last, branch], [f"sum{block}"], name=f"sum{block}"))
        last = f"sum{block}"
    nodes.append(helper.make_node("Squeeze", [last], ["y"], axes=[0]))
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [channels, 8, 8])],
        weights,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)


def differences(a: onnx.ModelProto, b: onnx.ModelProto):
    return compare_graphs(a, b, weights_by_rule(a), weights_by_rule(b))


@pytest.mark.parametrize("opset", [12, 13, 18, 20])
def test_another_opset_is_called_so(opset: int) -> None:
    a = network()
    b = version_converter.convert_version(network(seed=1), opset)
    assert differences(a, b)
    assert relation(a, b) == (f"the same program in opset {opset}, not 11", ())
    assert relation(b, a) == (f"the same program in opset 11, not {opset}", ())


def test_another_opset_of_another_network_is_not() -> None:
    b = version_converter.convert_version(network(blocks=3), 13)
    assert relation(network(), b) == ("", ())


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_an_int8_form_is_called_so(tmp_path: Path, form: str) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    onnx.save(version_converter.convert_version(network(), 13), tmp_path / "a.onnx")
    a = onnx.load(tmp_path / "a.onnx")

    class Images(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [np.random.default_rng(i).standard_normal((1, 3, 8, 8)) for i in range(2)]

        def get_next(self):
            return {"x": self.left.pop().astype(np.float32)} if self.left else None

    quantization.quantize_static(
        str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx"), Images(),
        quant_format=quantization.QuantFormat[form],
    )  # fmt: skip
    b = onnx.load(tmp_path / "b.onnx")
    assert relation(a, b) == ("B is A quantised: 5 convolutions", ())
    assert relation(b, a) == ("A is B quantised: 5 convolutions", ())
    wider = version_converter.convert_version(network(channels=5), 13)
    assert relation(wider, b) == ("", ())


def test_one_node_more_does_not_shift_all_others() -> None:
    a, b = network(blocks=8), network(blocks=8)
    graph = b.graph
    at = next(i for i, node in enumerate(graph.node) if node.name == "sum0")
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in graph.node]
    nodes[at + 1].input[0] = "more"  # the next block's convolution
    nodes.insert(at + 1, helper.make_node("Conv", ["sum0", "m.w"], ["more"], pads=[1] * 4))
    del graph.node[:]
    graph.node.extend(nodes)
    values = np.zeros((4, 4, 3, 3), np.float32)
    graph.initializer.append(numpy_helper.from_array(values, "m.w"))
    sentences = summarised(differences(a, b))
    assert sentences[0] == "only in B: 1 Conv"
    assert len(sentences) <= 3


def test_a_layer_of_another_width_is_named_alone() -> None:
    a, b = network(), network()
    stride = next(node for node in b.graph.node if node.name == "b2")
    next(one for one in stride.attribute if one.name == "pads").ints[:] = [2, 2, 0, 0]
    assert [str(one) for one in differences(a, b)] == [
        "attribute pads of Conv b2: [1, 1, 1, 1] against [2, 2, 0, 0]"
    ]
