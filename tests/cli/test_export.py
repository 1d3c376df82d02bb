"""`artoolkit export`: a precision that misses its gate names the layers that are to blame."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from deploy.tiny_network import Tiny, pictures, target, tiny_checkpoint

from artoolkit.cli import main
from artoolkit.cli.export import Job, asked_layers, outputs_check
from artoolkit.deploy.export import export_bundle
from artoolkit.evidence.bundle import open_bundle
from artoolkit.networks import builder
from artoolkit.spec import Margins

# More than every pixel: no export can hold it.
IMPOSSIBLE = Margins(label_agreement={"fp32": 2.0, "fp16": 2.0})


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = builder.Entry(lambda num_classes, layout=None: Tiny(num_classes), (), "for tests")
    monkeypatch.setitem(builder.NETWORKS, "tiny", entry)


@pytest.mark.parametrize(
    ("precision", "words"),
    [
        ("fp16", r"; largest relative errors against float32: \w[\w.]* \d\S*, \w[\w.]* \d"),
        ("fp32", r"; every layer computes what it does in float32"),
    ],
)
def test_a_gate_that_is_missed_names_the_layers(tmp_path: Path, precision: str, words: str) -> None:
    device = target(precision=precision, margins=IMPOSSIBLE)
    job = Job(
        checkpoint=tiny_checkpoint(), baseline=None, target=device, dataset=None, split="val",
        golden=1, calibration=1, float_layers=(),
    )  # fmt: skip
    bundle = export_bundle(job.checkpoint, device, tmp_path / "bundle", images=list(pictures(1)))
    check = outputs_check(job, bundle)
    assert check.result == "FAIL"
    assert re.search(words, check.summary), check.summary


@pytest.mark.parametrize(
    ("text", "is_trained", "layers"),
    [
        ("auto", True, "auto"),
        ("auto", False, ()),
        ("none", True, ()),
        ("a.conv, b.conv", True, ("a.conv", "b.conv")),
        ("a.conv", False, ("a.conv",)),
    ],
)
def test_layers_in_float_are_measured_named_or_none(
    text: str, is_trained: bool, layers: object
) -> None:
    assert asked_layers(text, is_trained=is_trained) == layers


def exported(out: Path, *options: str) -> Result:
    arguments = [
        "export", "--untrained", "tiny", "--num-classes", "5", "--imgsz", "40", "56",
        "--golden", "1", "--out", str(out), *options,
    ]  # fmt: skip
    return CliRunner().invoke(main, arguments)


def test_measured_session_options_are_kept_with_what_was_tried(tmp_path: Path) -> None:
    result = exported(tmp_path / "bundle", "--threads", "1", "--tune-session")
    assert result.exit_code == 0, result.output
    manifest = open_bundle(tmp_path / "bundle").manifest
    measured = manifest.provenance["session"]
    assert measured["chosen"] == manifest.target.session.model_dump()
    assert manifest.target.session.threads == 1
    assert [len(stage) for stage in measured["tried"]] == [2, 2, 2]
    assert measured["environment"]["cores"] >= 1


def test_session_options_are_measured_on_a_cpu_only(tmp_path: Path) -> None:
    result = exported(tmp_path / "bundle", "--target", "rtx-40", "--tune-session")
    assert result.exit_code == 2
    assert "tensorrt-rtx on cuda:0" in result.stderr
    assert not (tmp_path / "bundle").exists()
