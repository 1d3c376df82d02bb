"""The memory check: every component needs exactly the same number of bytes."""

from __future__ import annotations

from artoolkit.cost.memory import MemoryMeasurement, ProcessMemory
from artoolkit.evidence.verdict import Check


def mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def _process_words(process: ProcessMemory | None) -> str:
    if process is None:
        return "not measured"
    return f"{mib(min(process.peak_bytes))} to {mib(max(process.peak_bytes))}"


def check_memory(
    baseline: MemoryMeasurement, candidate: MemoryMeasurement, *, required: bool = True
) -> Check:
    """PASS if every component needs exactly the same number of bytes."""
    before, after = (m.components.model_dump() for m in (baseline, candidate))
    different = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
    if different:
        words = "; ".join(
            f"{key.removesuffix('_bytes')} {a:,} -> {b:,} bytes ({b - a:+,})"
            for key, (a, b) in different.items()
        )
    else:
        words = "equal: " + ", ".join(
            f"{key.removesuffix('_bytes')} {mib(value)}" for key, value in after.items()
        )
    if baseline.process or candidate.process:
        peaks = [_process_words(m.process) for m in (baseline, candidate)]
        words += f"; peak of a process {peaks[0]} against {peaks[1]} (reported, not compared)"
    return Check(
        name="memory",
        result="FAIL" if different else "PASS",
        summary=words,
        numbers={
            "source": candidate.source,
            "baseline": baseline.model_dump(mode="json", include={"components", "process"}),
            "candidate": candidate.model_dump(mode="json", include={"components", "process"}),
        },
        required=required,
    )
