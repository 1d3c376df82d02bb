"""`artoolkit benchmark`: what it prints, and that it says what the milliseconds include."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import engine_bundles
import pytest
from click.testing import CliRunner
from fake_gpu import FakeCuda, FakeTensorrt
from sidecars import write_plan
from tiny import tiny_bundle, write_tiny

from artoolkit.cli import main
from artoolkit.cost import benchmark
from artoolkit.cost.benchmark import BenchmarkMeasurement
from artoolkit.cost.memory import ProcessMemory
from artoolkit.cost.roofline import RooflineMeasurement
from artoolkit.errors import EngineError
from artoolkit.evidence.records import read_record
from artoolkit.optional import is_installed

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


def test_an_engine_runs_on_its_targets_device_and_tells_its_own_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = FakeCuda()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorrt(cuda))
    alone = ProcessMemory(before_bytes=1, peak_bytes=(2,), torch_imported=False)
    monkeypatch.setattr(benchmark, "process_memory", lambda path, **_: alone)
    for_jetson = engine_bundles.tiny_bundle(tmp_path, engine_bundles.tiny_target("jetson-orin-nx"))
    write_plan(for_jetson)
    out = tmp_path / "b.json"
    result = CliRunner().invoke(
        main, ["benchmark", str(for_jetson.path), *QUICK, "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    record = read_record(out, BenchmarkMeasurement)
    assert (record.runner.backend, record.runner.device) == ("tensorrt", "cuda:0")
    assert record.components is not None and record.components.activations_bytes == 12345


def test_without_an_engine_the_command_that_builds_it_is_named(tmp_path: Path) -> None:
    for_rtx = engine_bundles.tiny_bundle(tmp_path)
    result = CliRunner().invoke(main, ["benchmark", str(for_rtx.path), *QUICK])
    if is_installed("tensorrt_rtx"):
        assert result.exit_code == EngineError.exit_code
        assert "artoolkit build" in result.stderr
    else:
        assert "pip install" in result.stderr
    assert result.stderr.startswith("error: ") and "Traceback" not in result.output


def test_the_roofline_is_shown_part_by_part_and_written(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "roofline.json"
    arguments = ["benchmark", str(bundle), "--roofline", "--threads", "1", "--out", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    for expected in ("convolutions", "head", "measured / roofline", "GMAC/s: ", "in fp32", "GB/s"):
        assert expected in words
    record = read_record(out, RooflineMeasurement)
    assert sum(part.macs for part in record.parts()) == sum(o.macs for o in record.operators) > 0


@pytest.mark.parametrize("option", [["--roofline"], ["--layers"], ["--out", "row.json"]])
def test_what_a_table_of_precisions_cannot_give_is_refused(bundle: Path, option: list[str]) -> None:
    line = ["benchmark", str(bundle), "--precisions", "fp32", *option]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 2
    assert f"{option[0]} does not go with" in result.output


@pytest.mark.parametrize(
    "line", [["{bundle}", "--suite", "gpu"], ["{bundle}", "--lock-hint"], ["--dry-run"]]
)
def test_options_of_another_mode_are_refused(bundle: Path, line: list[str]) -> None:
    words = [word.format(bundle=bundle) for word in line]
    result = CliRunner().invoke(main, ["benchmark", *words])
    assert result.exit_code == 2
