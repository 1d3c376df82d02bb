"""The table of the fuzzer's full run (`python tests/fuzz/run.py`), a row per group of formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FAULTS = ("tracebacks", "hangs", "memory errors", "unknown exit codes", "silent acceptances")
HEAD = ("group", "formats", "inputs", "refused", *FAULTS)


def table(raw: Mapping[str, Any]) -> list[str]:
    """Markdown: counts by group and in all; `refused` ended with another exit code than 0."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for values in raw.values():
        groups.setdefault(values["group"], []).append(values)
    rows = [(name, *_counts(found)) for name, found in groups.items()]
    rows.append(("all", *_counts(list(raw.values()))))
    lines = [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}", *lines]


def _counts(found: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    inputs = sum(values["inputs"] for values in found)
    accepted = sum(values["exit_codes"].get("0", 0) for values in found)
    faults = (sum(values["faults"].get(fault, 0) for values in found) for fault in FAULTS)
    return tuple(f"{count:,}" for count in (len(found), inputs, inputs - accepted, *faults))
