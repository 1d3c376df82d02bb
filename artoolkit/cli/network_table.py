"""The table of `artoolkit doctor --networks`: what every network costs on paper."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from artoolkit.optional import require


def show_networks(*, as_json: bool) -> None:
    """Print the table, or the same as JSON."""
    require("torch", "counting the networks")
    from artoolkit.networks.complexity import CLASSES, SIZE_HW, network_costs

    costs = network_costs()
    if as_json:
        click.echo(json.dumps([asdict(cost) for cost in costs], indent=2))
        return
    from rich.table import Table

    from artoolkit.cli.terminal import Terminal

    title = f"{CLASSES} classes, {SIZE_HW[0]} x {SIZE_HW[1]}"
    table = Table("network", "parameters (M)", "GMAC", "output", title=title)
    for cost in costs:
        table.add_row(
            cost.network,
            f"{cost.parameters / 1e6:.2f}",
            f"{cost.macs / 1e9:.1f}",
            f"1/{cost.output_stride}",
        )
    Terminal().print(table)
