"""The memory check: every component needs exactly the same number of bytes."""

from __future__ import annotations

from artoolkit.checks.contest import ROLES, Pair
from artoolkit.checks.kind import CheckKind, Records, Terms
from artoolkit.cost.memory import MemoryMeasurement, ProcessMemory, process_memory
from artoolkit.evidence.records import header
from artoolkit.evidence.verdict import Check, in_brief
from artoolkit.graph.memory import AHEAD_OF_TIME

# Peaks of one program differ by some pages: three show it.
PROCESS_RUNS = 3


def measure(pair: Pair) -> Records:
    records = {}
    for role, side in zip(ROLES, pair.sides, strict=True):
        pair.progress(f"memory of the {role}", 0.0)
        source, components = pair.backend.memory(
            side.model, device=pair.device, threads=pair.threads
        )
        process = None
        if pair.process_memory and source != AHEAD_OF_TIME:
            process = process_memory(
                side.path,
                backend=pair.backend,
                device=pair.device,
                threads=pair.threads,
                runs=PROCESS_RUNS,
            )
        records[f"memory-{role}.json"] = MemoryMeasurement(
            **header(MemoryMeasurement),
            subject=side.subject,
            source=source,
            components=components,
            process=process,
        )
    return records


def judge(records: Records, terms: Terms) -> Check:
    pair: list[MemoryMeasurement] = [records[f"memory-{role}.json"] for role in ROLES]
    before, after = (record.components.model_dump() for record in pair)
    different = {key: [before[key], after[key]] for key in before if before[key] != after[key]}
    words = "equal: " + ", ".join(
        f"{key.removesuffix('_bytes')} {mib(value)}" for key, value in after.items()
    )
    if different:
        words = "; ".join(
            f"{key.removesuffix('_bytes')} {a:,} -> {b:,} bytes ({b - a:+,})"
            for key, (a, b) in different.items()
        )
    peaks = [_peak(record.process) for record in pair if record.process]
    if peaks:
        peaks = [f"peak of a process (reported only, not compared): {' against '.join(peaks)}"]
    if pair[1].source == AHEAD_OF_TIME:
        peaks = [f"as told by {AHEAD_OF_TIME}"]
    shown = {"components", "process"}
    return Check(
        name="memory",
        result="FAIL" if different else "PASS",
        **in_brief(words, *peaks),
        numbers={
            "source": pair[1].source,
            "different": different,
            "baseline": pair[0].model_dump(mode="json", include=shown),
            "candidate": pair[1].model_dump(mode="json", include=shown),
        },
    )


def judge_size(records: Records, terms: Terms) -> Check:
    """PASS if program, weights, activations, inputs and outputs are no more bytes together."""
    pair: list[MemoryMeasurement] = [records[f"memory-{role}.json"] for role in ROLES]
    before, after = (record.components.model_dump() for record in pair)
    sums = [sum(filter(None, one.values())) for one in (before, after)]
    change = 100 * (sums[1] / sums[0] - 1)
    parts = [f"{key.removesuffix('_bytes')} {mib(before[key])} -> {mib(after[key])}"
             for key in before if before[key] is not None and after[key] is not None]  # fmt: skip
    return Check(
        name="size",
        result="PASS" if sums[1] <= sums[0] else "FAIL",
        **in_brief(f"{mib(sums[0])} -> {mib(sums[1])} ({change:+.1f} %)", ", ".join(parts)),
        numbers={"baseline": before, "candidate": after, "change_percent": change},
    )


def mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def _peak(process: ProcessMemory) -> str:
    told = f"{mib(min(process.peak_bytes))} to {mib(max(process.peak_bytes))}"
    device = process.device_bytes
    on_device = f", on the device {mib(min(device))} to {mib(max(device))}" if device else ""
    return told + on_device


MEMORY = CheckKind(
    name="memory",
    question="Are weights, activations, inputs and outputs the same bytes?",
    records={f"memory-{role}.json": MemoryMeasurement for role in ROLES},
    measure=measure,
    judge=judge,
)
SIZE = CheckKind(
    name="size",
    question="Are program, weights, activations, inputs and outputs no more bytes?",
    records=MEMORY.records,
    measure=measure,
    judge=judge_size,
)
