"""`artoolkit benchmark`: what it prints, and that it says what the milliseconds include."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from measure.tiny import tiny_bundle, write_tiny

from artoolkit.cli import main
from artoolkit.measure.benchmark import BenchmarkMeasurement
from artoolkit.measure.records import read_record

QUICK = ("--duration-s", "0", "--iterations", "12", "--warmup-ms", "1", "--threads", "1")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "bundle").path


def test_a_bundle_is_shown_with_percentiles_memory_and_settings(bundle: Path) -> None:
    result = CliRunner().invoke(main, ["benchmark", str(bundle), *QUICK, "--percentile", "50,99.9"])
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    for expected in (
        "99.9th percentile", "12 after 1 ms warm-up", "activations", "peak of a process",
        "from uint8 images in host memory to label maps in host memory", "intra_op_threads 1",
    ):  # fmt: skip
        assert expected in words


def test_json_holds_every_sample_and_is_the_record(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.json"
    arguments = ["benchmark", str(bundle), *QUICK, "--no-memory", "--json", "--out", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert len(json.loads(result.stdout)["samples"]) == 12
    record = read_record(out, BenchmarkMeasurement)
    assert result.stdout.encode() == out.read_bytes()
    assert record.process is None
    assert record.plan.percentiles == (90, 95, 99)


def test_an_onnx_file_works_too_and_a_missing_one_is_wrong_usage(tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "m.onnx")
    result = CliRunner().invoke(main, ["benchmark", str(model), *QUICK, "--no-memory"])
    assert result.exit_code == 0, result.output
    assert "m.onnx on onnxruntime cpu" in result.stdout
    missing = CliRunner().invoke(main, ["benchmark", str(tmp_path / "no.onnx")])
    assert missing.exit_code == 2
