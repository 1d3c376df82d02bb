"""The verdicts of a bundle are dated proofs: none is overwritten, and kept answers are named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from judged import QUICK, Copies, Scenes, judged_bundle, without_rtx

from artoolkit.checks import compare as compare_module
from artoolkit.checks.compare import compare
from artoolkit.checks.registry import CHECKS
from artoolkit.checks.verify import verify
from artoolkit.cli import main
from artoolkit.errors import BundleError, MissingLibraryError
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.keys import new_key, read_private_key
from artoolkit.evidence.records import read_record
from artoolkit.evidence.seal import file_sha256, read_sealed, write_sealed
from artoolkit.evidence.signature import sign_bundle
from artoolkit.evidence.verdict import Check, Verdict
from artoolkit.report.page import gather


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_rtx(monkeypatch)


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return Copies(judged_bundle(tmp_path_factory.mktemp("judged")).path)


@pytest.fixture
def bundle(copies: Copies, tmp_path: Path) -> Bundle:
    return copies.new(tmp_path)


def by_name(verdict: Verdict) -> dict[str, Check]:
    return {check.name: check for check in verdict.checks}


def test_a_bundle_never_forgets(bundle: Bundle) -> None:
    """Without the data set the accuracy of the first verdict is kept, named, and verified."""
    (first,) = bundle.proofs
    content = {path.name: path.read_bytes() for path in first.iterdir()}
    again = by_name(compare(bundle, plan=QUICK, process_memory=False))
    before = by_name(read_record(first / "verdict.json", Verdict))
    assert again["accuracy"].origin == first.name
    assert again["accuracy"].numbers == before["accuracy"].numbers
    assert again["latency"].origin == again["memory"].origin == again["graph"].origin == ""
    assert len(bundle.proofs) == 2
    assert {path.name: path.read_bytes() for path in first.iterdir()} == content
    third = by_name(compare(bundle, plan=QUICK, process_memory=False))
    assert third["accuracy"].origin == first.name, "the one that measured it, not the one that kept"
    found = verify(bundle)
    names = [check.name for check in found.checks if check.name.startswith("evidence")]
    assert len(names) == 3
    assert not [check for check in found.checks if check.result == "FAIL"], found
    shown = CliRunner().invoke(main, ["log", str(bundle.path), "--json"])
    rows = json.loads(shown.output)
    assert [row["kept"] for row in rows] == [{"accuracy": first.name}] * 2 + [{}]
    plain = CliRunner().invoke(main, ["log", str(bundle.path)])
    assert plain.output.count(f"(from {first.name})") == 2


def test_a_proof_that_cannot_be_read_keeps_nothing_and_stops_nothing(bundle: Bundle) -> None:
    """Of another version it is older evidence; verify names it, and the newest one still counts."""
    (first,) = bundle.proofs
    values = read_sealed(first / "verdict.json") | {"schema_version": "1"}
    write_sealed(first / "verdict.json", values)
    index = read_sealed(first / "index.json")
    index["files"]["verdict.json"] = file_sha256(first / "verdict.json")
    write_sealed(first / "index.json", index)
    again = by_name(compare(bundle, plan=QUICK, process_memory=False))
    assert again["accuracy"].result == "UNAVAILABLE"
    checks = {check.name: check for check in verify(bundle).checks}
    older = checks[f"evidence {first.name}"]
    assert (older.result, older.required) == ("UNAVAILABLE", False)
    assert checks["evidence"].result == "PASS"


def test_the_verdict_of_an_earlier_artoolkit_is_refused_before_anything_is_measured(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = bundle.proofs
    for path in list(first.iterdir()):
        path.rename(bundle.evidence / path.name)
    first.rmdir()
    monkeypatch.setattr(compare_module, "judged", lambda *_: pytest.fail("it was measured"))
    with pytest.raises(BundleError, match="verdict of an earlier artoolkit"):
        compare(bundle, plan=QUICK, process_memory=False)


def test_what_was_measured_on_a_machine_is_not_kept_for_another(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:

    def unmeasured(pair: Any) -> None:
        raise MissingLibraryError("not here")

    there = ("latency", "memory", "program")
    kinds = [replace(kind, measure=unmeasured) if kind.name in there else kind for kind in CHECKS]
    monkeypatch.setattr(compare_module, "CHECKS", kinds)
    monkeypatch.setattr("artoolkit.checks.registry.CHECKS", kinds)
    again = by_name(compare(bundle, plan=QUICK, process_memory=False))
    assert {again[name].result for name in there} == {"UNAVAILABLE"}


@pytest.mark.parametrize(
    "change", ["answer", "origin", "nothing behind it", "a machine's check", "an older answer"]
)
def test_a_kept_answer_that_was_not_given_is_found(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    if change == "an older answer":
        compare(bundle, plan=QUICK, process_memory=False, dataset=Scenes())
    compare(bundle, plan=QUICK, process_memory=False)
    newest, first = bundle.proofs[0], bundle.proofs[-1]
    path = newest / "verdict.json"
    values = read_sealed(path)
    rows = {row["name"]: row for row in values["checks"]}
    if change == "answer":
        rows["accuracy"]["headline"] = "better: mIoU 10 -> 90 %"
    elif change == "origin":
        rows["accuracy"]["origin"] = newest.name
    elif change == "an older answer":
        assert rows["accuracy"]["origin"] == bundle.proofs[1].name
        rows["accuracy"]["origin"] = first.name
    elif change == "nothing behind it":
        rows["accuracy"]["origin"] = "20200101T000000Z-nowhere"
    else:
        rows["memory"]["origin"] = first.name
    write_sealed(path, values)
    index = read_sealed(newest / "index.json")
    index["files"]["verdict.json"] = file_sha256(path)
    write_sealed(newest / "index.json", index)
    checks = {check.name: check for check in verify(bundle).checks}
    assert checks["files"].result == "PASS"
    assert checks["evidence"].result == "FAIL", change


def test_a_signature_covers_what_it_covered_and_names_what_came(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_key(tmp_path / "k")
    sign_bundle(bundle.path, read_private_key(tmp_path / "k", passphrase=lambda: ""))
    compare(bundle, plan=QUICK, process_memory=False)
    found = {check.name: check for check in verify(bundle, public_key=tmp_path / "k.pub").checks}
    assert found["signature"].result == "PASS"
    assert any(bundle.proofs[0].name in line for line in found["signature"].details)


def test_a_complete_verdict_stays_and_a_bundle_judged_on_two_machines_shows_both(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = bundle.proofs
    before = by_name(read_record(first / "verdict.json", Verdict))
    new_key(tmp_path / "k")
    sign_bundle(bundle.path, read_private_key(tmp_path / "k", passphrase=lambda: ""))
    monkeypatch.setattr(compare_module, "machine_name", lambda _: "orin")
    after = by_name(compare(bundle, plan=QUICK, process_memory=False))
    answered = {name for name, check in before.items() if check.result != "UNAVAILABLE"}
    assert "accuracy" in answered <= {n for n, c in after.items() if c.result != "UNAVAILABLE"}
    names = [proof.name for proof in bundle.proofs]
    assert names[0].endswith("-orin") and names[1] == first.name
    shown = CliRunner().invoke(main, ["log", str(bundle.path), "--json"])
    assert [row["proof"] for row in json.loads(shown.output)] == names
    found = {check.name: check for check in verify(bundle, public_key=tmp_path / "k.pub").checks}
    assert found["signature"].result == found["evidence"].result == "PASS"
    assert found[f"evidence {first.name}"].result == "PASS"
    (part,) = gather([bundle.path], images=0).bundles
    assert any(f"Earlier verdict {first.name}: " in note for note in part.notes)
