"""`artoolkit delta` and `refit` on a CPU: one line each, and the bundle verified."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from artoolkit.cli import main
from artoolkit.evidence.bundle import Bundle


def test_delta_then_refit(
    tmp_path: Path, baseline: Bundle, candidate: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    delta, out = str(tmp_path / "delta.npz"), str(tmp_path / "made")
    made = CliRunner().invoke(
        main, ["delta", str(baseline.path), str(candidate.path), "--out", delta]
    )
    assert made.exit_code == 0, made.output
    assert "1 trained tensors" in made.output
    result = CliRunner().invoke(main, ["refit", str(baseline.path), delta, "--out", out])
    assert result.exit_code == 0, result.output
    assert candidate.manifest.sha256 in result.output and "golden replay" in result.output
    wrong = CliRunner().invoke(main, ["refit", str(candidate.path), delta, "--out", out + "2"])
    assert wrong.exit_code == 6 and "belongs to another bundle" in wrong.stderr
    assert len(wrong.stderr.splitlines()) == 1
