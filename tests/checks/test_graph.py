"""The graph checks on two small files: equal but for weights, and every way not to be."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_bundle, write_tiny

from artoolkit.checks.contest import Pair
from artoolkit.checks.graph import GRAPH
from artoolkit.checks.kind import CheckKind
from artoolkit.checks.parts import PARTS
from artoolkit.errors import ExportError, MissingLibraryError
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.verdict import Check
from artoolkit.graph.onnx_file import load_onnx


def asked(kind: CheckKind, *models: Path | Bundle) -> Check:
    check, _ = kind.ask(Pair.of(*models))
    assert check is not None
    return check


def test_other_weights_are_the_same_graph(baseline: Bundle, candidate: Bundle) -> None:
    """With the manifests' lists of trained parameters, and by the rule for bare files."""
    for models in ((baseline, candidate), (baseline.model, candidate.model)):
        check = asked(GRAPH, *models)
        assert check.result == "PASS"
        assert check.numbers == {"nodes": 6, "trained": 1, "constants": 1}


def test_values_that_no_manifest_calls_trained_fail(baseline: Bundle, candidate: Bundle) -> None:
    untrained = [
        Bundle(one.path, one.manifest.model_copy(update={"trained": ()}))
        for one in (baseline, candidate)
    ]
    check = asked(GRAPH, *untrained)
    assert check.result == "FAIL"
    assert "conv" in str(check.numbers["differences"]).lower()


def test_an_extra_node_and_another_constant_are_named(tmp_path: Path) -> None:
    plain = write_tiny(tmp_path / "a.onnx")
    longer = write_tiny(tmp_path / "b.onnx", extra_node=True)
    scaled = write_tiny(tmp_path / "c.onnx", factor=0.5)
    for other, name in ((longer, "Relu"), (scaled, "0.5")):
        check = asked(GRAPH, plain, other)
        assert check.result == "FAIL"
        assert name in " ".join(check.details)


def test_parts_of_the_training_are_found_by_name_and_by_operator(
    baseline: Bundle, candidate: Bundle, tmp_path: Path
) -> None:
    assert asked(PARTS, baseline, candidate).result == "PASS"
    names = ("conv.weight", "aux.weight")
    left_over = candidate.manifest.model_copy(update={"trained": names})
    check = asked(PARTS, baseline, Bundle(candidate.path, left_over))
    assert check.result == "FAIL"
    assert "aux.weight" in check.details[0]
    longer = asked(PARTS, baseline, tiny_bundle(tmp_path / "longer", extra_node=True))
    assert "Relu" in longer.details[0]


def test_bare_files_say_nothing_of_parts(baseline: Bundle, candidate: Bundle) -> None:
    assert PARTS.ask(Pair.of(baseline.model, candidate.model)) == (None, {})


def test_many_differences_are_counted_and_the_first_shown(
    baseline: Bundle, candidate: Bundle
) -> None:
    keys = tuple(f"aux.{i}" for i in range(8))
    longer = candidate.manifest.model_copy(update={"trained": ("conv.weight", *keys)})
    check = asked(PARTS, baseline, Bundle(candidate.path, longer))
    assert check.headline == "8 differences"
    assert (len(check.details), check.details[-1]) == (6, "and 3 more")
    assert len(check.numbers["differences"]) == 8


def test_a_file_that_is_no_onnx_and_a_missing_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\xff\xff")
    with pytest.raises(ExportError, match=r"x\.onnx cannot be read"):
        load_onnx(tmp_path / "x.onnx", "a test")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingLibraryError, match=r"pip install .*artoolkit\[train\]"):
        load_onnx(tmp_path / "x.onnx", "a test")
