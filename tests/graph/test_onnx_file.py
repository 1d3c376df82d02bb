"""ONNX files as torch and others write them: weights beside the graph, open sizes, NaN."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from artoolkit.errors import ExportError, UsageError
from artoolkit.graph.memory import onnx_memory
from artoolkit.graph.onnx_file import (
    data_files,
    load_onnx,
    onnx_sha256,
    open_inputs,
    with_shapes,
)


def saved(path: Path, *, value: float = 0.5, shape=(1, 3, 8, 8), kind=np.float32, **external):
    """Conv and Relu; `external`: with its weights in a file beside it."""
    weights = np.full((4, 3, 3, 3), value, kind)
    node = helper.make_node
    type_ = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    graph = helper.make_graph(
        [node("Conv", ["x", "w"], ["c"], pads=[1] * 4), node("Relu", ["c"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", type_, shape)],
        [helper.make_tensor_value_info("y", type_, [shape[0], 4, *shape[2:]])],
        [numpy_helper.from_array(weights, "w")],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    opset = helper.make_opsetid("", 17)
    onnx.save_model(helper.make_model(graph, opset_imports=[opset], ir_version=8), path, **external)
    return path


def external(path: Path, **more: object) -> Path:
    data = {"save_as_external_data": True, "location": f"{path.name}.data", "size_threshold": 0}
    return saved(path, **data, **more)


def test_external_data_are_found_read_and_hashed(tmp_path: Path) -> None:
    one, other = external(tmp_path / "a" / "m.onnx"), external(tmp_path / "b" / "m.onnx", value=0.7)
    assert data_files(one) == (tmp_path / "a" / "m.onnx.data",)
    values = numpy_helper.to_array(load_onnx(one, "a test").graph.initializer[0])
    assert (values == np.float32(0.5)).all()
    assert one.read_bytes() == other.read_bytes()
    assert onnx_sha256(one) != onnx_sha256(other)
    copied = tmp_path / "c"
    shutil.copytree(tmp_path / "a", copied)
    assert onnx_sha256(copied / "m.onnx") == onnx_sha256(one)


def test_where_the_weights_lie_is_no_difference_in_memory(tmp_path: Path) -> None:
    assert onnx_memory(external(tmp_path / "a.onnx")) == onnx_memory(saved(tmp_path / "b.onnx"))
    assert data_files(tmp_path / "b.onnx") == ()


def test_names_are_no_memory(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.onnx")
    before = onnx_memory(path)
    model = onnx.load(path)
    for node in model.graph.node:
        node.name = "a very long name of a node " * 3
        node.doc_string = "what it is for"
        node.input[:] = [{"c": "an inner tensor", "w": "weights"}.get(n, n) for n in node.input]
        node.output[:] = ["an inner tensor" if n == "c" else n for n in node.output]
    model.graph.initializer[0].name = "weights"
    model.graph.name = "some graph"
    value = helper.make_tensor_value_info("an inner tensor", TensorProto.FLOAT, [1, 4, 8, 8])
    model.graph.value_info.append(value)
    model.producer_name = "somebody"
    onnx.save(model, path)
    assert onnx_memory(path) == before


def test_names_inside_a_branch_are_no_memory_and_a_node_more_is(tmp_path: Path) -> None:
    def branching(name: str, more: int = 0) -> Path:
        inner = [helper.make_node("Relu", ["x"], [f"{name}0"])]
        inner += [helper.make_node("Relu", [f"{name}{i}"], [f"{name}{i + 1}"]) for i in range(more)]
        value = helper.make_tensor_value_info(f"{name}{more}", TensorProto.FLOAT, [2])
        branch = helper.make_graph(inner, name, [], [value])
        graph = helper.make_graph(
            [helper.make_node("If", ["t"], ["y"], then_branch=branch, else_branch=branch)], "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
            [numpy_helper.from_array(np.array(True), "t")],
        )  # fmt: skip
        path = tmp_path / f"{name}{more}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
        return path

    short = onnx_memory(branching("a")).program_bytes
    assert onnx_memory(branching("a_much_longer_name")).program_bytes == short
    assert onnx_memory(branching("a", more=1)).program_bytes > short


def test_missing_data_are_named(tmp_path: Path) -> None:
    path = external(tmp_path / "m.onnx")
    data_files(path)[0].unlink()
    with pytest.raises(ExportError, match=r"m\.onnx\.data\. Copy it beside"):
        load_onnx(path, "a test")


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("write", [saved, external])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, kind, value, write) -> None:
    path = write(tmp_path / "m.onnx", value=value, kind=kind)
    with pytest.raises(ExportError, match="not finite; got 108 of 108 values of w"):
        load_onnx(path, "a test")


def graph_of(nodes: list[onnx.NodeProto], **weights: np.ndarray) -> onnx.ModelProto:
    """Nodes from `x` to `y`, and their initialisers."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, (1, 3, 8, 8))],
        [value("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def hidden(how: str, bad: float) -> onnx.ModelProto:
    """A convolution with one bad number, not in an initialiser that it takes itself."""
    node, fine = helper.make_node, np.ones((4, 3, 3, 3), np.float32)
    w = fine.copy()
    w[0, 0, 0, 0] = bad
    conv, four = node("Conv", ["x", "w"], ["y"]), np.ones(4, np.float32)
    first = node("Conv", ["x", "w"], ["c"])
    if how == "constant":
        return graph_of([node("Constant", [], ["w"], value=numpy_helper.from_array(w)), conv])
    if how == "list":
        flat = node("Constant", [], ["v"], value_floats=w.ravel().tolist())
        shape = np.array(w.shape, np.int64)
        return graph_of([flat, node("Reshape", ["v", "s"], ["w"]), conv], s=shape)
    if how in ("Identity", "Transpose"):
        return graph_of([node(how, ["v"], ["w"]), conv], v=w)
    if how == "Cast":
        cast = node(how, ["v"], ["w"], to=TensorProto.FLOAT)
        return graph_of([cast, conv], v=w.astype(np.float16))
    if how == "scale":
        scaled = node("DequantizeLinear", ["q", "s", "z"], ["w"])
        return graph_of([scaled, conv], q=w.astype(np.int8) * 0, s=np.array(bad, np.float32),
                        z=np.array(0, np.int8))  # fmt: skip
    if how == "variance":
        norm = node("BatchNormalization", ["c", "o", "o", "o", "v"], ["y"])
        return graph_of([first, norm], w=fine, o=four, v=np.array([1, bad, 1, 1], np.float32))
    if how == "operand":
        return graph_of([first, node("Mul", ["c", "a"], ["y"])], w=fine, a=np.array([bad], "f4"))
    if how == "attribute":
        return graph_of([first, node("LeakyRelu", ["c"], ["y"], alpha=bad)], w=fine)
    assert how == "branch"
    branch = helper.make_graph(
        [node("Conv", ["x", "v"], ["t"])], "t", [],
        [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(w, "v")],
    )  # fmt: skip
    choose = node("If", ["k"], ["y"], then_branch=branch, else_branch=branch)
    return graph_of([choose], k=np.array(True))


ANYWHERE = ["constant", "list", "Identity", "Transpose", "Cast", "scale", "variance"]


@pytest.mark.parametrize(
    ("how", "bad"),
    [*((how, np.nan) for how in (*ANYWHERE, "operand", "attribute", "branch")),
     *((how, np.inf) for how in ANYWHERE if how not in ("list",)), ("variance", -1e-3)],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_a_bad_number_is_found_wherever_it_stands(tmp_path: Path, how: str, bad: float) -> None:
    onnx.save(hidden(how, bad), tmp_path / "m.onnx")
    with pytest.raises(ExportError, match="are not finite; got 1 of"):
        load_onnx(tmp_path / "m.onnx", "a test")
    onnx.save(hidden(how, 1.0), tmp_path / "m.onnx")
    assert load_onnx(tmp_path / "m.onnx", "a test").graph.node


def test_a_constant_of_a_node_may_lie_beside_the_graph(tmp_path: Path) -> None:
    model = hidden("constant", 1.0)
    tensor = model.graph.node[0].attribute[0].t
    (tmp_path / "c.data").write_bytes(tensor.raw_data)
    onnx.external_data_helper.set_external_data(tensor, "c.data")
    tensor.ClearField("raw_data")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert data_files(tmp_path / "m.onnx") == (tmp_path / "c.data",)
    before = onnx_sha256(tmp_path / "m.onnx")
    assert numpy_helper.to_array(load_onnx(tmp_path / "m.onnx", "").graph.node[0].attribute[0].t)[
        0, 0, 0, 0
    ] == 1  # fmt: skip
    (tmp_path / "c.data").write_bytes(b"\0" * 432)
    assert onnx_sha256(tmp_path / "m.onnx") != before
    (tmp_path / "c.data").unlink()
    with pytest.raises(ExportError, match=r"c\.data\. Copy it beside"):
        load_onnx(tmp_path / "m.onnx", "a test")


@pytest.mark.parametrize(
    "place", ["../w.data", "/etc/passwd", ".", "", "sub\\w.data", "a\0b", "m.onnx", "link", "pipe"]
)
def test_data_in_a_place_where_none_can_be_is_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "w.data").write_bytes(b"\0" * 432)
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    model = onnx.load(saved(folder / "m.onnx"))
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, place)
    tensor.ClearField("raw_data")
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    assert len(onnx_sha256(folder / "m.onnx")) == 64
    with pytest.raises(ExportError) as caught:
        load_onnx(folder / "m.onnx", "a test")
    assert "m.onnx" in str(caught.value)


def test_an_infinite_constant_that_is_no_weight_is_nobodys_fault(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(-np.inf), "masked"))
    model.graph.node.append(helper.make_node("Max", ["c", "masked"], ["unused"]))
    onnx.save(model, path)
    assert load_onnx(path, "a test").graph.initializer[1].name == "masked"


