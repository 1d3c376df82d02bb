"""Doctor says what is there, what is missing, and how to get it."""

from __future__ import annotations

import json

import pytest

from artoolkit.cli import doctor, run
from artoolkit.networks import complexity
from artoolkit.optional import INSTALL


def test_every_missing_library_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "is_installed", lambda _: False)
    for ability in doctor.abilities()[:-1]:
        modules = doctor.needs()[ability.name]
        assert ability.available == (not modules)
        for module in modules:
            assert module in ability.reason
            assert INSTALL[module] in ability.reason


def test_every_module_that_an_ability_needs_can_be_explained() -> None:
    assert {m for modules in doctor.needs().values() for m in modules} <= set(INSTALL)


def test_a_machine_without_a_driver_cannot_run_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "cuda_driver", lambda: None)
    assert not doctor.abilities()[-1].available
    monkeypatch.setattr(doctor, "cuda_driver", lambda: "13.0")
    assert doctor.abilities()[-1].available


def test_versions_are_found_without_importing() -> None:
    assert doctor.version_of("click") is not None
    assert doctor.version_of("no_such_module") is None


def test_the_table_and_the_json_exit_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    assert "train and fine-tune" in capsys.readouterr().out
    assert run(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"machine", "abilities", "versions"} == set(report)


def test_networks_are_counted_as_published(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(complexity, "NETWORKS", ("icnet", "icnet_r50"))
    assert run(["doctor", "--networks", "--json"]) == 0
    costs = {c["network"]: c for c in json.loads(capsys.readouterr().out)}
    assert round(costs["icnet"]["parameters"] / 1e6, 2) == 6.70
    assert round(costs["icnet_r50"]["macs"] / 1e9, 1) == 122.0
