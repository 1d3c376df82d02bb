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
from artoolkit.errors import DataError, UsageError
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
