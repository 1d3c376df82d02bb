"""A network alone in a process: peaks, a spread, and no torch."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import write_tiny

from artoolkit.cost.worker import process_memory, resident_bytes, run_alone
from artoolkit.errors import BackendError
from artoolkit.evidence.bundle import Bundle


def test_a_bundle_runs_alone_without_torch(baseline: Bundle) -> None:
    memory = process_memory(baseline.path, threads=1, runs=2)
    assert not memory.torch_imported
    assert len(memory.peak_bytes) == 2
    assert all(peak > memory.before_bytes > 1e6 for peak in memory.peak_bytes)


def test_an_onnx_file_runs_in_this_process_too(tmp_path: Path) -> None:
    answer = run_alone(
        write_tiny(tmp_path / "m.onnx"), backend="onnxruntime", device="cpu", threads=1
    )
    now, peak = resident_bytes()
    assert 0 < answer["before"] <= answer["peak"] <= peak
    assert now <= peak


def test_what_does_not_run_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nothing")
    with pytest.raises(BackendError, match=r"does not run in a process of its own; got .*m\.onnx"):
        process_memory(tmp_path / "m.onnx", runs=1)
