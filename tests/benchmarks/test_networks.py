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
    return {"imgsz": [512, 1024], "seconds": {"case": case, "reference": [1.0, 10.0, 1.0]}}


def test_the_cheapest_network_comes_first_and_ratios_are_paired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs = [
        NetworkCost("large", parameters=6_700_000, macs=int(2e11), output_stride=4),
        NetworkCost("pidnet_s", parameters=7_626_000, macs=int(4.72e10), output_stride=8),
        NetworkCost("small", parameters=6_700_000, macs=int(2.89e10), output_stride=4),
    ]
    monkeypatch.setattr(networks, "counted", lambda: costs)
    head, _, *rows = table({"large": row([7.0, 70.0, 7.4]), "small": row([1.0, 10.0, 1.0])})
    assert head.endswith(
        "| GMAC at 1024 x 2048 | scores at | published mIoU | latency / icnet, 512 x 1024 |"
    )
    assert rows == [
        "| `small` | 6.70 | 28.9 | 1/4 |  | 1.0 |",
        "| `pidnet_s` | 7.63 | 47.2 | 1/8 | 78.74 |  |",
        "| `large` | 6.70 | 200.0 | 1/4 |  | 7.0 |",
    ]


@pytest.mark.slow
def test_the_command_times_a_network_beside_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_file, "RESULTS", tmp_path)
    cost = NetworkCost("icnet", parameters=7, macs=9, output_stride=4)
    monkeypatch.setattr(networks, "network_costs", lambda: [cost])
    ran = CliRunner().invoke(networks.main, ["--imgsz", "64", "128", "--seconds", "0"])
    assert ran.exit_code == 0, ran.output
    raw = read_record(tmp_path / "networks--x86-2core--cpu.json", ResultFile).raw
    assert raw.keys() == {"icnet"}
    assert {k: raw["icnet"][k] for k in ("parameters", "macs", "stride", "imgsz")} == {
        "parameters": 7, "macs": 9, "stride": 4, "imgsz": [64, 128]
    }  # fmt: skip
    assert all(len(times) == 5 for times in raw["icnet"]["seconds"].values())
