"""Every built-in network: parameters, multiply-adds, memory, and latency as a ratio to `icnet`.

    python benchmarks/networks.py --graphs FOLDER --export-only    minutes, not timed
    python benchmarks/networks.py --graphs FOLDER                  on a quiet machine

Untrained weights, the deployed graph (uint8 in, labels out), ONNX Runtime on the CPU, in fp32 and
int8. Each network is timed in turn with `icnet` in fp32 in the same process; only ratios are
reported. `icnet` beside itself says how exact they are. Memory is counted from the graph: weights
and activations at their peak. The table counts every network, timed or not, and adds the best mIoU
on Cityscapes val, single scale, that its publishers state.
"""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import click
from side_by_side import REFERENCE, Size, exported, in_turn, ratio, street, words
from suite import is_measured, not_measured, run_suite, shared_options

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.cli.options import CommaList
from artoolkit.cli.progress import progress_bar
from artoolkit.graph.memory import onnx_memory
from artoolkit.networks.complexity import CLASSES, SIZE_HW, NetworkCost, network_costs
from artoolkit.networks.sources import sources
from artoolkit.words import Precision

SUITE = "networks"
SIZES: tuple[Size, ...] = ((512, 1024), (1024, 2048))
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
# Rounds of the slowest networks, which take 20 seconds each; the fast ones have 20.
LEAST = 3


def case_name(network: str, precision: Precision, size: Size) -> str:
    return f"{network}, {precision}, {words(size)}"


def measured(
    network: str, precision: Precision, size: Size, folder: Path, budget_s: float
) -> dict[str, Any]:
    """Memory by component, and the seconds beside the reference's."""
    path = exported(network, folder, imgsz=size, precision=precision)
    reference = exported(REFERENCE, folder, imgsz=size)
    image = street(size)
    with open_onnxruntime(path) as one, open_onnxruntime(reference) as other:
        runs = {"case": lambda: one.infer(image), "reference": lambda: other.infer(image)}
        samples = in_turn(runs, budget_s=budget_s, least=LEAST)
    return {"memory": onnx_memory(path).model_dump(), "seconds": samples}


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
    """Markdown: parameters, multiply-adds, memory, scores and ratios, the fewest GMAC first."""
    forms = [
        (precision, size)
        for size in SIZES
        for precision in PRECISIONS
        if any(
            is_measured(row) for name, row in raw.items() if name.endswith(ending(precision, size))
        )
    ]
    head = (
        "network",
        "parameters (M)",
        f"GMAC at {words(SIZE_HW)}",
        "scores at",
        "published mIoU",
        *(f"{precision} / {REFERENCE} fp32, {words(size)}" for precision, size in forms),
        f"memory (MB), {words(SIZES[-1])}",
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for cost in sorted(counted(), key=lambda cost: cost.macs):
        miou = published_miou(cost.network)
        rows = [raw.get(case_name(cost.network, *form)) for form in forms]
        cells = (
            f"`{cost.network}`",
            f"{cost.parameters / 1e6:.2f}",
            f"{cost.macs / 1e9:.1f}",
            f"1/{cost.output_stride}",
            "" if miou is None else f"{miou:.2f}",
            *(f"{ratio(row['seconds']):.2f}" if is_measured(row) else "" for row in rows),
            _megabytes(raw.get(case_name(cost.network, "fp32", SIZES[-1]))),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines + not_measured(raw)


def ending(precision: Precision, size: Size) -> str:
    return case_name("", precision, size)


def _megabytes(row: Any) -> str:
    """Weights, and activations at their peak."""
    if not is_measured(row):
        return ""
    return f"{(row['memory']['weights_bytes'] + row['memory']['activations_bytes']) / 1e6:.0f}"


@click.command()
@click.option("--graphs", type=click.Path(path_type=Path), help="Keep the exported graphs here.")
@click.option("--export-only", is_flag=True, help="Write the graphs, time nothing.")
@click.option("--precision", "precisions", type=CommaList(str), default=",".join(PRECISIONS))
@click.option("--seconds", "budget_s", default=6.0, show_default=True, help="For each case.")
@shared_options
def main(
    *,
    graphs: Path | None,
    export_only: bool,
    precisions: tuple[Precision, ...],
    budget_s: float,
    machine: str,
    again: bool,
) -> None:
    """Measure all networks; see the top of this file."""
    with nullcontext(graphs) if graphs else tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        forms = [
            (cost.network, precision, size)
            for precision in precisions
            for size in SIZES
            for cost in sorted(counted(), key=lambda cost: cost.macs)
        ]
        if export_only:
            with progress_bar() as report:
                for done, (network, precision, size) in enumerate(forms):
                    report(case_name(network, precision, size), done / len(forms))
                    exported(network, folder, imgsz=size, precision=precision)
            return
        cases = {case_name(*form): partial(measured, *form, folder, budget_s) for form in forms}
        settings = {"seconds": budget_s, "classes": CLASSES}
        click.echo(run_suite(SUITE, cases, machine=machine, settings=settings, again=again))


if __name__ == "__main__":
    main()
