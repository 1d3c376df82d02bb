"""One thing replaced anywhere between checkpoint and verdict: `verify` fails and names it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from judged import QUICK, Copies, judged_bundle, without_rtx
from tampering import failures, rewrite, row, settled

from artoolkit.checks.compare import compare
from artoolkit.checks.recheck import check_evidence, difference
from artoolkit.checks.registry import CHECKS
from artoolkit.checks.verify import check_golden, verify
from artoolkit.cli import main
from artoolkit.errors import BundleError
from artoolkit.evidence.bundle import INDEX, Bundle
from artoolkit.evidence.records import read_record
from artoolkit.evidence.seal import file_sha256, read_sealed
from artoolkit.evidence.verdict import Verdict
from artoolkit.labels import VOID


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return Copies(judged_bundle(tmp_path_factory.mktemp("judged")).path)


@pytest.fixture
def bundle(copies: Copies, tmp_path: Path) -> Bundle:
    return copies.new(tmp_path)


def test_a_bundle_as_it_was_made_holds(bundle: Bundle) -> None:
    found = verify(bundle)
    assert {check.name: check.result for check in found.checks} == {
        "files": "PASS", "evidence": "PASS", "signature": "UNAVAILABLE", "golden replay": "PASS"
    }  # fmt: skip
    assert (found.result, found.exit_code) == ("PASS", 0)
    assert found.checks[2].headline == "not signed"


def ways(bundle: Bundle) -> dict[str, str]:
    """How each check of the verdict was answered again."""
    (evidence,) = check_evidence(bundle)
    assert evidence.result == "PASS", evidence
    return {
        name.rpartition(" ")[0]: how for name, how in (d.split(": ", 1) for d in evidence.details)
    }


def test_each_check_is_answered_again_as_far_as_it_can(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"graph", "training-only parts"}
    trust = {"program", "program (TensorRT-RTX)", "outputs"}
    found = ways(bundle)
    assert list(found) == [kind.name for kind in CHECKS]
    assert {name for name, how in found.items() if how == "measured again from both files"} == files
    assert {name for name, how in found.items() if how.startswith("taken on trust")} == trust
    monkeypatch.setitem(sys.modules, "onnx", None)
    without = ways(bundle)
    assert {name for name, how in without.items() if how.startswith("taken on trust")} == (
        trust | files
    )
    assert "needs onnx" in without["graph"]


def test_a_bundle_without_its_baseline_says_so(
    baseline: Bundle, candidate: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_rtx(monkeypatch)
    compare(baseline, candidate, plan=QUICK, process_memory=False)
    assert "carries no baseline" in ways(candidate)["graph"]


def test_a_measurement_written_anew_is_not_the_verdicts(bundle: Bundle) -> None:
    rewrite(bundle, "memory-candidate.json", lambda v: v["components"].update(weights_bytes=1))
    found = failures(bundle)
    assert "memory-candidate.json is not the measurement" in found
    assert "memory: FAIL by its measurements, and not PASS" in found


def turned(values: dict[str, Any], name: str) -> None:
    """The verdict with another answer to one check, and what follows from it put right."""
    check = row(values, name)
    check["result"] = "UNDECIDED" if check["result"] == "PASS" else "PASS"
    settled(values)


@pytest.mark.parametrize("name", [kind.name for kind in CHECKS])
def test_an_answer_that_the_measurements_do_not_give(bundle: Bundle, name: str) -> None:
    rewrite(bundle, "verdict.json", lambda values: turned(values, name))
    assert re.search(rf"{re.escape(name)}: \w+ (measured again|by its)", failures(bundle))


def test_a_number_that_the_measurements_do_not_give(bundle: Bundle) -> None:
    def faster(values: dict[str, Any]) -> None:
        (check,) = [c for c in values["checks"] if c["name"] == "accuracy"]
        check["numbers"]["candidate_miou"] += 0.5

    rewrite(bundle, "verdict.json", faster)
    assert "accuracy: candidate_miou is not the number" in failures(bundle)


def test_another_numpy_may_draw_other_resamples_and_not_another_miou(bundle: Bundle) -> None:
    def elsewhere(values: dict[str, Any]) -> None:
        values["environment"]["libraries"]["numpy"] = "1.24.0"
        (check,) = [c for c in values["checks"] if c["name"] == "accuracy"]
        check["numbers"]["difference_points"]["low"] -= 0.01

    rewrite(bundle, "verdict.json", elsewhere)
    assert failures(bundle) == ""

    def better(values: dict[str, Any]) -> None:
        (check,) = [c for c in values["checks"] if c["name"] == "accuracy"]
        check["numbers"]["candidate_miou"] += 0.01

    rewrite(bundle, "verdict.json", better)
    assert "accuracy: candidate_miou is not" in failures(bundle)


def test_a_verdict_of_another_bundle(bundle: Bundle) -> None:
    rewrite(bundle, "verdict.json", lambda v: v["candidate"].update(sha256="1" * 64))
    assert "the verdict is of another bundle" in failures(bundle)


def test_another_sentence_and_a_missing_measurement(bundle: Bundle) -> None:
    def sentence(values: dict[str, Any]) -> None:
        values["meaning"] = "All is well."
        del values["measurements"]["latency.json"]

    rewrite(bundle, "verdict.json", sentence)
    (bundle.proofs[0] / "latency.json").unlink()
    (check,) = check_evidence(bundle)
    problems = " ".join(check.numbers["problems"])
    assert "sentence is not what its checks amount to" in problems
    assert "has no measurement" in problems


def test_the_chain_from_verdict_to_manifest_and_provenance(bundle: Bundle) -> None:
    verdict = read_record(bundle.proofs[0] / "verdict.json", Verdict)
    index = read_sealed(bundle.proofs[0] / INDEX)
    assert verdict.candidate.sha256 == index["manifest"] == bundle.manifest.sha256
    assert verdict.baseline.sha256 == bundle.manifest.baseline
    assert bundle.manifest.files["model.onnx"] == file_sha256(bundle.model)
    assert set(verdict.measurements) == set(index["files"]) - {"verdict.json"}
    assert verdict.environment.libraries["onnxruntime"]


def test_no_verdict_is_no_failure(baseline: Bundle) -> None:
    assert check_evidence(baseline) == []


def test_where_two_records_differ() -> None:
    one = {"a": [1.0, {"b": 2.0}], "c": "x"}
    assert difference(one, {"a": [1.0 + 1e-9, {"b": 2.0}], "c": "x"}) is None
    assert difference(one, {"a": [1.0, {"b": 2.1}], "c": "x"}) == "a[1].b"
    assert difference(one, {"a": [1.0], "c": "x"}) == "a"
    assert difference(one, {"c": "x"}) == "its numbers"
    assert difference(one, one | {"c": "y"}) == "c"


def test_a_verdict_of_the_first_version_is_refused_by_name(bundle: Bundle) -> None:
    rewrite(bundle, "verdict.json", lambda values: values.update(schema_version="1"))
    found = verify(bundle)
    evidence = next(check for check in found.checks if check.name == "evidence")
    assert (evidence.result, found.exit_code) == ("UNAVAILABLE", 3)
    assert "of version 1" in evidence.headline
    with pytest.raises(BundleError, match="verdict record of another schema version; got 1"):
        read_record(bundle.proofs[0] / "verdict.json", Verdict)


def test_expected_void_counts_nowhere(candidate: Bundle) -> None:
    golden = candidate.golden()
    labels = golden["labels"].copy()
    labels[:, 0] = VOID
    labels[:, 1] = (labels[:, 1] + 1) % 3
    np.savez_compressed(candidate.path / "golden.npz", images=golden["images"], labels=labels)
    numbers = check_golden(candidate).numbers
    assert numbers["pixels"] == labels[:, 1:].size
    assert numbers["agreement"] == pytest.approx(1 - 1 / (labels.shape[1] - 1))


def test_wrong_golden_labels_and_a_missing_backend(
    candidate: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = candidate.golden()
    np.savez_compressed(
        candidate.path / "golden.npz", images=golden["images"], labels=(golden["labels"] + 1) % 3
    )
    assert check_golden(candidate).result == "FAIL"
    assert check_golden(candidate, backend="tensorrt", device="cuda:0").result != "PASS"


def test_a_graph_in_place_of_a_bundle_is_answered_with_the_next_step(
    tmp_path: Path, candidate: Bundle
) -> None:
    with pytest.raises(BundleError, match=f"lies in one: give {candidate.path}"):
        verify(candidate.model)
    (tmp_path / "alone.onnx").write_bytes(candidate.model.read_bytes())
    with pytest.raises(BundleError, match=r"compare A.onnx B.onnx, artoolkit benchmark alone.onnx"):
        verify(tmp_path / "alone.onnx")
    ran = CliRunner().invoke(main, ["report", str(tmp_path / "alone.onnx"), "--out", "no.html"])
    assert ran.exit_code == BundleError.exit_code
    assert "artoolkit benchmark alone.onnx" in ran.output
