"""The graph checks on two small files: equal but for weights, and every way not to be."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import write_tiny

from artoolkit.checks.graph_check import check_graph, check_parts
from artoolkit.errors import ExportError, MissingLibraryError
from artoolkit.graph.onnx_file import load_onnx

WEIGHTS = (("conv.weight",), ("conv.weight",))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return write_tiny(tmp_path / "a.onnx"), write_tiny(tmp_path / "b.onnx", seed=1)


def test_other_weights_are_the_same_graph(pair: tuple[Path, Path]) -> None:
    check = check_graph(*pair, trained=WEIGHTS)
    assert check.result == "PASS"
    assert check.numbers == {"nodes": 6, "trained": 1, "constants": 1}
    assert check_graph(*pair).result == "PASS"


def test_without_a_list_of_parameters_other_values_fail(pair: tuple[Path, Path]) -> None:
    check = check_graph(*pair, trained=((), ()))
    assert check.result == "FAIL"
    assert "conv" in check.summary.lower()


def test_an_extra_node_and_another_constant_are_named(tmp_path: Path) -> None:
    plain = write_tiny(tmp_path / "a.onnx")
    longer = write_tiny(tmp_path / "b.onnx", extra_node=True)
    scaled = write_tiny(tmp_path / "c.onnx", factor=0.5)
    assert "Relu" in check_graph(plain, longer, trained=WEIGHTS).summary
    check = check_graph(plain, scaled, trained=WEIGHTS, required=False)
    assert (check.result, check.required) == ("FAIL", False)
    assert "0.5" in check.summary


def test_parts_of_the_training_are_found_by_name_and_by_operator(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    assert check_parts(*pair, trained=WEIGHTS).result == "PASS"
    left_over = check_parts(*pair, trained=(("conv.weight",), ("conv.weight", "aux.weight")))
    assert left_over.result == "FAIL"
    assert "aux.weight" in left_over.summary
    longer = write_tiny(tmp_path / "c.onnx", extra_node=True)
    assert "Relu" in check_parts(pair[0], longer, trained=WEIGHTS).summary


def test_many_differences_are_counted_and_the_first_shown(tmp_path: Path) -> None:
    plain = write_tiny(tmp_path / "a.onnx")
    keys = tuple(f"aux.{i}" for i in range(8))
    check = check_parts(plain, plain, trained=((), keys))
    assert check.summary.startswith("8 differences: ")
    assert check.summary.endswith("and 3 more")
    assert len(check.numbers["differences"]) == 8


def test_a_file_that_is_no_onnx_and_a_missing_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\xff\xff")
    with pytest.raises(ExportError, match=r"x\.onnx is not an ONNX file"):
        load_onnx(tmp_path / "x.onnx", "a test")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingLibraryError, match=r"pip install .*artoolkit\[train\]"):
        load_onnx(tmp_path / "x.onnx", "a test")
