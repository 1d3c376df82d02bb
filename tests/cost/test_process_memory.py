"""A network alone in a process: peaks, a spread, and no torch."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import write_tiny

from artoolkit.cost import memory as memory_module
from artoolkit.cost.memory import process_memory, resident_bytes, run_alone
from artoolkit.errors import BackendError
from artoolkit.evidence.bundle import Bundle
from artoolkit.words import BACKENDS


def test_a_bundle_runs_alone_without_torch(baseline: Bundle) -> None:
    memory = process_memory(baseline.path, threads=1, runs=2)
    assert not memory.torch_imported
    assert len(memory.peak_bytes) == 2
    assert all(peak > memory.before_bytes > 1e6 for peak in memory.peak_bytes)


def test_an_onnx_file_runs_in_this_process_too(tmp_path: Path) -> None:
    request = {
        "path": str(write_tiny(tmp_path / "m.onnx")), "backend": "onnxruntime", "options": {},
        "registered": BACKENDS["onnxruntime"], "device": None, "threads": 1,
    }  # fmt: skip
    answer = run_alone(request, lambda *_: True)
    now, peak = resident_bytes()
    assert 0 < answer["before"] <= answer["peak"] <= peak
    assert now <= peak


def test_what_does_not_run_is_the_backends_own_error(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nothing")
    with pytest.raises(BackendError, match=r"ONNX Runtime cannot open .*m\.onnx"):
        process_memory(tmp_path / "m.onnx", runs=1)


def test_what_a_run_adds_on_the_device_is_kept_with_its_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = iter(({"all": 500}, {"all": 800}))
    monkeypatch.setattr(memory_module, "device_memory", lambda device: next(told))
    request = {
        "path": str(write_tiny(tmp_path / "m.onnx")), "backend": "onnxruntime", "options": {},
        "registered": BACKENDS["onnxruntime"], "device": None, "threads": 1,
    }  # fmt: skip
    answer = run_alone(request, lambda *_: True)
    assert (answer["device_bytes"], answer["source"]) == (300, "all")
