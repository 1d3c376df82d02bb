"""`compare` on engines: which are opened and built, what each check says, and what it needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from engine_bundles import RedScenes, tiny_bundle, tiny_target
from fake_gpu import FakeCuda, FakeTensorrt
from fake_inspector import FakeMachine, report
from judged import QUICK, without_rtx
from sidecars import write_plan

from artoolkit.backends.tensorrt import RTX, backend
from artoolkit.backends.tensorrt import pair as plan_pair_module
from artoolkit.backends.tensorrt.backend import ENGINE_SOURCE, engine_memory
from artoolkit.checks.compare import judged
from artoolkit.checks.contest import Pair
from artoolkit.checks.kind import Records
from artoolkit.checks.memory import MEMORY
from artoolkit.errors import EngineError
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.verdict import Check, Verdict
from artoolkit.graph.memory import AHEAD_OF_TIME
from artoolkit.optional import is_installed
from artoolkit.spec import RunnerSpec


@pytest.fixture
def bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Bundle, Bundle]:
    """Baseline and candidate for a Jetson; RTX programs are compared elsewhere."""
    without_rtx(monkeypatch)
    target = tiny_target("jetson-orin-nx")
    return tiny_bundle(tmp_path, target), tiny_bundle(tmp_path, target, seed=1)


def install(monkeypatch: pytest.MonkeyPatch) -> FakeTensorrt:
    """A faked Orin with TensorRT 10.3."""
    cuda = FakeCuda()
    trt = FakeTensorrt(cuda)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    return trt


def verdict_of(bundles: tuple[Bundle, Bundle], **more: object) -> tuple[Verdict, Records]:
    return judged(Pair.of(*bundles, plan=QUICK, process_memory=False, **more))


def checks(bundles: tuple[Bundle, Bundle], **more: object) -> dict[str, Check]:
    return {check.name: check for check in verdict_of(bundles, **more)[0].checks}


def words(check: Check) -> str:
    return " ".join((check.headline, *check.details))


def test_every_check_is_answered_on_the_engines_of_both(bundles, monkeypatch):
    trt = install(monkeypatch)
    machine = FakeMachine(monkeypatch, [report()] * 3, [report()] * 3)
    for bundle in bundles:
        write_plan(bundle)
    heard: list[str] = []
    found = checks(bundles, dataset=RedScenes(), progress=lambda what, _: heard.append(what))
    for name in ("graph", "training-only parts", "program", "memory", "outputs", "accuracy"):
        assert found[name].result == "PASS", found[name]
    assert found["latency"].result != "UNAVAILABLE"
    assert "2 layers with the same tactics and formats" in words(found["program"])
    assert found["program"].numbers["builds"] == 3
    assert [options.device for _, options in machine.built] == ["cuda:0"] * 6
    assert found["accuracy"].numbers["candidate_miou"] == 100
    assert {"mIoU of the baseline", "mIoU of the candidate"} <= set(heard)
    assert trt.loaded >= 6, "memory, latency and accuracy open both engines"


def test_memory_is_the_engines_own(bundles, monkeypatch):
    install(monkeypatch)
    FakeMachine(monkeypatch, [report()] * 3, [report()] * 3)
    write_plan(bundles[0])
    write_plan(bundles[1], weights_bytes=3392)
    verdict, records = verdict_of(bundles)
    memory = next(check for check in verdict.checks if check.name == "memory")
    assert memory.result == "FAIL"
    assert memory.numbers["different"] == {"weights_bytes": [3376, 3392]}
    record = records["memory-candidate.json"]
    assert record.source == ENGINE_SOURCE
    assert record.components.model_dump() == {
        "program_bytes": 600, "weights_bytes": 3392, "activations_bytes": 12345,
        "io_bytes": 32 * 64 * 4,
    }  # fmt: skip


def test_another_tactic_fails_the_program_and_refit_is_told(bundles, monkeypatch):
    install(monkeypatch)
    machine = FakeMachine(monkeypatch, [report()] * 3, [report(tactic="0x2")] * 3)
    monkeypatch.setattr(plan_pair_module, "refit_plan", lambda plan, onnx: None)
    program = checks(bundles, options={"refit": True})["program"]
    assert program.result == "FAIL" and "the engines differ layer 0" in words(program)
    assert "refit: every weight" in words(program) and len(machine.built) == 7


def test_without_the_library_the_command_that_installs_it_is_named(bundles, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    found = checks(bundles, dataset=RedScenes())
    for name in ("program", "memory", "latency", "outputs", "accuracy"):
        assert found[name].result == "UNAVAILABLE", name
        assert "pip install" in words(found[name])
    assert found["graph"].result == "PASS"


def test_without_a_driver_or_an_engine_the_next_step_is_named(bundles, monkeypatch):
    install(monkeypatch)
    FakeMachine(monkeypatch, [report()] * 3, [report()] * 3)
    found = checks(bundles)
    assert found["program"].result == "PASS"
    for name in ("memory", "latency", "outputs"):
        assert found[name].result == "UNAVAILABLE"
        assert "artoolkit build" in words(found[name])
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", FakeCuda(driver=False))
    program = checks(bundles)["program"]
    assert program.result == "UNAVAILABLE" and "no NVIDIA driver" in words(program)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compute_capabilities": ("86",)}, "another GPU than this machine's"),
        ({"tensorrt": ">=11,<12"}, "out of the range of target"),
    ],
)
def test_no_pair_is_built_for_another_target(tmp_path, monkeypatch, changes, message):
    install(monkeypatch)
    without_rtx(monkeypatch)
    machine = FakeMachine(monkeypatch, [], [])
    target = tiny_target("jetson-orin-nx", **changes)
    pair = tiny_bundle(tmp_path, target), tiny_bundle(tmp_path, target, seed=1)
    program = checks(pair)["program"]
    assert program.result == "UNAVAILABLE" and message in words(program)
    assert machine.built == []


def test_weights_that_no_build_log_told_are_an_error():
    settings = {"plan": "a.plan", "weights_bytes": None}
    spec = RunnerSpec(backend="tensorrt", device="cuda:0", inputs=(), outputs=(), settings=settings)
    with pytest.raises(EngineError, match=r"build log of a\.plan did not tell"):
        engine_memory(spec)


@pytest.mark.skipif(not is_installed("tensorrt_rtx"), reason="tensorrt-rtx is not installed")
@pytest.mark.parametrize(("target", "forms"), [("rtx-40", ["chain"]), ("cpu", [])])
def test_rtx_compares_programs_in_the_form_of_the_target(tmp_path, target, forms):
    target = tiny_target(target, compute_capabilities=("89",))
    a, b = (tiny_bundle(tmp_path, target, seed=seed) for seed in (0, 1))
    heard: list[str] = []
    hear = lambda what, _: heard.append(what)  # noqa: E731
    trained = a.manifest.trained
    found = RTX().compare_programs(a, b, device="cuda:0", trained=trained, progress=hear)
    assert found.result == "PASS" and len(found.headline) <= 80
    assert found.numbers["forms"] == forms and len(found.details) == 1
    assert any(what.startswith("RTX candidate sm89") for what in heard)


@pytest.mark.skipif(not is_installed("tensorrt_rtx"), reason="tensorrt-rtx is not installed")
def test_without_a_driver_rtx_answers_from_its_build_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "driver_gpus", lambda: ())
    bundle = tiny_bundle(tmp_path, tiny_target("rtx-40"))
    pair = Pair.of(bundle, bundle, backend="tensorrt-rtx")
    check, records = MEMORY.ask(pair)
    assert check is not None and check.result == "PASS"
    assert any("ahead of time" in detail for detail in check.details)
    found = records["memory-candidate.json"]
    assert found.source == AHEAD_OF_TIME and found.process is None
    assert min(found.components.model_dump().values()) > 0
