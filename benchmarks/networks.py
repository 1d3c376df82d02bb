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
from contextlib import ExitStack, nullcontext
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import click
from side_by_side import REFERENCE, Size, exported, in_turn, ratio, street, words
from suite import is_measured, not_measured, run_suite, shared_options

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
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


def case_name(network: str, size: Size) -> str:
    return f"{network}, {words(size)}"


def graphs_of(network: str, size: Size, folder: Path) -> dict[str, Path]:
    """The deployed graph in every precision; written where it is not there yet."""
    return {name: exported(network, folder, imgsz=size, precision=name) for name in PRECISIONS}


def measured(network: str, size: Size, folder: Path, budget_s: float) -> dict[str, Any]:
    """Memory by component, and the seconds in each precision beside the reference's."""
    paths = graphs_of(network, size, folder) | {
        "reference": exported(REFERENCE, folder, imgsz=size)
    }
    image = street(size)
    with ExitStack() as stack:
        runners = {
            name: stack.enter_context(open_onnxruntime(path)) for name, path in paths.items()
        }
        runs = {name: partial(runner.infer, image) for name, runner in runners.items()}
        samples = in_turn(runs, budget_s=budget_s, least=LEAST)
    memory = {name: onnx_memory(paths[name]).model_dump() for name in PRECISIONS}
    return {"memory": memory, "seconds": samples}


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
    sizes = [size for size in SIZES if any(name.endswith(words(size)) for name in raw)]
    head = (
        "network",
        "parameters (M)",
        f"GMAC at {words(SIZE_HW)}",
        "scores at",
        "published mIoU",
        *(f"fp32, int8 latency / {REFERENCE}, {words(size)}" for size in sizes),
        *(f"memory (MB), {words(size)}" for size in sizes[-1:]),
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for cost in sorted(counted(), key=lambda cost: cost.macs):
        miou = published_miou(cost.network)
        rows = [raw.get(case_name(cost.network, size)) for size in sizes]
        cells = (
            f"`{cost.network}`",
            f"{cost.parameters / 1e6:.2f}",
            f"{cost.macs / 1e9:.1f}",
            f"1/{cost.output_stride}",
            "" if miou is None else f"{miou:.2f}",
            *map(_ratios, rows),
            *map(_megabytes, rows[-1:]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines + not_measured(raw)


def _ratios(row: dict[str, Any] | None) -> str:
    if not is_measured(row):
        return ""
    return ", ".join(f"{ratio(row['seconds'], name):.2f}" for name in PRECISIONS)


def _megabytes(row: dict[str, Any] | None) -> str:
    """Weights and activations in fp32."""
    if not is_measured(row):
        return ""
    memory = row["memory"]["fp32"]
    return f"{(memory['weights_bytes'] + memory['activations_bytes']) / 1e6:.0f}"


@click.command()
@click.option("--graphs", type=click.Path(path_type=Path), help="Keep the exported graphs here.")
@click.option("--export-only", is_flag=True, help="Write the graphs, time nothing.")
@click.option("--seconds", "budget_s", default=6.0, show_default=True, help="For each case.")
@shared_options
def main(
    *, graphs: Path | None, export_only: bool, budget_s: float, machine: str, again: bool
) -> None:
    """Measure all networks; see the top of this file."""
    with nullcontext(graphs) if graphs else tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        pairs = [(cost.network, size) for cost in counted() for size in SIZES]
        if export_only:
            with progress_bar() as report:
                for done, (network, size) in enumerate(pairs):
                    report(case_name(network, size), done / len(pairs))
                    graphs_of(network, size, folder)
            return
        cases = {case_name(*pair): partial(measured, *pair, folder, budget_s) for pair in pairs}
        settings = {"seconds": budget_s, "classes": CLASSES}
        click.echo(run_suite(SUITE, cases, machine=machine, settings=settings, again=again))


if __name__ == "__main__":
    main()
