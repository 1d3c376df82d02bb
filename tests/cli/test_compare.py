"""`artoolkit compare` from the command line: bundles, files, exit codes, wrong usage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from judged import without_rtx
from tiny import tiny_bundle, write_tiny

from artoolkit.checks import memory
from artoolkit.cli import main, run
from artoolkit.evidence.bundle import write_bundle
from artoolkit.evidence.records import read_record
from artoolkit.evidence.verdict import Verdict

QUICK = ("--blocks", "4", "--budget-s", "1", "--warmup-ms", "1", "--threads", "1")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_rtx(monkeypatch)
    monkeypatch.setattr(memory, "process_memory", lambda *_, **how: None)


def test_two_files_give_a_table_and_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = write_tiny(tmp_path / "a.onnx"), write_tiny(tmp_path / "b.onnx", seed=1)
    out = tmp_path / "out"
    code = run(["compare", str(a), str(b), *QUICK, "--out", str(out)])
    shown = capsys.readouterr().out
    assert "b.onnx against a.onnx" in shown
    assert "graph, program, outputs" in shown
    verdict = read_record(out / "verdict.json", Verdict)
    assert verdict.exit_code == code
    assert {p.name for p in out.iterdir()} == {*verdict.measurements, "verdict.json"}
    assert verdict.measurements.keys() >= {"latency.json", "memory-candidate.json"}


def test_a_broken_candidate_fails_with_code_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write_tiny(tmp_path / "a.onnx")
    b = write_tiny(tmp_path / "b.onnx", extra_node=True)
    assert run(["compare", str(a), str(b), *QUICK, "--json"]) == 1
    values = json.loads(capsys.readouterr().out)
    assert (values["kind"], values["result"]) == ("verdict", "FAIL")
    assert values["meaning"].startswith("The candidate is not an equal replacement: graph")


def test_the_layers_that_differ_are_named(tmp_path: Path) -> None:
    a, b = write_tiny(tmp_path / "a.onnx"), write_tiny(tmp_path / "b.onnx", seed=1)
    result = CliRunner().invoke(main, ["compare", str(a), str(b), *QUICK, "--layers"])
    assert "first layer that differs" in result.stderr
    assert "(Conv)" in result.stderr
    same = CliRunner().invoke(main, ["compare", str(a), str(a), *QUICK, "--layers"])
    assert "no layer differs by more than 0.001" in same.stderr


def test_one_bundle_is_compared_with_the_baseline_it_carries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = tiny_bundle(tmp_path / "baseline")
    manifest, golden = baseline.manifest, baseline.golden()
    candidate = write_bundle(
        tmp_path / "candidate",
        model=baseline.model,
        golden_images=golden["images"],
        golden_labels=golden["labels"],
        network=manifest.network,
        labels=manifest.labels,
        preprocess=manifest.preprocess,
        target=manifest.target,
        trained=manifest.trained,
        provenance={},
        baseline=baseline.path,
    )
    assert run(["compare", str(candidate.path), *QUICK]) == 3
    assert "accuracy could not be decided here" in " ".join(capsys.readouterr().out.split())
    assert (candidate.proofs[0] / "verdict.json").is_file()
    assert run(["compare", str(baseline.path), *QUICK]) == 2
    assert "carries no baseline" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.onnx"], "an .onnx file is compared with another .onnx file"),
        (["bundle", "--inputs", "a.onnx"], "--inputs is for two .onnx files"),
        (["a.onnx", "missing.onnx"], "does not exist"),
        (["bundle", "--dataset", "camvid"], "no data root for camvid"),
        (["a.onnx", "a.onnx", "--margin", "0"], "--margin"),
    ],
)
def test_wrong_usage_is_one_line_and_code_two(
    tmp_path: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CITYSCAPES_DATASET", raising=False)
    write_tiny(Path("a.onnx"))
    tiny_bundle(Path("bundle"))
    result = CliRunner().invoke(main, ["compare", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_the_cost_of_a_precision_is_another_question(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = tiny_bundle(tmp_path / "fp32")
    b = tiny_bundle(tmp_path / "int8", seed=1, precision="int8")
    pair = ["compare", str(a.path), str(b.path), *QUICK]
    assert run(pair) == 6
    assert "--question precision" in capsys.readouterr().err
    junit = tmp_path / "compare.xml"
    run([*pair, "--question", "precision", "--json", "--junit", str(junit)])
    verdict = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in verdict["checks"]}
    assert list(checks) == ["size", "latency", "accuracy"]
    assert checks["size"]["result"] == "PASS"
    assert checks["size"]["numbers"]["change_percent"] == 0
    assert not b.proofs, "an answer to another question is no evidence of the bundle"
    assert junit.read_text().count("<testcase") == 3
