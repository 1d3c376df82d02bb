"""Every built-in network: parameters, multiply-adds, and latency as a ratio to `icnet`.

    python benchmarks/networks.py

Untrained weights, the deployed graph (uint8 in, labels out), ONNX Runtime on the CPU. Each network
is timed in turn with `icnet` in the same process; only ratios are reported. `icnet` beside itself
says how exact they are.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import click
from side_by_side import REFERENCE, Size, exported, in_turn, ratio, street, words
from suite import is_measured, not_measured, run_suite, shared_options

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.cli.network_table import CLASSES, SIZE_HW, NetworkCost, network_costs

SUITE = "networks"


def measured(cost: NetworkCost, size: Size, folder: Path, budget_s: float) -> dict[str, Any]:
    """What a network costs on paper, and its seconds beside the reference's."""
    paths = [exported(name, folder, imgsz=size) for name in (cost.network, REFERENCE)]
    image = street(size)
    with open_onnxruntime(paths[0]) as network, open_onnxruntime(paths[1]) as reference:
        runs = {"case": lambda: network.infer(image), "reference": lambda: reference.infer(image)}
        samples = in_turn(runs, budget_s=budget_s)
    if cost.network != REFERENCE:
        paths[0].unlink()
    on_paper = {"parameters": cost.parameters, "macs": cost.macs, "stride": cost.output_stride}
    return {**on_paper, "macs_at": SIZE_HW, "imgsz": size, "seconds": samples}


def table(raw: dict[str, Any]) -> list[str]:
    """Markdown: parameters, multiply-adds and latency ratio, the fewest multiply-adds first."""
    measured = [item for item in raw.items() if is_measured(item[1])]
    rows = sorted(measured, key=lambda item: int(item[1]["macs"]))
    first = rows[0][1]
    latency = f"latency / {REFERENCE}, {words(first['imgsz'])}"
    lines = [
        f"| network | parameters (M) | GMAC at {words(first['macs_at'])} | scores at | {latency} |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows:
        costs = f"{row['parameters'] / 1e6:.2f} | {row['macs'] / 1e9:.1f} | 1/{row['stride']}"
        lines.append(f"| `{name}` | {costs} | {ratio(row['seconds']):.1f} |")
    return lines + not_measured(raw)


@click.command()
@click.option("--imgsz", nargs=2, type=int, default=(512, 1024), help="Size that is timed.")
@click.option("--seconds", "budget_s", default=8.0, show_default=True, help="For each network.")
@shared_options
def main(*, imgsz: Size, budget_s: float, machine: str, again: bool) -> None:
    """Measure all networks; see the top of this file."""
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            cost.network: partial(measured, cost, imgsz, Path(folder), budget_s)
            for cost in network_costs()
        }
        settings = {"imgsz": imgsz, "seconds": budget_s, "classes": CLASSES}
        click.echo(run_suite(SUITE, cases, machine=machine, settings=settings, again=again))


if __name__ == "__main__":
    main()
