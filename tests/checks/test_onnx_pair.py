"""Two ONNX files that artoolkit never made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import HEIGHT, WIDTH, write_tiny

from artoolkit.checks.compare import Settings
from artoolkit.checks.onnx_pair import check_outputs, compare_onnx
from artoolkit.cost.latency_record import LatencyPlan
from artoolkit.errors import DataError
from artoolkit.evidence.seal import file_sha256

SETTINGS = Settings(
    plan=LatencyPlan(pairs=4, inferences=2, block_ms=0, warmup_ms=1, budget_s=1),
    threads=1,
    process_memory=False,
)


def test_all_five_checks_without_bundle_or_data(tmp_path: Path) -> None:
    a, b = write_tiny(tmp_path / "a.onnx"), write_tiny(tmp_path / "b.onnx", seed=1)
    verdict, records = compare_onnx(a, b, SETTINGS)
    results = {check.name: check.result for check in verdict.checks}
    assert list(results) == ["graph", "plan", "memory", "latency", "outputs"]
    assert {results[name] for name in ("graph", "plan", "memory", "outputs")} == {"PASS"}
    assert verdict.candidate.sha256 == file_sha256(b)
    assert set(verdict.measurements) == set(records)


def test_inputs_from_a_file_are_used(tmp_path: Path) -> None:
    a = write_tiny(tmp_path / "a.onnx")
    np.savez(tmp_path / "in.npz", image=np.zeros((1, HEIGHT, WIDTH, 3), np.uint8))
    verdict, _ = compare_onnx(a, a, SETTINGS, inputs=tmp_path / "in.npz")
    outputs = next(check for check in verdict.checks if check.name == "outputs")
    assert outputs.numbers == {"largest_difference": {"labels": 0.0}}
    np.savez(tmp_path / "wrong.npz", other=np.zeros(3))
    with pytest.raises(DataError, match="does not hold the graph's inputs"):
        compare_onnx(a, a, SETTINGS, inputs=tmp_path / "wrong.npz")


def test_outputs_of_another_shape_or_not_finite_fail() -> None:
    one = {"y": np.ones((1, 3), np.float32)}
    assert check_outputs(one, {"y": np.ones((1, 3), np.float32) * 2}).numbers == {
        "largest_difference": {"y": 1.0}
    }
    assert check_outputs(one, {"y": np.ones((1, 4), np.float32)}).result == "FAIL"
    assert check_outputs(one, {"y": np.ones((1, 3), np.float64)}).result == "FAIL"
    broken = check_outputs(one, {"y": np.array([[1, np.nan, 1]], np.float32)})
    assert (broken.result, broken.summary) == ("FAIL", "not finite in the candidate: y")
