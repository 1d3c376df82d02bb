"""Bytes of small graphs, counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from artoolkit.errors import ExportError, UnavailableError
from artoolkit.graph.memory import onnx_memory, peak_activation_bytes


def chain(*, second_output: bool = False, batch: int | str = 1) -> onnx.ModelProto:
    """x (400 bytes) -> a -> b -> c (output), a also read by the last node where `second_output`."""
    weight = numpy_helper.from_array(np.ones((100,), np.float32), "w")
    shape = [batch, 100]
    nodes = [
        helper.make_node("Add", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Neg", ["b"], ["d"]),
        helper.make_node("Add", ["d", "a" if second_output else "d"], ["c"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, shape)],
        [weight],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def test_a_tensor_lives_from_its_maker_to_its_last_reader() -> None:
    assert peak_activation_bytes(chain()) == 800
    assert peak_activation_bytes(chain(second_output=True)) == 1200


def test_a_reader_inside_a_branch_keeps_a_tensor_alive() -> None:
    model = chain()
    condition = numpy_helper.from_array(np.array(True), "t")
    value = helper.make_tensor_value_info("e", TensorProto.FLOAT, [1, 100])
    branch = helper.make_graph([helper.make_node("Neg", ["a"], ["e"])], "branch", [], [value])
    model.graph.initializer.append(condition)
    model.graph.node.append(
        helper.make_node("If", ["t"], ["f"], then_branch=branch, else_branch=branch)
    )
    model.graph.value_info.append(helper.make_tensor_value_info("f", TensorProto.FLOAT, [1, 100]))
    assert peak_activation_bytes(model) == 1200


def test_components_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = chain()
    onnx.save(model, path)
    components = onnx_memory(path)
    assert components.weights_bytes == 400
    assert components.io_bytes == 800
    assert components.activations_bytes == 800
    helper.set_model_props(model, {"date": "today", "author": "somebody with a long name"})
    onnx.save(model, path)
    assert onnx_memory(path) == components


def test_half_precision_halves_the_weights(tmp_path: Path) -> None:
    model = chain()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones(100, np.float16), "w"))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, tmp_path / "m.onnx")
    components = onnx_memory(tmp_path / "m.onnx")
    assert (components.weights_bytes, components.activations_bytes) == (200, 400)


def test_what_cannot_be_counted_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no static shape"):
        peak_activation_bytes(chain(batch="n"))
    (tmp_path / "m.onnx").write_bytes(b"not onnx at all")
    with pytest.raises(ExportError, match=r"ONNX file .*m\.onnx cannot be read"):
        onnx_memory(tmp_path / "m.onnx")
