"""Parts, rooflines and what the machine reaches."""

from __future__ import annotations

import pytest

from artoolkit.backends import backend_named
from artoolkit.backends.backend import Operator
from artoolkit.cost.machine_peak import MachinePeak, copy_bandwidth, machine_peak
from artoolkit.cost.roofline import RooflineMeasurement, parts_of, roofline_milliseconds
from artoolkit.evidence.records import header
from artoolkit.evidence.verdict import Subject

MACHINE = MachinePeak(
    macs_per_s={"fp32": 1e9, "bf16": 2e9, "int8": 4e9}, bytes_per_s=1e9, threads=1
)


def operator(kind: str, **changes: object) -> Operator:
    values = {
        "name": kind.lower(), "kind": kind, "milliseconds": 4.0, "macs": 0, "bytes_moved": 0,
        "shape": (1,), "dtype": "float", **changes,
    }  # fmt: skip
    return Operator.model_validate(values)


def test_the_head_is_all_behind_the_last_convolution() -> None:
    kinds = ["Cast", "Conv", "Resize", "Add", "MatMul", "Conv", "Transpose", "MatMul", "ArgMax"]
    assert parts_of(map(operator, kinds)) == [
        "copies", "convolutions", "resizes", "element by element", "pooling", "convolutions",
        "head", "head", "head",
    ]  # fmt: skip


def test_without_a_convolution_there_is_no_head() -> None:
    assert parts_of([operator("MatMul"), operator("ArgMax")]) == ["pooling", "element by element"]


@pytest.mark.parametrize(
    ("changes", "milliseconds"),
    [
        ({"macs": 2_000_000, "bytes_moved": 1000}, 2.0),
        ({"macs": 1000, "bytes_moved": 3_000_000}, 3.0),
        ({"macs": 2_000_000, "dtype": "uint8"}, 0.5),
        ({"macs": 2_000_000, "dtype": "bf16"}, 1.0),
        ({"macs": 2_000_000, "dtype": "f32"}, 2.0),
    ],
    ids=["arithmetic", "bytes", "int8", "bf16", "f32"],
)
def test_the_roofline_is_the_larger_of_two_times(
    changes: dict[str, object], milliseconds: float
) -> None:
    assert roofline_milliseconds(operator("Conv", **changes), MACHINE) == pytest.approx(
        milliseconds
    )


def test_parts_add_up_to_the_operators() -> None:
    record = RooflineMeasurement(
        **header(RooflineMeasurement),
        subject=Subject(name="a", sha256="0" * 64),
        machine_peak=MACHINE,
        operators=(
            operator("Conv", macs=1_000_000),
            operator("Conv", macs=3_000_000, milliseconds=6.0),
            operator("ArgMax", bytes_moved=500_000),
        ),
    )
    convolutions, head = record.parts()
    assert (convolutions.name, convolutions.milliseconds, convolutions.macs) == (
        "convolutions", 10.0, 4_000_000,
    )  # fmt: skip
    assert convolutions.roofline_milliseconds == pytest.approx(4.0)
    assert head.name == "head"
    assert head.roofline_milliseconds == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_this_machine_has_a_peak_in_every_backend(name: str) -> None:
    pytest.importorskip(name)
    found = machine_peak(backend_named(name), 1)
    assert {"fp32", "int8"} <= found.macs_per_s.keys()
    # No processor of this century is below the first, nor is one core above the second.
    for rate in (*found.macs_per_s.values(), found.bytes_per_s):
        assert 1e8 < rate < 1e13


def test_two_threads_copy_as_many_bytes_as_one() -> None:
    assert copy_bandwidth(2, tries=1) > 0
