"""`artoolkit benchmark`: latency percentiles and memory of one bundle or ONNX file."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from artoolkit.cli.options import (
    CommaList,
    backend_option,
    cuda_memory_option,
    device_option,
    threads_option,
)
from artoolkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from artoolkit.cost.benchmark import BenchmarkMeasurement
    from artoolkit.evidence.records import Record
    from artoolkit.words import CudaMemory

# Layers differ by some percent from run to run; a median of 20 holds still.
LAYER_RUNS = 20
_STAGES = {
    "h2dMs": "of it host to device (GPU events)",
    "computeMs": "of it compute (GPU events)",
    "d2hMs": "of it device to host (GPU events)",
}


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True), required=False)
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
@click.option("--precisions", type=CommaList(str), metavar="fp32,fp16,...",
              help="Table of the bundle's network, random weights, over these.")  # fmt: skip
@click.option("--imgsz", "sizes", type=int, nargs=2, multiple=True, metavar="H W",
              help="Size in that table; several with several --imgsz.")  # fmt: skip
@click.option(
    "--suite",
    type=click.Choice(("gpu",)),
    help="Run a whole suite; its result goes to the folder --out.",
)
@click.option("--steps", multiple=True, help="With --suite: only steps with these words.")
@click.option("--dry-run", is_flag=True, help="With --suite: name the steps, run nothing.")
@click.option("--cuda-graph", is_flag=True, default=None, help="Run engines as a CUDA graph.")
@click.option("--layers", is_flag=True, help="Time every layer too (engines).")
@click.option("--lock-hint", is_flag=True, help="Show the commands that fix this device's clocks.")
@click.option("--memory/--no-memory", default=True, help="Measure memory too.")
@click.option("--roofline", "--floor", "roofline", is_flag=True,
              help="Show each part against this machine's peak instead (CPU).")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the record with all raw samples.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the record here too.")
def command(
    *,
    model: Path | None,
    precisions: tuple[str, ...] | None,
    sizes: tuple[tuple[int, int], ...],
    suite: str | None,
    steps: tuple[str, ...],
    dry_run: bool,
    backend: str | None,
    device: str | None,
    warmup_ms: float,
    soak_s: float,
    duration_s: float,
    iterations: int,
    percentile: tuple[float, ...],
    threads: int | None,
    cuda_memory: CudaMemory | None,
    cuda_graph: bool | None,
    layers: bool,
    lock_hint: bool,
    memory: bool,
    roofline: bool,
    as_json: bool,
    out: Path | None,
) -> None:
    """Latency and memory of MODEL (a bundle or an .onnx file) on this machine.

    Milliseconds run from uint8 images in host memory to label maps in host memory, transfers
    included, decoding and resizing not. To compare two networks use `artoolkit compare`.

    \b
    benchmark MODEL                  latency and memory
    benchmark MODEL --roofline       each part against this machine's peak
    benchmark MODEL --precisions fp32,int8 --imgsz 512 1024
                                     a table, with random weights
    benchmark --suite gpu            every step of a suite (--steps, --dry-run)
    benchmark --lock-hint            commands that fix this device's clocks
    """
    from artoolkit.cli.progress import progress_bar
    from artoolkit.cost.benchmark import BenchmarkSettings, benchmark

    if model is not None and (suite or lock_hint):
        raise UsageError("--suite and --lock-hint take no MODEL", got=model)
    if suite is None and (steps or dry_run):
        raise UsageError("--steps and --dry-run go with --suite")
    if suite is not None:
        words = [part for step in steps for part in ("--steps", step)]
        _run_suite(suite, "--out", str(out or "results"), *words, *["--dry-run"] * dry_run)
    if lock_hint:
        from artoolkit.cost.accelerator import lock_commands

        click.echo("\n".join(lock_commands()))
        return
    if model is None:
        raise UsageError("give a MODEL, or --suite or --lock-hint")
    plan = BenchmarkSettings(
        warmup_ms=warmup_ms,
        soak_s=soak_s,
        duration_s=duration_s,
        iterations=iterations,
        percentiles=percentile,
    )
    how: dict[str, Any] = {
        "backend": backend,
        "device": device,
        "threads": threads,
        "cuda_graph": cuda_graph,
        "cuda_memory": cuda_memory,
    }
    if precisions or sizes:
        from artoolkit.exporting import benchmark_grid

        for name, asked in (("--roofline", roofline), ("--layers", layers), ("--out", out)):
            if asked:
                raise UsageError(
                    f"{name} does not go with a table over --precisions and --imgsz",
                    hint="Ask for it with one precision and size; the table has --json.",
                )

        with progress_bar() as progress:
            rows = benchmark_grid(
                model, precisions or (), sizes, plan=plan, memory=memory, progress=progress, **how
            )
        _show_grid(rows, as_json=as_json)
        return
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
            memory=memory,
            layers=LAYER_RUNS if layers else 0,
            progress=progress,
            **how,
        )
    _give(record, out, None if as_json else lambda: _show(record))


def _run_suite(suite: str, *options: str) -> NoReturn:
    """The script of the suite, in a wheel beside the package, in a process of its own."""
    import subprocess
    import sys

    from artoolkit.targets import installed_folder

    script = installed_folder("benchmarks") / f"{suite}.py"
    ran = subprocess.run([sys.executable, str(script), *options], check=False)
    raise SystemExit(ran.returncode)


def _give(record: Record, out: Path | None, show: Callable[[], None] | None) -> None:
    """Write the record where asked, and show it; without `show` it is printed as it is."""
    if out is not None:
        from artoolkit.evidence.seal import write_atomically

        write_atomically(out, record.to_bytes())
    if show is None:
        click.echo(record.to_bytes().decode(), nl=False)
    else:
        show()


def _show_grid(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    import json

    from rich.table import Table

    from artoolkit.cli.terminal import Terminal

    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    heads = dict.fromkeys(key for row in rows for key in row)
    table = Table(*heads)
    for row in rows:
        table.add_row(*(str(row.get(key, "")) for key in heads))
    Terminal().print(table)


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
    for key, words in _STAGES.items():
        if (median := record.stage_ms(key)) is not None:
            table.add_row(words, f"{median:.3f} ms")
    table.add_row("throughput", f"{record.images_per_second:.1f} images per second")
    table.add_row("inferences", f"{len(record.samples)} after {record.plan.warmup_ms:g} ms warm-up")
    if record.components is not None:
        for name, count in record.components.model_dump().items():
            table.add_row(name.removesuffix("_bytes"), mib(count))
    if record.process is not None:
        table.add_row("peak of a process", mib(max(record.process.peak_bytes)))
        table.add_row("of it before opening", mib(record.process.before_bytes))
        if record.process.device_bytes:
            source = f"device memory ({record.process.device_source})"
            table.add_row(source, mib(max(record.process.device_bytes)))
    console = Terminal()
    console.print(table)
    if record.layers_ms:
        medians = {name: statistics.median(times) for name, times in record.layers_ms.items()}
        console.print(f"Layers, median of {LAYER_RUNS}, each waited for by itself:")
        for name, ms in sorted(medians.items(), key=lambda one: -one[1]):
            console.print(f"{ms:9.3f} ms  {name}", markup=False, highlight=False)
    console.print(f"Milliseconds are {record.includes}.")
    settings = ", ".join(f"{key} {value}" for key, value in runner.settings.items())
    console.print(f"In effect: {settings}", style="dim", markup=False)
