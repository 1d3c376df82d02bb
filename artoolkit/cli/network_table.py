"""The table of `artoolkit doctor --networks`: what every network costs on paper."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import click

from artoolkit.optional import require

SIZE_HW = (1024, 2048)
CLASSES = 19


@dataclass(frozen=True)
class NetworkCost:
    """Trained parameters that reach a device, and multiply-adds of one 1024 x 2048 image."""

    network: str
    parameters: int
    macs: int
    output_stride: int


def network_costs() -> list[NetworkCost]:
    """Every built-in network with 19 classes, as it is deployed."""
    torch = require("torch", "counting the networks")
    from artoolkit.networks import NETWORKS, build
    from artoolkit.networks.complexity import macs, parameter_count

    costs = []
    for name in NETWORKS:
        with torch.device("meta"):  # shapes alone: no weight is drawn
            network = build(name, num_classes=CLASSES)
        costs.append(
            NetworkCost(
                name, parameter_count(network), macs(network, SIZE_HW), network.output_stride
            )
        )
    return costs


def show_networks(*, as_json: bool) -> None:
    """Print the table, or the same as JSON."""
    costs = network_costs()
    if as_json:
        click.echo(json.dumps([asdict(cost) for cost in costs], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    title = f"{CLASSES} classes, {SIZE_HW[0]} x {SIZE_HW[1]}"
    table = Table("network", "parameters (M)", "GMAC", "output", title=title)
    for cost in costs:
        table.add_row(
            cost.network,
            f"{cost.parameters / 1e6:.2f}",
            f"{cost.macs / 1e9:.1f}",
            f"1/{cost.output_stride}",
        )
    Console().print(table)
