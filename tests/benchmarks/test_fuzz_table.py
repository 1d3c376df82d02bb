"""The table of the fuzzer: sums by group and in all."""

from __future__ import annotations

import fuzz_table
from harness import FAULTS


def test_counts_are_added_up_by_group() -> None:
    raw = {
        "a": {"group": "x", "inputs": 1200, "exit_codes": {"0": 200, "4": 1000}, "faults": {}},
        "b": {"group": "y", "inputs": 3, "exit_codes": {"1": 2}, "faults": {"hangs": 1}},
        "c": {"group": "x", "inputs": 10, "exit_codes": {"6": 10}, "faults": {}},
    }
    assert fuzz_table.table(raw)[2:] == [
        "| x | 2 | 1,210 | 1,010 | 0 | 0 | 0 | 0 | 0 |",
        "| y | 1 | 3 | 3 | 0 | 1 | 0 | 0 | 0 |",
        "| all | 3 | 1,213 | 1,013 | 0 | 1 | 0 | 0 | 0 |",
    ]
    assert fuzz_table.FAULTS == FAULTS
