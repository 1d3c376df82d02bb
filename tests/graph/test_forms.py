"""Each form says what the plain graph says, and is derived from nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tiny_networks import TRAINED, write_tiny

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.tensorrt.program import compare_programs
from artoolkit.errors import EngineError
from artoolkit.graph.forms import FORMS, chain_head, write_form
from artoolkit.optional import is_installed
from artoolkit.targets import find_target, list_targets

KINDS = {np.float32: TensorProto.FLOAT, np.float16: TensorProto.FLOAT16}


def plain_head(shape: tuple[int, ...], dtype: type[np.generic], opset: int) -> onnx.ModelProto:
    """The end of the deployed graph: scores of `shape` -> ArgMax, to float, to uint8."""
    node = helper.make_node
    nodes = [
        node("Identity", ["image"], ["scores"]),
        node("ArgMax", ["scores"], ["index"], axis=1, keepdims=0),
        node("Cast", ["index"], ["float"], to=TensorProto.FLOAT),
        node("Cast", ["float"], ["labels"], to=TensorProto.UINT8),
    ]
    values = [
        helper.make_tensor_value_info("image", KINDS[dtype], shape),
        helper.make_tensor_value_info("labels", TensorProto.UINT8, (shape[0], *shape[2:])),
    ]
    graph = helper.make_graph(nodes, "head", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def labels_of(model: onnx.ModelProto, scores: NDArray[np.floating]) -> NDArray[np.uint8]:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    labels: NDArray[np.uint8] = session.run(None, {"image": scores})[0]
    return labels


@settings(max_examples=40, deadline=None)
@given(
    classes=st.integers(1, 30),
    levels=st.integers(1, 4),
    dtype=st.sampled_from(list(KINDS)),
    opset=st.sampled_from([17, 20]),
    seed=st.integers(0, 2**31),
)
def test_the_chain_says_the_first_maximum_also_where_scores_tie(
    classes, levels, dtype, opset, seed
):
    # Few levels: nearly every pixel has a tie.
    scores = np.random.default_rng(seed).integers(0, levels, (2, classes, 5, 7)).astype(dtype)
    model = plain_head(scores.shape, dtype, opset)
    expected = scores.argmax(1)  # numpy documents: the first occurrence
    np.testing.assert_array_equal(labels_of(model, scores), expected)
    chain_head(model)
    onnx.checker.check_model(model, full_check=True)
    assert ("ArgMax" in {node.op_type for node in model.graph.node}) == (classes == 1)
    np.testing.assert_array_equal(labels_of(model, scores), expected)


def test_254_classes_keep_their_numbers_in_half_precision():
    scores = np.eye(254, dtype=np.float16)[None, :, :, None]
    model = plain_head(scores.shape, np.float16, 20)
    chain_head(model)
    np.testing.assert_array_equal(labels_of(model, scores)[0, :, 0], np.arange(254))


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
def test_a_network_keeps_its_labels_and_its_weights(tmp_path, half):
    plain, chain = write_tiny(tmp_path / "plain.onnx", half=half), tmp_path / "chain.onnx"
    write_form(plain, ("chain",), chain)
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), np.uint8)
    found = []
    for path in (plain, chain):
        with open_onnxruntime(path, threads=1) as runner:
            found.append(runner.infer(images)["labels"])
    # ONNX Runtime's CPU keeps the ArgMax's half scores in float32, where fewer of them tie.
    assert (found[1] == found[0]).mean() >= (0.99 if half else 1)
    assert len(np.unique(found[0])) > 1
    before, after = (
        {i.name: i.SerializeToString() for i in onnx.load(path).graph.initializer}
        for path in (plain, chain)
    )
    assert before.items() <= after.items()


def test_the_same_graph_gives_the_same_bytes(tmp_path):
    plain = write_tiny(tmp_path / "plain.onnx")
    for name in "ab":
        write_form(plain, ("chain",), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_form_is_the_plain_graph(tmp_path):
    plain = write_tiny(tmp_path / "plain.onnx")
    write_form(plain, (), tmp_path / "same.onnx")
    assert onnx.load(tmp_path / "same.onnx") == onnx.load(plain)


def earlier(path: Path, what: str) -> Path:
    """A graph as earlier versions wrote model.onnx: with a form of a backend in it."""
    model = onnx.load(write_tiny(path, head="chain" if what == "chain" else "argmax"))
    nodes = {node.name: node for node in model.graph.node}
    if what == "bytes":
        cast, transpose = nodes["cast"], nodes["transpose"]
        transpose.input[0], cast.input[0] = "image", "moved"
        transpose.output[0], cast.output[0] = "moved", "planes"
        order = [transpose, cast, *list(model.graph.node)[2:]]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in order]
        del model.graph.node[:]
        model.graph.node.extend(copies)
    elif what == "channels last":
        nodes["argmax"].attribute[0].i = 3
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("what", ["bytes", "chain", "channels last"])
def test_forms_of_earlier_versions_are_refused(tmp_path, what):
    model = earlier(tmp_path / "model.onnx", what)
    with pytest.raises(EngineError) as caught:
        write_form(model, ("chain",), tmp_path / "chain.onnx")
    assert "Export it again" in (caught.value.hint or "")
    assert str(model) in caught.value.what
    assert not (tmp_path / "chain.onnx").exists()


def test_every_target_names_known_forms_and_every_engine_has_the_chain():
    for name in list_targets():
        target = find_target(name)
        assert set(target.forms) <= set(FORMS)
        assert target.forms == (("chain",) if target.backend.startswith("tensorrt") else ())


@pytest.mark.skipif(not is_installed("tensorrt_rtx"), reason="tensorrt-rtx is not installed")
def test_the_chain_is_one_kernel_in_place_of_resize_topk_and_cast(tmp_path):
    operations = []
    for forms in ((), ("chain",)):
        pair = [tmp_path / f"{seed}.onnx" for seed in (0, 1)]
        for seed, path in enumerate(pair):
            write_form(write_tiny(path, seed=seed), forms, path)
        (program,) = compare_programs(*pair, trained=TRAINED)
        assert program.result == "PASS", program.reason
        operations.append(program.operations)
    assert operations[0] - operations[1] == 2
