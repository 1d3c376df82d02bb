"""Records: written sealed, read back equal, refused by name when changed, foreign or old."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from artoolkit.cost.latency_record import LatencyMeasurement
from artoolkit.errors import BundleError
from artoolkit.evidence.records import command_line, current_environment, read_record
from artoolkit.evidence.seal import write_sealed
from artoolkit.evidence.verdict import Check, Subject, Verdict, decide


@pytest.fixture
def verdict() -> Verdict:
    subject = Subject(name="a", sha256="0" * 64)
    checks = [Check(name="graph", result="PASS", headline="equal", numbers={"nodes": 3})]
    return decide(checks, baseline=subject, candidate=subject, target={})


def test_a_record_reads_back_as_it_was_written(verdict: Verdict, tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    path.write_bytes(verdict.to_bytes())
    assert read_record(path, Verdict) == verdict
    assert json.loads(path.read_bytes())["sha256"] == verdict.sha256()


def test_one_changed_number_is_found(verdict: Verdict, tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    path.write_bytes(verdict.to_bytes().replace(b'"nodes": 3', b'"nodes": 4'))
    with pytest.raises(BundleError, match=r"verdict.json was changed"):
        read_record(path, Verdict)


def test_another_version_and_another_kind_are_refused_by_name(
    verdict: Verdict, tmp_path: Path
) -> None:
    old = verdict.model_dump(mode="json") | {"schema_version": "0"}
    write_sealed(tmp_path / "old.json", old)
    with pytest.raises(BundleError, match=r"old.json: verdict record of another schema version"):
        read_record(tmp_path / "old.json", Verdict)
    (tmp_path / "verdict.json").write_bytes(verdict.to_bytes())
    with pytest.raises(BundleError, match=r"not a latency record; got verdict; expected latency"):
        read_record(tmp_path / "verdict.json", LatencyMeasurement)


def test_a_missing_or_unknown_field_is_named(verdict: Verdict, tmp_path: Path) -> None:
    values = verdict.model_dump(mode="json") | {"extra": 1}
    del values["checks"]
    write_sealed(tmp_path / "v.json", values)
    with pytest.raises(BundleError, match=r"checks is missing; extra is unknown"):
        read_record(tmp_path / "v.json", Verdict)


def test_the_environment_says_what_ran_without_saying_where() -> None:
    environment = current_environment(driver="1.2")
    assert environment.libraries["numpy"]
    assert environment.device == {"driver": "1.2"}
    assert environment.cores >= 1


def test_the_command_names_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ["/home/me/bin/artoolkit", "export", "runs/ar/model.safetensors", "--data-root=/data/x",
             "--set", "loss.ar_weight=20", "--imgsz", "64", "--name", "/"]  # fmt: skip
    monkeypatch.setattr("sys.argv", typed)
    assert command_line() == (
        "artoolkit", "export", "model.safetensors", "--data-root=x",
        "--set", "loss.ar_weight=20", "--imgsz", "64", "--name", "/",
    )  # fmt: skip
