"""The tables of engines and of installs: what was built, refused, resolved."""

from __future__ import annotations

import engines
import installs
import pytest

from artoolkit.errors import EngineError
from artoolkit.optional import is_installed

ENGINE = {
    "result": "PASS", "method": "bytes", "total_bytes": 20_100_000, "program_bytes": 1_500_000,
    "operations": 84, "reason": "", "activation_bytes": 125_200_000, "weights_bytes": 18_600_000,
    "same_memory": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def two_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "NETWORKS", ("icnet", "pidnet_s"))


def test_the_table_tells_equal_programs_refusals_and_the_range_of_bytes() -> None:
    raw = {
        "icnet fp16 89": {"engines": {"89": ENGINE}},
        "icnet fp16 75,120": {
            "engines": {"75": ENGINE | {"total_bytes": 43_100_000}, "120": {"refused": "no"}}
        },
        "icnet int8 89": {"unavailable": "no library"},
    }
    assert [line for line in engines.table(raw)[2:] if line] == [
        "| `icnet` | fp16 | 75, 89 | 120 | 20.1 to 43.1 | 125.2 | 18.6 |",
        "Not built yet in fp16 on 80, 86, 121: icnet.",
        "Not built yet in fp32 on 75, 80, 86, 89, 120, 121: icnet, pidnet_s.",
        "Not built yet in int8 on 75, 80, 86, 89, 120, 121: icnet, pidnet_s.",
        "Not built yet in fp16 on 75, 80, 86, 89, 120, 121: pidnet_s.",
        "Not measured: icnet int8 89. no library",
    ]


def test_a_network_that_no_capability_builds_has_a_row_too() -> None:
    raw = {"icnet fp32 75": {"engines": {"75": {"refused": "FP32 GEMM"}}}}
    assert engines.table(raw)[2] == "| `icnet` | fp32 |  | 75 |  |  |  |"


def test_a_refusal_costs_one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise EngineError("FP32 GEMM is not supported")

    monkeypatch.setattr(engines, "compare_programs", refuse)
    assert engines._engine([], (), "75", "fp32") == {"refused": "FP32 GEMM is not supported"}


@pytest.mark.slow
@pytest.mark.skipif(not is_installed("tensorrt_rtx"), reason="tensorrt-rtx is not installed")
def test_untrained_networks_are_one_program_in_int8() -> None:
    found = engines.compared("icnet", "int8", (64, 128), ("86",))["engines"]["86"]
    assert (found["result"], found["same_memory"]) == ("PASS", True)


def test_requirements_are_those_of_the_other_machine() -> None:
    there = installs.wanted("cu12", "x86_64", "3.10")
    assert any(name.startswith("tensorrt-cu12") for name in there)
    assert any(name.startswith("tomli") for name in there)
    assert any(name.startswith("onnx>") for name in there)
    robot = installs.wanted("cu12", "aarch64", "3.12")
    assert not any(name.startswith(("tensorrt", "onnxruntime", "tomli")) for name in robot)
    assert any(name.startswith("cuda-bindings") and "<13" in name for name in robot)


def test_the_table_of_installs_says_where_an_extra_resolves() -> None:
    raw = {
        "cpu x86_64 3.10": {"versions": {}, "elsewhere": []},
        "cpu x86_64 3.13": {"versions": {}, "elsewhere": ["tensorrt-cu13-libs"]},
        "cpu aarch64 3.12": {"unavailable": "no wheel"},
    }
    (row,) = (line for line in installs.table(raw) if line.startswith("| cpu |"))
    assert row == "| cpu | yes |  |  | yes, but for tensorrt-cu13-libs |  | no wheel |"