@pytest.mark.parametrize("content", [b"", b"not onnx", b"\x08\x07", b"<html>"])
def test_what_is_no_onnx_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ExportError, match=r"m\.onnx"):
        load_onnx(tmp_path / "m.onnx", "a test")


def test_open_sizes_are_fixed_and_the_rest_inferred(tmp_path: Path) -> None:
    model = load_onnx(saved(tmp_path / "m.onnx", shape=("n", 3, "h", "w")), "a test")
    assert open_inputs(model) == ("x",)
    fixed = with_shapes(model, {"x": (2, 3, 16, 24)})
    assert open_inputs(fixed) == ()
    sizes = [d.dim_value for d in fixed.graph.output[0].type.tensor_type.shape.dim]
    assert sizes == [2, 4, 16, 24]
    onnx.save(fixed, tmp_path / "f.onnx")
    assert onnx_memory(tmp_path / "f.onnx").io_bytes == 4 * 2 * (3 + 4) * 16 * 24


@pytest.mark.parametrize(
    ("shapes", "message"),
    [({"image": (1, 3, 8, 8)}, "no input image; expected x"), ({"x": (1, 1, 8, 8)}, "x 3 x"),
     ({"x": (3, 8, 8)}, "does not take this shape"), ({"x": (1, 3, 0, 8)}, "does not take"),
     ({"x": (1, 3, -8, 8)}, "does not take")],
)  # fmt: skip
def test_a_shape_that_does_not_fit_is_said(tmp_path: Path, shapes, message: str) -> None:
    model = load_onnx(saved(tmp_path / "m.onnx", shape=("n", 3, "h", "w")), "a test")
    with pytest.raises(UsageError, match=message):
        with_shapes(model, shapes)


def test_an_input_without_any_shape_is_open_until_one_is_given(tmp_path: Path) -> None:
    model = onnx.load(saved(tmp_path / "m.onnx"))
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert open_inputs(model) == ("x",)
    fixed = with_shapes(model, {"x": (1, 3, 16, 24)})
    assert open_inputs(fixed) == ()
    assert fixed.graph.output[0].type.tensor_type.shape.dim[3].dim_value == 24
