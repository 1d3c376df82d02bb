"""The networks' table: costs on paper, and the median of the rounds' ratios."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networks
import pytest
import result_file
from click.testing import CliRunner
from networks import table
from result_file import ResultFile

from artoolkit.evidence.records import read_record
from artoolkit.networks.complexity import NetworkCost

pytest.importorskip("torch")


def row(case: list[float]) -> dict[str, Any]:
    seconds = {"fp32": case, "int8": [time / 2 for time in case], "reference": [1.0, 10.0, 1.0]}
    memory = {"fp32": {"weights_bytes": 30_000_000, "activations_bytes": 12_000_000}}
    return {"seconds": seconds, "memory": memory}


def test_the_cheapest_network_comes_first_and_ratios_are_paired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs = [
        NetworkCost("large", parameters=6_700_000, macs=int(2e11), output_stride=4),
        NetworkCost("pidnet_s", parameters=7_626_000, macs=int(4.72e10), output_stride=8),
        NetworkCost("small", parameters=6_700_000, macs=int(2.89e10), output_stride=4),
    ]
    monkeypatch.setattr(networks, "counted", lambda: costs)
    raw = {"large, 512 x 1024": row([7.0, 70.0, 7.4]), "small, 512 x 1024": row([1.0, 10.0, 1.0])}
    head, _, *rows = table(raw)
    assert head.endswith(
        "| GMAC at 1024 x 2048 | scores at | published mIoU "
        "| fp32, int8 latency / icnet, 512 x 1024 | memory (MB), 512 x 1024 |"
    )
    assert rows == [
        "| `small` | 6.70 | 28.9 | 1/4 |  | 1.00, 0.50 | 42 |",
        "| `pidnet_s` | 7.63 | 47.2 | 1/8 | 78.74 |  |  |",
        "| `large` | 6.70 | 200.0 | 1/4 |  | 7.00, 3.50 | 42 |",
    ]


@pytest.mark.slow
def test_the_command_times_a_network_beside_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_file, "RESULTS", tmp_path)
    cost = NetworkCost("icnet", parameters=7, macs=9, output_stride=4)
    monkeypatch.setattr(networks, "counted", lambda: [cost])
    monkeypatch.setattr(networks, "SIZES", ((64, 128),))
    graphs = ["--graphs", str(tmp_path / "graphs")]
    assert CliRunner().invoke(networks.main, [*graphs, "--export-only"]).exit_code == 0
    assert len(list((tmp_path / "graphs").iterdir())) == len(networks.PRECISIONS)
    ran = CliRunner().invoke(networks.main, [*graphs, "--seconds", "0"])
    assert ran.exit_code == 0, ran.output
    raw = read_record(tmp_path / "networks--x86-2core--cpu.json", ResultFile).raw
    assert raw.keys() == {"icnet, 64 x 128"}
    row = raw["icnet, 64 x 128"]
    assert row["memory"]["int8"]["weights_bytes"] < row["memory"]["fp32"]["weights_bytes"]
    assert {name: len(times) for name, times in row["seconds"].items()} == {
        "fp32": 3, "int8": 3, "reference": 3
    }  # fmt: skip
