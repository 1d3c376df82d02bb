"""Every built-in network: parameters, multiply-adds, and latency as a ratio to `icnet`.

    python benchmarks/networks.py

Untrained weights, the deployed graph (uint8 in, labels out), ONNX Runtime on the CPU. Each network
is timed in turn with `icnet` in the same process; only the ratio of the medians is reported.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from result_file import write_result
from rich.progress import track

from artoolkit.backends.onnxruntime import open_onnxruntime
from artoolkit.cli.network_table import CLASSES, SIZE_HW, NetworkCost, network_costs
from artoolkit.deploy.onnx import onnx_from_checkpoint
from artoolkit.deploy.untrained import untrained_checkpoint
from artoolkit.targets import find_target

REFERENCE = "icnet"


def exported(network: str, imgsz: tuple[int, int], folder: Path) -> Path:
    """The deployed graph of `network` with random weights."""
    path = folder / f"{network}.onnx"
    checkpoint = untrained_checkpoint(network, CLASSES)
    onnx_from_checkpoint(checkpoint, find_target("cpu", imgsz=imgsz), path)
    return path


def seconds(infer: Callable[[], object]) -> float:
    started = time.perf_counter()
    infer()
    return time.perf_counter() - started


def timed(network: Path, reference: Path, image: np.ndarray[Any, Any], rounds: int) -> Any:
    """Seconds of both, round by round, after one warm-up each."""
    with open_onnxruntime(network) as ours, open_onnxruntime(reference) as theirs:
        runs = {"network": lambda: ours.infer(image), REFERENCE: lambda: theirs.infer(image)}
        for run in runs.values():
            run()
        return [{name: seconds(run) for name, run in runs.items()} for _ in range(rounds)]


def measured(
    cost: NetworkCost, reference: Path, imgsz: tuple[int, int], folder: Path, rounds: int
) -> dict[str, Any]:
    image = np.random.default_rng(0).integers(0, 256, (1, *imgsz, 3), np.uint8)
    path = exported(cost.network, imgsz, folder)
    rows = timed(path, reference, image, rounds)
    path.unlink()
    ratio = statistics.median(r["network"] for r in rows) / statistics.median(
        r[REFERENCE] for r in rows
    )
    costs = {"parameters": cost.parameters, "macs": cost.macs, "stride": cost.output_stride}
    return {**costs, "seconds": rows, "ratio": ratio}


@click.command()
@click.option("--imgsz", nargs=2, type=int, default=(512, 1024), help="Size that is timed.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--machine", default="x86-2core", show_default=True, help="Kind of machine.")
def main(*, imgsz: tuple[int, int], rounds: int, machine: str) -> None:
    """Measure all networks and write the result file."""
    raw = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        reference = exported(REFERENCE, imgsz, folder).rename(folder / "reference.onnx")
        for cost in track(network_costs(), description="Networks"):
            raw[cost.network] = measured(cost, reference, imgsz, folder, rounds)
    settings = {"imgsz": imgsz, "rounds": rounds, "macs_at": SIZE_HW, "classes": CLASSES}
    click.echo(write_result("networks", machine=machine, device="cpu", settings=settings, raw=raw))


if __name__ == "__main__":
    main()
