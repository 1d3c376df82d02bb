"""Two ONNX files that artoolkit never made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from judged import QUICK
from tiny import HEIGHT, WIDTH, write_tiny

from artoolkit.checks.compare import compare, judged
from artoolkit.checks.contest import Pair
from artoolkit.checks.kind import Terms
from artoolkit.checks.outputs import OUTPUTS, OutputsMeasurement, outputs_apart
from artoolkit.errors import DataError, ExportError, UsageError
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.records import header
from artoolkit.evidence.seal import file_sha256
from artoolkit.evidence.verdict import NAMELESS, Check


def pair(baseline: Path, candidate: Path, **more: object) -> Pair:
    return Pair.of(baseline, candidate, plan=QUICK, threads=1, process_memory=False, **more)


def test_all_five_checks_without_bundle_or_data(tmp_path: Path) -> None:
    a, b = write_tiny(tmp_path / "a.onnx"), write_tiny(tmp_path / "b.onnx", seed=1)
    verdict, records = judged(pair(a, b))
    results = {check.name: check.result for check in verdict.checks}
    assert list(results) == ["graph", "program", "memory", "latency", "outputs"]
    assert {results[name] for name in ("graph", "program", "memory", "outputs")} == {"PASS"}
    assert verdict.candidate.sha256 == file_sha256(b)
    assert set(verdict.measurements) == set(records)


def test_inputs_from_a_file_are_used(tmp_path: Path) -> None:
    a = write_tiny(tmp_path / "a.onnx")
    np.savez(tmp_path / "in.npz", image=np.zeros((1, HEIGHT, WIDTH, 3), np.uint8))
    outputs, _ = OUTPUTS.ask(pair(a, a, inputs=tmp_path / "in.npz"))
    assert outputs is not None
    assert outputs.numbers["largest_difference"] == {"labels": 0.0}
    np.savez(tmp_path / "wrong.npz", other=np.zeros(3))
    with pytest.raises(DataError, match="does not hold the graph's inputs"):
        compare(a, a, inputs=tmp_path / "wrong.npz", plan=QUICK, process_memory=False)


def test_a_file_and_a_bundle_are_no_pair(tmp_path: Path, baseline: Bundle) -> None:
    a = write_tiny(tmp_path / "a.onnx")
    for models in ((a,), (a, baseline), (baseline.path, a)):
        with pytest.raises(UsageError, match=r"compared with another \.onnx file"):
            compare(*models)


def judge(one: np.ndarray, other: np.ndarray) -> Check:
    found = outputs_apart({"y": one}, {"y": other})
    record = OutputsMeasurement(
        **header(OutputsMeasurement), baseline=NAMELESS, candidate=NAMELESS, **found
    )
    return OUTPUTS.judge({"outputs.json": record}, Terms())


def test_outputs_of_another_shape_or_not_finite_fail() -> None:
    one = np.ones((1, 3), np.float32)
    assert judge(one, one * 2).numbers["largest_difference"] == {"y": 1.0}
    assert judge(one, np.ones((1, 4), np.float32)).result == "FAIL"
    assert judge(one, np.ones((1, 3), np.float64)).result == "FAIL"
    broken = judge(one, np.array([[1, np.nan, 1]], np.float32))
    assert (broken.result, broken.headline) == ("FAIL", "y is not finite in the candidate")


def foreign(path: Path, shape: tuple[int | str, ...] = (1, 3, 8, 8), **external: object) -> Path:
    """Conv and Relu in float, as torch.onnx.export writes it."""
    onnx = pytest.importorskip("onnx")
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    weights = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [node("Conv", ["x", "w"], ["c"], pads=[1] * 4), node("Relu", ["c"], ["y"])], "g",
        [value("x", 1, shape)], [value("y", 1, [shape[0], 4, *shape[2:]])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.save_model(model, path, **external)
    return path


def answers(baseline: Path, candidate: Path, **more: object) -> dict[str, str]:
    verdict = compare(baseline, candidate, plan=QUICK, threads=1, process_memory=False, **more)
    return {check.name: check.result for check in verdict.checks}


def test_weights_beside_the_graph_are_compared_under_one_name_in_two_folders(
    tmp_path: Path,
) -> None:
    beside = {"save_as_external_data": True, "location": "m.onnx.data", "size_threshold": 0}
    a, b = (foreign(tmp_path / folder / "m.onnx", **beside) for folder in "ab")
    (b.parent / "m.onnx.data").write_bytes(bytes(4 * 4 * 27))
    found = answers(a, b)
    assert {found[name] for name in ("graph", "program", "memory", "outputs")} == {"PASS"}
    one, other = (Pair.of(side, side).baseline.subject.sha256 for side in (a, b))
    assert one != other


def test_open_sizes_leave_the_checks_alone_that_need_none(tmp_path: Path) -> None:
    a = foreign(tmp_path / "a.onnx", ("n", 3, "h", "w"))
    found = answers(a, a)
    assert found["graph"] == found["program"] == "PASS"
    assert {found[name] for name in ("memory", "latency", "outputs")} == {"UNAVAILABLE"}


@pytest.mark.parametrize("fault", ["operator of nobody", "no opset", "opset 99", "ir 99"])
def test_operators_that_nobody_knows_leave_the_graph_check_alone(
    tmp_path: Path, fault: str
) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(foreign(tmp_path / "a.onnx"))
    if fault == "operator of nobody":
        model.graph.node[1].domain = "my.ops"
    elif fault == "no opset":
        del model.opset_import[:]
    elif fault == "opset 99":
        model.opset_import[0].version = 99
    else:
        model.ir_version = 99
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    found = answers(tmp_path / "a.onnx", tmp_path / "a.onnx")
    assert found["graph"] == "PASS"
    assert found["latency"] == found["outputs"] == "UNAVAILABLE"


@pytest.mark.parametrize("by", ["shape", "inputs"])
def test_open_sizes_come_from_a_shape_or_from_the_inputs(tmp_path: Path, by: str) -> None:
    a = foreign(tmp_path / "a.onnx", ("n", 3, "h", "w"))
    np.savez(tmp_path / "in.npz", x=np.zeros((1, 3, 16, 24), np.float32))
    how = {"shape": {"shapes": {"x": (1, 3, 16, 24)}}, "inputs": {"inputs": tmp_path / "in.npz"}}
    verdict = compare(a, a, plan=QUICK, threads=1, process_memory=False, **how[by])
    found = {check.name: check for check in verdict.checks}
    assert found["memory"].result == found["outputs"].result == "PASS"
    assert found["memory"].numbers["baseline"]["components"]["io_bytes"] == 4 * 7 * 16 * 24
    assert (verdict.baseline.name, verdict.baseline.sha256) == ("a.onnx", file_sha256(a))


def test_what_cannot_be_compared_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    a = foreign(tmp_path / "a.onnx", ("n", 3, "h", "w"))
    with pytest.raises(UsageError, match="no input image; expected x"):
        answers(a, a, shapes={"image": (1, 3, 8, 8)})
    (tmp_path / "b.onnx").write_bytes(b"no graph")
    with pytest.raises(ExportError, match=r"b\.onnx"):
        answers(a, tmp_path / "b.onnx")
