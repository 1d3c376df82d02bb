"""One thing replaced anywhere between checkpoint and verdict: `verify` fails and names it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from judged import QUICK, Copies, judged_bundle, without_rtx
from onnx import numpy_helper

from artoolkit.checks.compare import compare
from artoolkit.checks.recheck import check_evidence, difference
from artoolkit.checks.registry import CHECKS
from artoolkit.checks.verify import check_golden, verify
from artoolkit.cli import main
from artoolkit.errors import BundleError
from artoolkit.evidence.bundle import INDEX, Bundle
from artoolkit.evidence.records import read_record
from artoolkit.evidence.seal import file_sha256, read_sealed, write_sealed
from artoolkit.evidence.verdict import Check, Verdict, meaning, overall
from artoolkit.labels import VOID


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return Copies(judged_bundle(tmp_path_factory.mktemp("judged")).path)


@pytest.fixture
def bundle(copies: Copies, tmp_path: Path) -> Bundle:
    return copies.new(tmp_path)


def failures(bundle: Bundle) -> str:
    found = verify(bundle.path).checks
    texts = [(c.headline, *c.details) for c in found if c.result == "FAIL"]
    return "; ".join(text for one in texts for text in one)


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
    path = bundle.proofs[0] / "latency.json"
    sample = read_sealed(path)["blocks"][0]["samples_ms"][0]
    edited(path, str(sample).encode(), str(sample + 1).encode())


def the_verdict(bundle: Bundle) -> None:
    path = bundle.proofs[0] / "verdict.json"
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
        (one_number, ["/latency.json was changed"]),
        (the_verdict, ["/verdict.json was changed"]),
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
    rows = [check["name"] for check in json.loads(shown.output)]
    assert rows == ["files", "signature"], "a bundle that is not whole is not run"
    found = failures(bundle)
    assert all(name in found for name in names), found


def rewrite(bundle: Bundle, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a sealed record and put its seal and the index right, as a forger would."""
    path, index = bundle.proofs[0] / name, bundle.proofs[0] / INDEX
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


FORGED = Check(name="accuracy", result="UNAVAILABLE", headline="no data set was given")


def row(values: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [check for check in values["checks"] if check["name"] == name]
    return cast(dict[str, Any], found)


def settled(values: dict[str, Any]) -> None:
    """What follows from the checks, put right."""
    checks = [Check.model_validate(check) for check in values["checks"]]
    values |= {"result": overall(checks), "meaning": meaning(checks)}


def not_required(values: dict[str, Any]) -> None:
    row(values, "latency")["required"] = False


def deleted(values: dict[str, Any]) -> None:
    values["checks"].remove(row(values, "latency"))


def called_unavailable(values: dict[str, Any]) -> None:
    row(values, "accuracy").update(FORGED.model_dump(mode="json"))


def generous(values: dict[str, Any]) -> None:
    values["target"]["margins"]["accuracy_points"] = 50.0


def another_target(values: dict[str, Any]) -> None:
    values["target"] |= {"name": "orin", "imgsz": [512, 512]}


def another_baseline(values: dict[str, Any]) -> None:
    values["baseline"]["sha256"] = "1" * 64


def another_word(values: dict[str, Any]) -> None:
    row(values, "graph")["headline"] = "identical, with 1 trained parameter fewer"


def twice(values: dict[str, Any]) -> None:
    values["checks"].append(row(values, "graph"))


@pytest.mark.parametrize(
    ("forge", "named"),
    [
        (not_required, "latency: the manifest calls it required"),
        (deleted, "latency: the verdict has no answer"),
        (called_unavailable, "accuracy: "),
        (generous, "margins is "),
        (another_target, "imgsz is (512, 512) in the verdict's target"),
        (another_baseline, "against another baseline than the bundle carries"),
        (another_word, "graph: its words are not those measured again"),
        (twice, "answers a check twice"),
    ],
)
def test_a_forged_verdict_is_refused(
    bundle: Bundle, forge: Callable[[dict[str, Any]], None], named: str
) -> None:
    def change(values: dict[str, Any]) -> None:
        forge(values)
        settled(values)

    rewrite(bundle, "verdict.json", change)
    assert named in failures(bundle)


def replaced(bundle: Bundle, name: str, record: Mapping[str, Any]) -> None:
    """Another record in the place of one, with the verdict's hash put right."""
    rewrite(bundle, name, lambda values: (values.clear(), values.update(record)))
    sha256 = read_sealed(bundle.proofs[0] / name)["sha256"]
    rewrite(bundle, "verdict.json", lambda values: values["measurements"].update({name: sha256}))


def test_measurements_that_were_exchanged_are_refused(bundle: Bundle) -> None:
    names = ("quality-baseline.json", "quality-candidate.json")
    records = [read_sealed(bundle.proofs[0] / name) for name in names]
    for name, record in zip(names, reversed(records), strict=True):
        replaced(bundle, name, record)
    assert "accuracy: quality-baseline.json is the measurement of another" in failures(bundle)


@pytest.mark.parametrize("name", ["latency.json", "memory-candidate.json", "program.json"])
def test_the_evidence_of_another_bundle_is_refused(
    bundle: Bundle, tmp_path: Path, name: str
) -> None:
    other = judged_bundle(tmp_path / "other", network="other")
    replaced(bundle, name, read_sealed(other.proofs[0] / name))
    assert f"{name} is the measurement of another bundle" in failures(bundle)


def test_a_graph_answer_invented_for_one_more_node(tmp_path: Path) -> None:
    bundle = judged_bundle(tmp_path, extra_node=True)
    assert not failures(bundle)

    def invented(values: dict[str, Any]) -> None:
        for name in ("graph", "training-only parts"):
            row(values, name).update(result="PASS", headline="identical", details=[])
        settled(values)

    rewrite(bundle, "verdict.json", invented)
    assert "graph: FAIL measured again from both files, and not PASS" in failures(bundle)
    rewrite(
        bundle, "verdict.json", lambda values: row(values, "graph").update(result="UNAVAILABLE")
    )
    assert "graph: FAIL measured again" in failures(bundle)


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
