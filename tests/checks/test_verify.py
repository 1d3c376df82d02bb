"""One thing replaced anywhere between checkpoint and verdict: `verify` fails and names it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from judged import Copies, judged_bundle
from onnx import numpy_helper

from artoolkit.checks.recheck import check_evidence, difference
from artoolkit.checks.verify import agreement, check_golden, verify_bundle
from artoolkit.cli import main
from artoolkit.evidence.bundle import INDEX, Bundle
from artoolkit.evidence.records import read_record
from artoolkit.evidence.seal import file_sha256, read_sealed, write_sealed
from artoolkit.evidence.verdict import Verdict, meaning, overall


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return Copies(judged_bundle(tmp_path_factory.mktemp("judged")).path)


@pytest.fixture
def bundle(copies: Copies, tmp_path: Path) -> Bundle:
    return copies.new(tmp_path)


def failures(bundle: Bundle) -> str:
    checks = verify_bundle(bundle.path)
    return "; ".join(check.summary for check in checks if check.result == "FAIL")


def test_a_bundle_as_it_was_made_holds(bundle: Bundle) -> None:
    assert {check.name: check.result for check in verify_bundle(bundle.path)} == {
        "files": "PASS", "evidence": "PASS", "golden replay": "PASS"
    }  # fmt: skip


def one_weight(bundle: Bundle) -> None:
    model = onnx.load(bundle.model)
    (tensor,) = [t for t in model.graph.initializer if t.name == "conv.weight"]
    values = numpy_helper.to_array(tensor).copy()
    values[0, 0, 0, 0] += 1e-3
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, bundle.model)


def one_image(bundle: Bundle) -> None:
    arrays = bundle.golden()
    arrays["images"][2, 0, 0, 0] ^= 1
    np.savez_compressed(bundle.path / "golden.npz", **arrays)


def edited(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def one_number(bundle: Bundle) -> None:
    path = bundle.evidence / "latency.json"
    sample = read_sealed(path)["blocks"][0]["samples_ms"][0]
    edited(path, str(sample).encode(), str(sample + 1).encode())


def the_verdict(bundle: Bundle) -> None:
    path = bundle.evidence / "verdict.json"
    edited(path, f'"result": "{read_sealed(path)["result"]}"'.encode(), b'"result": "PERFECT"')


def the_manifest(bundle: Bundle) -> None:
    edited(bundle.path / "manifest.json", b'"network": "tiny"', b'"network": "tidy"')


def the_sidecar(bundle: Bundle) -> None:
    edited(bundle.engines / "engine.json", b'"gpu": "Orin"', b'"gpu": "Thor"')


def the_plan(bundle: Bundle) -> None:
    edited(bundle.engines / "engine.plan", b"native", b"notive")


def the_baselines_model(bundle: Bundle) -> None:
    path = bundle.path / "baseline" / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize(
    ("tamper", "names"),
    [
        (one_weight, ["bundle/model.onnx was changed", "(in conv.weight)"]),
        (one_image, ["bundle/golden.npz was changed", "(in images[2])"]),
        (one_number, ["evidence/latency.json was changed"]),
        (the_verdict, ["evidence/verdict.json was changed"]),
        (the_manifest, ["bundle/manifest.json was changed"]),
        (the_sidecar, ["engines/engine.json was changed"]),
        (the_plan, ["engines/engine.plan was changed"]),
        (the_baselines_model, ["baseline/model.onnx was changed"]),
    ],
)
def test_what_was_replaced_is_named(
    bundle: Bundle, tamper: Callable[[Bundle], None], names: list[str]
) -> None:
    tamper(bundle)
    shown = CliRunner().invoke(main, ["verify", str(bundle.path), "--json"])
    assert shown.exit_code == 1
    assert len(json.loads(shown.output)) == 1, "a bundle that is not whole is not run"
    found = failures(bundle)
    assert all(name in found for name in names), found


def rewrite(bundle: Bundle, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a sealed record and put its seal and the index right, as a forger would."""
    path, index = bundle.evidence / name, bundle.evidence / INDEX
    values = read_sealed(path)
    change(values)
    write_sealed(path, values)
    listed = read_sealed(index)
    listed["files"][name] = file_sha256(path)
    write_sealed(index, listed)


