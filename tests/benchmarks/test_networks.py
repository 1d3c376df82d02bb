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
    memory = {"weights_bytes": 30_000_000, "activations_bytes": 12_000_000}
    return {"seconds": {"case": case, "reference": [1.0, 10.0, 1.0]}, "memory": memory}


def test_the_cheapest_network_comes_first_and_ratios_are_paired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs = [
        NetworkCost("large", parameters=6_700_000, macs=int(2e11), output_stride=4),
        NetworkCost("pidnet_s", parameters=7_626_000, macs=int(4.72e10), output_stride=8),
        NetworkCost("small", parameters=6_700_000, macs=int(2.89e10), output_stride=4),
    ]
    monkeypatch.setattr(networks, "counted", lambda: costs)
    raw = {
        "large, fp32, 512 x 1024": row([7.0, 70.0, 7.4]),
        "small, fp32, 512 x 1024": row([1.0, 10.0, 1.0]),
        "small, int8, 512 x 1024": row([0.5, 5.0, 0.5]),
        "small, fp32, 1024 x 2048": {"unavailable": "too large"},
    }
    head, _, *rows = table(raw)
    assert head.endswith(
        "| GMAC at 1024 x 2048 | scores at | published mIoU | fp32 / icnet fp32, 512 x 1024 "
        "| int8 / icnet fp32, 512 x 1024 | memory (MB), 1024 x 2048 |"
    )
    assert rows == [
        "| `small` | 6.70 | 28.9 | 1/4 |  | 1.00 | 0.50 |  |",
        "| `pidnet_s` | 7.63 | 47.2 | 1/8 | 78.74 |  |  |  |",
        "| `large` | 6.70 | 200.0 | 1/4 |  | 7.00 |  |  |",
        "",
        "Not measured: small, fp32, 1024 x 2048. too large",
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
    assert raw.keys() == {"icnet, fp32, 64 x 128", "icnet, int8, 64 x 128"}
    weights = {name: row["memory"]["weights_bytes"] for name, row in raw.items()}
    assert weights["icnet, int8, 64 x 128"] < weights["icnet, fp32, 64 x 128"]
    assert all(len(times) == 3 for one in raw.values() for times in one["seconds"].values())
