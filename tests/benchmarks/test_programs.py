"""The table of compiled programs, and what one of its cases holds."""

from __future__ import annotations

import pytest
from programs import compared, table

from artoolkit.optional import is_installed

PROGRAM = {
    "result": "PASS", "method": "bytes", "total_bytes": 33_000_000, "weight_bytes": 30_000_000,
    "operations": 133, "activation_bytes": [37_700_000, 37_700_000],
}  # fmt: skip


def test_the_table_says_what_was_proved_and_how() -> None:
    raw = {
        "icnet fp32": {"programs": [PROGRAM, PROGRAM | {"method": "operations"}]},
        "icnet fp16": {"unavailable": "no library"},
    }
    head, _, row, *rest = table(raw)
    assert head.startswith("| network | precision | sm86 | sm89 | proof")
    assert row == (
        "| `icnet` | fp32 | PASS | PASS | bytes, operations | 33.0 | 30.0 | 133 | 37.7 |"
    )
    assert rest == ["", "Not measured: icnet fp16. no library"]


@pytest.mark.slow
@pytest.mark.skipif(not is_installed("tensorrt_rtx"), reason="tensorrt-rtx is not installed")
@pytest.mark.parametrize("network", ["pidnet_s", "ddrnet_23_slim", "bisenetv2", "segformer_b0"])
def test_untrained_networks_are_one_program_in_bytes(network: str) -> None:
    programs = compared(network, "fp16", (64, 128))["programs"]
    assert [(p["result"], p["method"], p["differing_bytes"]) for p in programs] == [
        ("PASS", "bytes", 0)
    ] * 2
