"""The memory check: equal bytes, one byte more, and what is reported only."""

from __future__ import annotations

from artoolkit.checks.kind import Terms
from artoolkit.checks.memory import MEMORY
from artoolkit.cost.memory import MemoryMeasurement, ProcessMemory
from artoolkit.evidence.records import header
from artoolkit.evidence.verdict import Check, Subject
from artoolkit.graph.memory import MemoryComponents


def measurement(*, process: bool = False, **changes: int) -> MemoryMeasurement:
    components = MemoryComponents(
        program_bytes=1000, weights_bytes=900, activations_bytes=50, io_bytes=10
    )
    alone = ProcessMemory(before_bytes=2**20, peak_bytes=(2**21, 2**22), torch_imported=False)
    return MemoryMeasurement(
        **header(MemoryMeasurement),
        subject=Subject(name="a", sha256="0"),
        source="by hand",
        components=components.model_copy(update=changes),
        process=alone if process else None,
    )


def check_memory(baseline: MemoryMeasurement, candidate: MemoryMeasurement) -> Check:
    records = {"memory-baseline.json": baseline, "memory-candidate.json": candidate}
    return MEMORY.judge(records, Terms())


def test_equal_bytes_pass_and_one_byte_more_fails_by_name() -> None:
    assert check_memory(measurement(), measurement()).result == "PASS"
    check = check_memory(measurement(), measurement(activations_bytes=51))
    assert check.result == "FAIL"
    assert check.numbers["different"] == {"activations_bytes": [50, 51]}


def test_the_peak_of_a_process_is_shown_and_decides_nothing() -> None:
    other = measurement(process=True)
    check = check_memory(measurement(), other)
    assert check.result == "PASS"
    assert check.numbers["candidate"]["process"]["peak_bytes"] == [2**21, 2**22]
    assert "2.0 MiB to 4.0 MiB" in check.details[0]
