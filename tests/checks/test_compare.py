"""The whole comparison on two tiny bundles: every check, what fails it, and what it writes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from judged import QUICK, Scenes
from tiny import tiny_bundle

from artoolkit.checks.compare import Settings, compare_bundles, verdict_of
from artoolkit.cost.latency_record import LatencyMeasurement
from artoolkit.errors import BundleError
from artoolkit.evaluation.quality import QualityMeasurement
from artoolkit.evidence.bundle import Bundle, file_problems, open_bundle
from artoolkit.evidence.records import read_record
from artoolkit.evidence.verdict import Check, Verdict


def settings(**more: object) -> Settings:
    return Settings(**{"plan": QUICK, "process_memory": False} | more)  # type: ignore[arg-type]


def by_name(verdict: Verdict) -> dict[str, Check]:
    return {check.name: check for check in verdict.checks}


def test_another_checkpoint_of_the_same_network(baseline: Bundle, candidate: Bundle) -> None:
    heard: list[str] = []
    verdict, records = verdict_of(
        candidate,
        baseline,
        settings(dataset=Scenes(), trained_miou=None, progress=lambda what, _: heard.append(what)),
    )
    checks = by_name(verdict)
    order = [
        "graph", "training-only parts", "plan", "plan (TensorRT-RTX)", "memory", "latency",
        "outputs", "accuracy",
    ]  # fmt: skip
    assert list(checks) == order
    for name in ("graph", "training-only parts", "plan", "memory", "outputs"):
        assert checks[name].result == "PASS", checks[name].summary
    assert checks["latency"].result != "UNAVAILABLE"
    assert checks["accuracy"].numbers["images"] == 10
    assert not checks["plan"].required
    assert set(records) == {
        "memory-baseline.json", "memory-candidate.json", "latency.json",
        "quality-baseline.json", "quality-candidate.json",
    }  # fmt: skip
    assert {"graph", "mIoU of the candidate"} <= set(heard)
    assert verdict.candidate.sha256 == candidate.manifest.sha256


def test_evidence_is_written_chained_and_reads_back(baseline: Bundle, candidate: Bundle) -> None:
    verdict = compare_bundles(candidate, baseline, settings(dataset=Scenes()))
    assert read_record(candidate.evidence / "verdict.json", Verdict) == verdict
    latency = read_record(candidate.evidence / "latency.json", LatencyMeasurement)
    quality = read_record(candidate.evidence / "quality-candidate.json", QualityMeasurement)
    assert verdict.measurements["latency.json"] == latency.sha256()
    assert verdict.measurements["quality-candidate.json"] == quality.sha256()
    assert file_problems(candidate.path) == []
    path = candidate.evidence / "latency.json"
    path.write_bytes(path.read_bytes().replace(b'"pair": 0', b'"pair": 9', 1))
    assert any("latency.json was changed" in problem for problem in file_problems(candidate.path))


def test_an_extra_operator_fails_graph_parts_and_memory(tmp_path: Path, baseline: Bundle) -> None:
    longer = tiny_bundle(tmp_path / "longer", extra_node=True)
    verdict, _ = verdict_of(longer, baseline, settings())
    checks = by_name(verdict)
    failed = [name for name, check in checks.items() if check.result == "FAIL"]
    assert {"graph", "training-only parts", "memory"} <= set(failed)
    assert verdict.exit_code == 1


def test_no_data_set_leaves_accuracy_open(baseline: Bundle, candidate: Bundle) -> None:
    verdict, _ = verdict_of(candidate, baseline, settings())
    accuracy = by_name(verdict)["accuracy"]
    assert accuracy.result == "UNAVAILABLE"
    assert "--dataset" in accuracy.summary
    assert verdict.result == "UNDECIDED"


def test_wrong_golden_labels_fail_the_outputs(baseline: Bundle, candidate: Bundle) -> None:
    golden = candidate.golden()
    np.savez_compressed(
        candidate.path / "golden.npz", images=golden["images"], labels=(golden["labels"] + 1) % 3
    )
    verdict, _ = verdict_of(candidate, baseline, settings())
    assert by_name(verdict)["outputs"].result == "FAIL"


def test_the_parity_of_an_export_takes_the_place_of_the_golden_images(
    baseline: Bundle, candidate: Bundle
) -> None:
    parity = Check(name="outputs", result="FAIL", summary="scores differ", required=False)
    verdict, _ = verdict_of(candidate, baseline, settings(outputs=parity))
    outputs = by_name(verdict)["outputs"]
    assert (outputs.summary, outputs.required) == ("scores differ", True)


def test_without_onnx_the_checks_say_what_to_install(
    baseline: Bundle, candidate: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    verdict, _ = verdict_of(candidate, baseline, settings())
    checks = by_name(verdict)
    for name in ("graph", "training-only parts", "plan", "memory"):
        assert checks[name].result == "UNAVAILABLE"
        assert "pip install" in checks[name].summary
    assert checks["outputs"].result == "PASS"
    assert checks["latency"].result != "UNAVAILABLE"
    assert verdict.exit_code == 3


def test_bundles_for_different_targets_or_classes_are_refused(
    tmp_path: Path, baseline: Bundle
) -> None:
    other = tiny_bundle(tmp_path / "half", precision="fp16")
    with pytest.raises(BundleError, match=r"different targets \(precision\); got fp16"):
        verdict_of(other, baseline, settings())
    renamed = baseline.manifest.labels.model_copy(update={"names": ("x", "y", "z")})
    foreign = Bundle(baseline.path, baseline.manifest.model_copy(update={"labels": renamed}))
    with pytest.raises(BundleError, match="different classes"):
        verdict_of(foreign, baseline, settings())


def test_the_margin_comes_from_the_target_unless_another_is_asked_for() -> None:
    assert settings().latency_plan(3.0).margin_percent == 3.0
    assert settings(margin_percent=1.0).latency_plan(3.0).margin_percent == 1.0


def test_a_reopened_bundle_compares_the_same(baseline: Bundle) -> None:
    verdict, _ = verdict_of(open_bundle(baseline.path), baseline, settings())
    assert by_name(verdict)["graph"].result == "PASS"