def test_a_measurement_written_anew_is_not_the_verdicts(bundle: Bundle) -> None:
    rewrite(bundle, "memory-candidate.json", lambda v: v["components"].update(weights_bytes=1))
    found = failures(bundle)
    assert "memory-candidate.json is not the measurement" in found
    assert "memory is FAIL by its measurements, not PASS" in found


def turned(values: dict[str, Any], name: str) -> None:
    """The verdict with another answer to one check, and what follows from it put right."""
    (check,) = [check for check in values["checks"] if check["name"] == name]
    check["result"] = "UNDECIDED" if check["result"] == "PASS" else "PASS"
    checks = Verdict.model_validate(
        {k: v for k, v in values.items() if k != "sha256"} | {"result": _overall(values)}
    ).checks
    values |= {"result": overall(checks), "meaning": meaning(checks)}


def _overall(values: Mapping[str, Any]) -> str:
    results = {check["result"] for check in values["checks"] if check["required"]}
    return "FAIL" if "FAIL" in results else "PASS" if results == {"PASS"} else "UNDECIDED"


@pytest.mark.parametrize("name", ["latency", "memory", "accuracy"])
def test_an_answer_that_the_measurements_do_not_give(bundle: Bundle, name: str) -> None:
    rewrite(bundle, "verdict.json", lambda values: turned(values, name))
    assert f"verdict.json: {name} is" in failures(bundle)


def test_a_number_that_the_measurements_do_not_give(bundle: Bundle) -> None:
    def faster(values: dict[str, Any]) -> None:
        (check,) = [c for c in values["checks"] if c["name"] == "accuracy"]
        check["numbers"]["candidate_miou"] += 0.5

    rewrite(bundle, "verdict.json", faster)
    assert "accuracy, candidate_miou is not what its measurements give" in failures(bundle)


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
    assert "accuracy, candidate_miou is not" in failures(bundle)


def test_a_verdict_of_another_bundle(bundle: Bundle) -> None:
    rewrite(bundle, "verdict.json", lambda v: v["candidate"].update(sha256="1" * 64))
    assert "is the verdict of another bundle" in failures(bundle)


def test_another_sentence_and_a_missing_measurement(bundle: Bundle) -> None:
    def sentence(values: dict[str, Any]) -> None:
        values["meaning"] = "All is well."
        del values["measurements"]["latency.json"]

    rewrite(bundle, "verdict.json", sentence)
    (bundle.evidence / "latency.json").unlink()
    check = check_evidence(bundle)
    assert check is not None
    assert "its sentence is not what its checks amount to" in check.summary
    assert "has no measurement" in check.summary


def test_the_chain_from_verdict_to_manifest_and_provenance(bundle: Bundle) -> None:
    verdict = read_record(bundle.evidence / "verdict.json", Verdict)
    index = read_sealed(bundle.evidence / INDEX)
    assert verdict.candidate.sha256 == index["manifest"] == bundle.manifest.sha256
    assert verdict.baseline.sha256 == bundle.manifest.baseline
    assert bundle.manifest.files["model.onnx"] == file_sha256(bundle.model)
    assert set(verdict.measurements) == set(index["files"]) - {"verdict.json"}
    assert verdict.environment.libraries["onnxruntime"]


def test_no_verdict_is_no_failure(baseline: Bundle) -> None:
    assert check_evidence(baseline) is None


def test_where_two_records_differ() -> None:
    one = {"a": [1.0, {"b": 2.0}], "c": "x"}
    assert difference(one, {"a": [1.0 + 1e-9, {"b": 2.0}], "c": "x"}) is None
    assert difference(one, {"a": [1.0, {"b": 2.1}], "c": "x"}) == "a[1].b"
    assert difference(one, {"a": [1.0], "c": "x"}) == "a"
    assert difference(one, {"c": "x"}) == "its numbers"
    assert difference(one, one | {"c": "y"}) == "c"


def test_expected_void_counts_nowhere() -> None:
    expected = np.array([0, 1, 255, 2], np.uint8)
    assert agreement(np.array([0, 1, 7, 0], np.uint8), expected) == pytest.approx(2 / 3)


def test_wrong_golden_labels_and_a_missing_backend(
    candidate: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = candidate.golden()
    np.savez_compressed(
        candidate.path / "golden.npz", images=golden["images"], labels=(golden["labels"] + 1) % 3
    )
    assert check_golden(candidate).result == "FAIL"
    assert check_golden(candidate, backend="tensorrt", device="cuda:0").result != "PASS"
