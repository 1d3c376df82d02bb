"""`artoolkit export`: what its options become, and which it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from deploy.tiny_network import Tiny

from artoolkit.cli import main
from artoolkit.cli.export import asked_layers
from artoolkit.evidence.bundle import open_bundle
from artoolkit.networks import builder


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = builder.Entry(lambda num_classes, layout=None: Tiny(num_classes), {}, "for tests")
    monkeypatch.setitem(builder.NETWORKS, "tiny", entry)


@pytest.mark.parametrize(
    ("text", "layers"),
    [("auto", "auto"), ("none", ()), ("a.conv, b.conv", ("a.conv", "b.conv"))],
)
def test_layers_in_float_are_measured_named_or_none(text: str, layers: object) -> None:
    assert asked_layers(text) == layers


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
