"""`artoolkit benchmark`: latency percentiles and memory of one bundle or ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from artoolkit.cli.options import (
    CommaList,
    backend_option,
    cuda_memory_option,
    device_option,
    threads_option,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from artoolkit.cost.benchmark import BenchmarkMeasurement
    from artoolkit.evidence.records import Record
    from artoolkit.words import CudaMemory


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@backend_option()
@device_option(default=None)
@click.option("--warmup-ms", type=click.FloatRange(min=0), default=200.0, show_default=True)
@click.option("--soak-s", type=click.FloatRange(min=0), default=0.0, show_default=True,
              help="Run this long before measuring, to measure a warm device.")  # fmt: skip
@click.option("--duration-s", type=click.FloatRange(min=0), default=3.0, show_default=True)
@click.option(
    "--iterations",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="At least so many inferences, whatever the duration.",
)
@click.option(
    "--percentile",
    type=CommaList(float),
    default="90,95,99",
    show_default=True,
    help="Percentiles to show.",
)
@threads_option
@cuda_memory_option
@click.option("--memory/--no-memory", default=True, help="Measure memory too.")
@click.option("--roofline", "--floor", "roofline", is_flag=True,
              help="Show each part against this machine's peak instead (CPU).")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the record with all raw samples.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the record here too."
)
def command(
    *,
    model: Path,
    backend: str | None,
    device: str | None,
    warmup_ms: float,
    soak_s: float,
    duration_s: float,
    iterations: int,
    percentile: tuple[float, ...],
    threads: int | None,
    cuda_memory: CudaMemory | None,
    memory: bool,
    roofline: bool,
    as_json: bool,
    out: Path | None,
) -> None:
    """Latency and memory of MODEL (a bundle or an .onnx file) on this machine.

    Milliseconds run from uint8 images in host memory to label maps in host memory, transfers
    included, decoding and resizing not. To compare two networks use `artoolkit compare`.
    """
    from artoolkit.cli.progress import progress_bar
    from artoolkit.cost.benchmark import BenchmarkPlan, benchmark

    plan = BenchmarkPlan(
        warmup_ms=warmup_ms,
        soak_s=soak_s,
        duration_s=duration_s,
        iterations=iterations,
        percentiles=percentile,
    )
    if roofline:
        from artoolkit.cli.roofline_table import show_roofline
        from artoolkit.cost.roofline import measure_roofline

        limits = measure_roofline(model, backend=backend, threads=threads)
        _give(limits, out, None if as_json else lambda: show_roofline(limits))
        return
    with progress_bar() as progress:
        record = benchmark(
            model,
            plan=plan,
            backend=backend,
            device=device,
            threads=threads,
            cuda_memory=cuda_memory,
            memory=memory,
            progress=progress,
        )
    _give(record, out, None if as_json else lambda: _show(record))


def _give(record: Record, out: Path | None, show: Callable[[], None] | None) -> None:
    """Write the record where asked, and show it; without `show` it is printed as it is."""
    if out is not None:
        from artoolkit.evidence.seal import write_atomically

        write_atomically(out, record.to_bytes())
    if show is None:
        click.echo(record.to_bytes().decode(), nl=False)
    else:
        show()


def _show(record: BenchmarkMeasurement) -> None:
    from rich.table import Table

    from artoolkit.checks.memory import mib
    from artoolkit.cli.terminal import Terminal

    runner = record.runner
    title = f"{record.subject.name} on {runner.backend} {runner.device}"
    table = Table("quantity", "value", title=title, title_justify="left")
    table.add_row("median", f"{record.percentile_ms(50):.3f} ms")
    for percent in record.plan.percentiles:
        table.add_row(f"{percent:g}th percentile", f"{record.percentile_ms(percent):.3f} ms")
    table.add_row("throughput", f"{record.images_per_second:.1f} images per second")
    table.add_row("inferences", f"{len(record.samples)} after {record.plan.warmup_ms:g} ms warm-up")
    if record.components is not None:
        for name, count in record.components.model_dump().items():
            table.add_row(name.removesuffix("_bytes"), mib(count))
    if record.process is not None:
        table.add_row("peak of a process", mib(max(record.process.peak_bytes)))
        table.add_row("of it before opening", mib(record.process.before_bytes))
    console = Terminal()
    console.print(table)
    console.print(f"Milliseconds are {record.includes}.")
    settings = ", ".join(f"{key} {value}" for key, value in runner.settings.items())
    console.print(f"In effect: {settings}", style="dim", markup=False)
