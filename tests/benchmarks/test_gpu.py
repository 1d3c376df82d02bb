"""The GPU suite's dry run: what needs no GPU runs, the rest says why not, and both are written."""

from __future__ import annotations

import sys

import gpu
import onnx
import pytest
import result_file
from click.testing import CliRunner
from engine_bundles import tiny_bundle
from fake_gpu import FakeCuda, FakeTensorrt
from sidecars import write_plan

from artoolkit.backends.tensorrt.cuda import Gpu
from artoolkit.errors import ArtoolkitError, RecipeError
from artoolkit.evidence.records import read_record


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """The suite on the tiny network, without a GPU."""

    def make_pair(network, target, folder):
        target = target.model_copy(update={"imgsz": (32, 64)})
        return tuple(gpu.Arm(tiny_bundle(folder, target, seed=seed)) for seed in (0, 1))

    monkeypatch.setattr(gpu, "make_pair", make_pair)
    monkeypatch.setattr(gpu, "gpu_here", lambda: (None, "no driver"))
    return tmp_path


def run(tiny, *options):
    return CliRunner().invoke(gpu.main, ["--out", str(tiny / "out"), *options])


def test_a_dry_run_names_the_steps_and_builds_and_writes_nothing(tiny, monkeypatch):
    monkeypatch.setattr(gpu, "make_pair", None)
    ran = run(tiny, "--dry-run", "--steps", "fp16", "--steps", "tensorrt-rtx")
    assert ran.exit_code == 0, ran.output
    assert "icnet fp16 tensorrt-rtx cuda graph gpu time" in ran.output.splitlines()
    assert all("fp16 tensorrt-rtx" in line for line in ran.output.splitlines())
    assert not list(tiny.iterdir())


def test_without_a_gpu_only_the_dry_run_runs(tiny):
    ran = run(tiny)
    assert ran.exit_code == 1
    assert str(ran.exception) == "error: this suite needs an NVIDIA GPU: no driver"
    assert not list(tiny.iterdir())


def test_every_step_is_written_and_only_what_has_no_result_runs_again(tiny, monkeypatch):
    here = Gpu(0, "Orin", "87", 1 << 30, True, "12.6")
    monkeypatch.setattr(gpu, "gpu_here", lambda: (here, ""))
    asked, answers = [], {"86": "PASS", "89": None, "120": "PASS", "portable": "PASS"}

    def plans(pair, capability):
        asked.append(capability)
        if answers[capability] is None:
            raise ArtoolkitError("no such operation there")
        return {"result": answers[capability]}

    monkeypatch.setattr(gpu, "plans", plans)
    only = ("--steps", "fp16 rtx plans")
    assert run(tiny, *only).exit_code == 0
    (path,) = (tiny / "out").iterdir()
    steps = read_record(path, result_file.ResultFile).raw["steps"]
    # One bad capability costs one row.
    assert steps["icnet fp16 rtx plans 89"] == {"unavailable": "no such operation there"}
    assert steps["icnet fp16 rtx plans 120"] == {"result": {"result": "PASS"}}
    asked.clear()
    assert run(tiny, *only).exit_code == 0
    assert asked == ["89"]


def test_times_by_events_are_interleaved_and_memory_is_by_component(tiny, monkeypatch):
    cuda = FakeCuda()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorrt(cuda))
    settings = gpu.read_settings(gpu.SUITE)
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


def test_programs_and_engines_are_compared_in_the_form_of_the_target(tiny, tmp_path):
    settings = gpu.read_settings(gpu.SUITE)
    pair = gpu.make_pair("icnet", gpu.target_of(settings, "fp32", None), tiny)
    for file in gpu.in_form(pair, tmp_path):
        assert "ArgMax" not in {node.op_type for node in onnx.load(file).graph.node}


def test_a_suite_that_is_not_valid_is_refused(tmp_path):
    path = tmp_path / "suite.toml"
    path.write_text("colour = 1")
    with pytest.raises(RecipeError, match="colour"):
        gpu.read_settings(path)


def test_only_our_errors_are_reasons():
    kept = []
    report = gpu.Report({}, kept.append)
    report.step("one", lambda: (_ for _ in ()).throw(ArtoolkitError("no room")))
    assert kept == [{"one": {"unavailable": "no room"}}]
    with pytest.raises(ZeroDivisionError):
        report.step("two", lambda: 1 / 0)
