"""The tables of `artoolkit benchmark --roofline`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artoolkit.cost.roofline import RooflineMeasurement


def show_roofline(record: RooflineMeasurement) -> None:
    """Measured over roofline for each part, and each operator that does multiply-adds."""
    from rich.table import Table

    from artoolkit.cli.terminal import Terminal

    console, machine = Terminal(), record.machine_peak
    columns = ("ms", "roofline ms", "measured / roofline", "GMAC", "MB")
    table = Table(
        "part", title="Measured against the roofline of this machine", title_justify="left"
    )
    for column in columns:
        table.add_column(column, justify="right")
    for part in record.parts():
        table.add_row(part.name, *_cells(part.milliseconds, part.roofline_milliseconds,
                                         part.macs, part.bytes_moved))  # fmt: skip
    console.print(table)
    layers = Table("operator", "output", "ms", "GMAC", "GMAC/s", title="Multiply-adds by operator",
                   title_justify="left")  # fmt: skip
    for operator in record.operators:
        if operator.macs:
            layers.add_row(
                operator.name,
                "x".join(map(str, operator.shape)),
                f"{operator.milliseconds:.2f}",
                f"{operator.macs / 1e9:.3f}",
                f"{operator.macs / 1e6 / max(operator.milliseconds, 1e-3):.0f}",
            )
    console.print(layers)
    rates = ", ".join(f"{rate / 1e9:.0f} in {p}" for p, rate in machine.macs_per_s.items())
    console.print(
        f"The roofline, in GMAC/s: {rates}; a copy at {machine.bytes_per_s / 1e9:.1f} "
        f"GB/s, {machine.threads} thread(s). Operators are timed by the runtime's profiler, which "
        "slows them a little.",
        soft_wrap=True,
    )


def _cells(milliseconds: float, bound: float, macs: int, moved: int) -> tuple[str, ...]:
    return (
        f"{milliseconds:.2f}",
        f"{bound:.2f}",
        f"{milliseconds / bound:.2f}" if bound else "-",
        f"{macs / 1e9:.3f}" if macs else "-",
        f"{moved / 1e6:.1f}",
    )
