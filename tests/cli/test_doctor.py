"""Doctor says what is there, what is missing, and how to get it."""

from __future__ import annotations

import json

import pytest

from artoolkit.backends.tensorrt.cuda import Gpu, driver
from artoolkit.cli import doctor, run
from artoolkit.cost import accelerator
from artoolkit.optional import INSTALL


def test_every_missing_library_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "is_installed", lambda _: False)
    for ability in doctor.abilities():
        modules = doctor.needs()[ability.name]
        assert ability.available == (not modules)
        for module in modules:
            assert module in ability.reason
            assert INSTALL[module] in ability.reason


def test_every_module_that_an_ability_needs_can_be_explained() -> None:
    assert {m for modules in doctor.needs().values() for m in modules} <= set(INSTALL)


def test_a_gpu_runs_where_its_test_passed_and_the_libraries_fit() -> None:
    passed = {"self_test_failed": None}
    assert doctor.gpu_ability([passed], ()).available
    assert not doctor.gpu_ability([], ()).available
    failed = {"self_test_failed": "cudaMalloc failed"}
    assert doctor.gpu_ability([passed, failed], ()).reason == "cudaMalloc failed"
    assert "install" in doctor.gpu_ability([passed], ("driver 12.6: install",)).reason


def test_a_gpu_that_fails_its_test_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(0, "NVIDIA T4", "75", 16 << 30, False, "12.6", 40, "0000:01:00.0")
    monkeypatch.setattr(driver, "driver_gpus", lambda: (gpu,))
    monkeypatch.setattr(accelerator, "driver_gpus", lambda: (gpu,))
    # Without a driver here the test ends with CUDA's own error, in its own process.
    (found,) = doctor.gpus()
    assert (found["name"], found["self_test"]) == ("NVIDIA T4", None)
    assert found["self_test_failed"]


def test_versions_are_found_without_importing() -> None:
    assert doctor.version_of("click") is not None
    assert doctor.version_of("no_such_module") is None


def test_the_table_and_the_json_exit_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    assert "train and fine-tune" in capsys.readouterr().out
    assert run(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"machine", "gpus", "misfits", "abilities", "versions"} == set(report)


def test_networks_are_counted_as_published(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    complexity = pytest.importorskip("artoolkit.networks.complexity")
    monkeypatch.setattr(complexity, "NETWORKS", ("icnet", "icnet_r50"))
    assert run(["doctor", "--networks", "--json"]) == 0
    costs = {c["network"]: c for c in json.loads(capsys.readouterr().out)}
    assert round(costs["icnet"]["parameters"] / 1e6, 2) == 6.70
    assert round(costs["icnet_r50"]["macs"] / 1e9, 1) == 122.0
