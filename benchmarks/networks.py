"""Every built-in network: parameters, multiply-adds, and latency as a ratio to `icnet`.

    python benchmarks/networks.py

Untrained weights, the deployed graph (uint8 in, labels out), ONNX Runtime on the CPU. Each network
is timed in turn with `icnet` in the same process; only ratios are reported. `icnet` beside itself
says how exact they are. The table counts every network, timed or not, and adds the best mIoU on
Cityscapes val, single scale, that its publishers state.
"""

from __future__ import annotations

import tempfile
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import click
from side_by_side import REFERENCE, Size, exported, in_turn, ratio, street, words
from suite import is_measured, not_measured, run_suite, shared_options

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.networks.complexity import CLASSES, SIZE_HW, NetworkCost, network_costs
from artoolkit.networks.sources import sources

SUITE = "networks"


def measured(cost: NetworkCost, size: Size, folder: Path, budget_s: float) -> dict[str, Any]:
    """Cost of a network on paper, and its seconds beside the reference's."""
    paths = [exported(name, folder, imgsz=size) for name in (cost.network, REFERENCE)]
    image = street(size)
    with open_onnxruntime(paths[0]) as network, open_onnxruntime(paths[1]) as reference:
        runs = {"case": lambda: network.infer(image), "reference": lambda: reference.infer(image)}
        samples = in_turn(runs, budget_s=budget_s)
    if cost.network != REFERENCE:
        paths[0].unlink()
    on_paper = {"parameters": cost.parameters, "macs": cost.macs, "stride": cost.output_stride}
    return {**on_paper, "macs_at": SIZE_HW, "imgsz": size, "seconds": samples}


@lru_cache(maxsize=1)
def counted() -> tuple[NetworkCost, ...]:
    """Cost of every network on paper."""
    return tuple(network_costs())


def published_miou(network: str) -> float | None:
    """The best that a publisher states of a file of `network`, in % on Cityscapes val."""
    stated = [
        source.miou
        for source in sources()
        if source.dataset == "cityscapes" and source.network == network and source.miou is not None
    ]
    return max(stated, default=None)


def table(raw: dict[str, Any]) -> list[str]:
    """Markdown: parameters, multiply-adds, scores and latency ratio, the fewest GMAC first."""
    timed = {name: row for name, row in raw.items() if is_measured(row)}
    size = words(next(iter(timed.values()))["imgsz"])
    head = (
        "network",
        "parameters (M)",
        f"GMAC at {words(SIZE_HW)}",
        "scores at",
        "published mIoU",
        f"latency / {REFERENCE}, {size}",
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for cost in sorted(counted(), key=lambda cost: cost.macs):
        miou = published_miou(cost.network)
        cells = (
            f"`{cost.network}`",
            f"{cost.parameters / 1e6:.2f}",
            f"{cost.macs / 1e9:.1f}",
            f"1/{cost.output_stride}",
            "" if miou is None else f"{miou:.2f}",
            f"{ratio(timed[cost.network]['seconds']):.1f}" if cost.network in timed else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
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
