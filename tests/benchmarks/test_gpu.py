"""The GPU suite's dry run: what needs no GPU runs, the rest says why not, and both are written."""

from __future__ import annotations

import json
import sys

import gpu
import pytest
import result_file
from click.testing import CliRunner
from engine_bundles import tiny_bundle
from fake_gpu import FakeCuda, FakeTensorrt
from sidecars import write_plan

from artoolkit.backends.tensorrt.cuda import Gpu
from artoolkit.errors import ArtoolkitError, RecipeError
from artoolkit.evidence.records import read_record
from artoolkit.optional import is_installed


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """The suite on the tiny network, without a GPU, writing into a folder of its own."""

    def make_pair(network, target, folder):
        target = target.model_copy(update={"imgsz": (32, 64)})
        return tuple(gpu.Arm(tiny_bundle(folder, target, seed=seed)) for seed in (0, 1))

    monkeypatch.setattr(gpu, "make_pair", make_pair)
    monkeypatch.setattr(gpu, "gpu_here", lambda: (None, "no driver"))
    monkeypatch.setattr(result_file, "RESULTS", tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_dry_run_writes_what_ran_and_why_the_rest_did_not(tiny):
    ran = CliRunner().invoke(gpu.main, ["--dry-run"], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    (path,) = tiny.glob("*.json")
    assert path.name == "gpu-dry-run--workstation--no-gpu.json"
    result = read_record(path, result_file.ResultFile)
    steps = result.raw["steps"]
    assert result.raw["gpu"] == "no driver"
    cpu = steps["icnet fp32 onnxruntime cpu latency"]["result"]
    assert {block["phase"] for block in cpu["blocks"]} == {"control", "test"}
    assert steps["icnet fp32 torch cpu latency"] == {
        "unavailable": "this bundle has no checkpoint for torch"
    }
    if not is_installed("tensorrt"):
        assert "needs tensorrt" in steps["icnet fp32 tensorrt engine A"]["unavailable"]
        assert "icnet fp32 tensorrt latency" not in steps
    if is_installed("tensorrt_rtx"):
        assert steps["icnet fp32 rtx plans"]["result"]["result"] == "PASS"
        assert steps["icnet fp32 tensorrt-rtx engine B"]["result"]["plan_bytes"] > 0
        no_driver = steps["icnet fp32 tensorrt-rtx cuda graph gpu time"]["unavailable"]
        assert "cudaGetDeviceCount" in no_driver
    assert "/tmp" not in json.dumps(result.raw["steps"])


def test_without_a_gpu_only_the_dry_run_runs(tiny):
    ran = CliRunner().invoke(gpu.main, [])
    assert ran.exit_code == 1
    assert str(ran.exception) == "error: this suite needs an NVIDIA GPU: no driver"
    assert not list(tiny.glob("*.json"))


def test_times_by_events_are_interleaved_and_memory_is_by_component(tiny, monkeypatch):
    cuda = FakeCuda()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorrt(cuda))
    settings = gpu.read_settings(gpu.SUITE, dry_run=True)
    here = Gpu(0, "Orin", "87", 1 << 30, True, "12.6")
    pair = gpu.make_pair("icnet", gpu.target_of(settings, "fp32", here), tiny)
    for arm in pair:
        write_plan(arm.bundle)
    found = gpu.by_events(pair, "tensorrt", "cuda:0", settings, cuda_graph=True)
    assert len(found["blocks_ms"]["A"]) == len(found["blocks_ms"]["B"]) == settings.gpu_time_pairs
    assert set(found["blocks_ms"]["B"][0]) == {5.0}
    assert found["memory"]["A"] == {
        "plan_bytes": 600, "weights_bytes": 3376, "activation_bytes": 12345,
        "io_bytes": 32 * 64 * 4,
    }  # fmt: skip


def test_a_suite_that_is_not_valid_is_refused(tmp_path):
    path = tmp_path / "suite.toml"
    path.write_text("colour = 1")
    with pytest.raises(RecipeError, match="colour"):
        gpu.read_settings(path, dry_run=False)


def test_only_our_errors_are_reasons(tiny):
    report = gpu.Report()
    assert not report.step("one", lambda: (_ for _ in ()).throw(ArtoolkitError("no room")))
    assert report.steps == {"one": {"unavailable": "no room"}}
    with pytest.raises(ZeroDivisionError):
        report.step("two", lambda: 1 / 0)
